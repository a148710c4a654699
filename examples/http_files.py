r"""A web server for the files below a directory: HTTP/1.1 by h11, their bytes by TransmitFile.

    python -m pip install h11
    python examples/http_files.py C:\Users\me\site                     on Windows
    python3 run.py python examples/http_files.py docs              in a checkout, elsewhere

Then look at http://127.0.0.1:9000/ with a browser, curl or wrk. Ctrl-C ends it.

A connection answers one request after the other, also those that come before the answers to
earlier ones have gone (pipelining), and reads no further while answers wait: a client that
does not read has two files open at most. Nothing outside of the directory is served, whatever
it says. And nobody keeps the others out:

    a request has to come within 10 seconds, the first one counted from the connect on
    a client that reads less than 240 bytes a second of an answer is disconnected
    when all places are taken, the connection that has waited longest for a request is ended
    after a few requests, or parts of one, the other clients have their turn
"""

from __future__ import annotations

import argparse
import contextlib
import html
import mimetypes
import os
import re
from email.utils import formatdate, mktime_tz, parsedate_tz
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import h11

from pyiocp import CompletionPort, Limits, Session

TYPES = mimetypes.MimeTypes()  # Python's own: what programs have registered would differ

# What Windows takes for something else than a file of that name: a path, a drive, a stream
# (file::$DATA), a wildcard, a name whose end is cut off, a device (NUL, com1.txt). See
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
NOT_A_NAME = re.compile(
    r'.*[\0-\x1f<>:"/\\|?*]|.*[ .]$|(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$) *(\.|$)',
    re.IGNORECASE | re.DOTALL,
)


TARGET_MAX = 2000
"""Bytes of the longest path that is looked for."""

EVENTS_A_TURN = 16
"""Requests, and parts of their bodies, that one client is served before it is others' turn."""

LEAST_BYTES_A_SECOND = 240
"""A client that takes less of an answer is as good as gone, but holds a place and a file."""

ON_THEIR_WAY = 250
"""Places for new connections while those that make room for them are still ending."""


LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Refusal(Exception):
    """Why a request does not get what it asks for."""

    def __init__(self, status: HTTPStatus, header: str = "", value: str = "") -> None:
        self.status = status
        self.headers = {header: value} if header else {}


def find(root: Path, target: bytes) -> tuple[Path, str | None]:
    """Return the file that a request is for, and None; or a directory, and the path to list."""
    if len(target) > TARGET_MAX:
        raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG)
    try:
        # urlsplit would take //name for another server's name.
        raw = target.partition(b"?")[0] if target.startswith(b"/") else urlsplit(target).path
        path = unquote_to_bytes(raw).decode()
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST) from None
    names = [name for name in path.split("/") if name]
    if any(NOT_A_NAME.match(name) for name in names):
        raise Refusal(HTTPStatus.NOT_FOUND)
    try:
        found = root.joinpath(*names).resolve(strict=True)
        found.relative_to(root)  # a ValueError if a link leads out of it
    except (OSError, ValueError):
        raise Refusal(HTTPStatus.NOT_FOUND) from None
    if not found.is_dir():
        return found, None
    url = "".join(f"/{quote(name)}" for name in names)
    if names and not path.endswith("/"):
        # The links on its page would be taken relative to the directory above.
        raise Refusal(HTTPStatus.MOVED_PERMANENTLY, "Location", f"{url}/")
    index = found / "index.html"
    return (index, None) if index.is_file() else (found, f"{url}/")


def listing(folder: Path, url: str) -> bytes:
    """Return a page with a link to each entry of a directory."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in entries)
    names = [name for name in names if not LONE_SURROGATE.search(name)]  # no URL has those
    links = [f'<li><a href="./{quote(name)}">{html.escape(name)}</a>' for name in names]
    head = f'<!DOCTYPE html><meta charset="utf-8"><title>{url}</title><ul>'
    return "\n".join([head, '<li><a href="../">../</a>', *links, "</ul>\n"]).encode()


def content_type(path: Path) -> str:
    """Return what kind of file it is, by its name."""
    kind, encoding = TYPES.guess_type(path.name)
    if kind is None or encoding is not None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def is_known(headers: dict[bytes, bytes], etag: str, changed_s: float) -> bool:
    """Tell whether the client has the file already, as it is."""
    if (tags := headers.get(b"if-none-match")) is not None:
        return tags == b"*" or etag in re.findall('"[^"]*"', tags.decode("latin-1"))
    with contextlib.suppress(ValueError, OverflowError):  # a date that there is not
        since = parsedate_tz(headers.get(b"if-modified-since", b"").decode())
        return since is not None and int(changed_s) <= mktime_tz(since)
    return False


def wanted_range(headers: dict[bytes, bytes], etag: str, size: int) -> range | None:
    """Return which bytes are wanted; None for all, which is an answer to several ranges too."""
    match = re.fullmatch(rb"bytes=(\d{0,18})-(\d{0,18})", headers.get(b"range", b""))
    if not match or headers.get(b"if-range", etag.encode()) != etag.encode():
        return None
    first, last = (int(number) if number else None for number in match.groups())
    if first is not None:
        part = range(first, size if last is None else min(last + 1, size))
    elif last is not None:
        part = range(max(0, size - last), size)
    else:
        return None
    if not part:
        too_far = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        raise Refusal(too_far, "Content-Range", f"bytes */{size}")
    return part


class Site:
    """What is served, and who is there. One thread serves them all, so it needs no lock."""

    def __init__(self, port: CompletionPort, root: Path, request_s: float, places: int) -> None:
        self.port = port
        self.root = root
        self.request_s = request_s
        self.places = places
        self.browsers: set[Browser] = set()
        self.waiting: dict[Browser, None] = {}
        """Those whose next request is not complete yet, the one that has waited longest first."""

    def make_room(self) -> None:
        """End the connection that has waited longest for a request, if all places are taken."""
        if len(self.browsers) <= self.places:
            return
        for browser in self.waiting:
            if not browser.is_reading():
                browser.abort()
                browser.forget()
                return


def is_ambiguous(request: h11.Request) -> bool:
    """Tell whether somebody before us may see another end of the request (RFC 9112, 6.1)."""
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" not in names:
        return False
    return b"content-length" in names or request.http_version < b"1.1"


class Browser(Session):
    """One connection of a client."""

    high_water = 1 << 16
    low_water = 1 << 14
    idle_timeout = 60.0

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None
        self.deadline: Any = None
        self.watch: Any = None
        self.behind = False
        self.over = False
        self.turn_is_due = False
        self.bytes_to_read = 0
        """How many bytes the client has been sent, the file's that is on its way included."""

    def on_connect(self) -> None:
        """A client has come: make room for it, and see that it says something."""
        self.site.browsers.add(self)
        self.site.waiting[self] = None
        self.site.make_room()
        self.start_clock()

    def on_receive(self, data: memoryview) -> None:
        """A part of a request came, or several requests."""
        self.http.receive_data(bytes(data))
        self.go_on()

    def on_eof(self) -> None:
        """The client will ask for nothing more; it may still read the answers."""
        self.http.receive_data(b"")
        self.go_on()

    def on_writable(self) -> None:
        """The client has read: answer what has been waiting for that."""
        self.behind = False
        self.go_on()

    def on_close(self, error: OSError | None) -> None:
        """The connection has ended."""
        self.forget()

    def forget(self) -> None:
        """It is over: its place is free, and nothing more is to be done."""
        self.over = True
        self.site.browsers.discard(self)
        self.site.waiting.pop(self, None)
        self.stop_clock()
        if self.watch is not None:
            self.watch.cancel()

    # How long it may take

    def start_clock(self) -> None:
        """A whole request has to come within the time."""
        if self.deadline is None:
            self.deadline = self.site.port.call_later(self.site.request_s, self.abort)

    def stop_clock(self) -> None:
        """No request is under way that could take too long."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def is_reading(self) -> bool:
        """Tell whether an answer is still on its way."""
        return self.statistics().bytes_sent < self.bytes_to_read

    def look_again(self) -> None:
        """See, later, whether the client has read enough of its answers meanwhile."""
        seconds, sent = self.site.request_s, self.statistics().bytes_sent
        self.watch = self.site.port.call_later(seconds, self.look, sent, seconds)

    def look(self, sent: int, seconds: float) -> None:
        """End it if it reads, but less than anybody who wants the answer."""
        self.watch = None
        if self.over or not self.is_reading():
            return
        if self.statistics().bytes_sent - sent < LEAST_BYTES_A_SECOND * seconds:
            self.abort()
        else:
            self.look_again()

    # Requests and answers

    def go_on(self) -> None:
        """Answer the requests that are complete, as long as the client reads the answers."""
        if self.turn_is_due:
            return
        try:
            for _ in range(EVENTS_A_TURN):
                if self.over:
                    return
                if self.behind:
                    self.pause_receiving()  # on_writable goes on
                    return
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    self.wait_for_more()
                    return
                self.take(event)
        except h11.RemoteProtocolError as error:
            self.page(HTTPStatus(error.error_status_hint), {"Connection": "close"})
            self.say_goodbye()
            return
        self.pause_receiving()
        self.turn_is_due = True
        self.site.port.call_soon(self.take_turn)

    def take_turn(self) -> None:
        """Go on, after all others have had their turn."""
        self.turn_is_due = False
        try:
            self.go_on()
        except BaseException:
            self.abort()  # as for any hook: this is none
            raise

    def wait_for_more(self) -> None:
        """All that came has been answered: read on."""
        if self.http.trailing_data[0] or self.http.their_state is h11.SEND_BODY:
            self.start_clock()
        if self.http.they_are_waiting_for_100_continue:
            self.put(h11.InformationalResponse(status_code=100, headers=[]))
        self.resume_receiving()

    def take(self, event: Any) -> None:
        """Do what a part of a request asks for."""
        if isinstance(event, h11.Request):
            self.request = event
            if is_ambiguous(event):
                raise h11.RemoteProtocolError("it is not clear where the request ends")
        elif isinstance(event, h11.EndOfMessage) and self.request is not None:
            self.stop_clock()
            self.site.waiting.pop(self, None)
            self.answer(self.request)
            self.request = None
            if self.http.our_state is not h11.DONE:
                self.say_goodbye()  # as the client has asked for, or as HTTP/1.0 has it
                return
            self.http.start_next_cycle()
            self.site.waiting[self] = None
            if self.watch is None and self.is_reading():
                self.look_again()
        elif isinstance(event, h11.ConnectionClosed):
            self.say_goodbye()

    def say_goodbye(self) -> None:
        """Send what waits, and answer no more."""
        self.over = True
        self.stop_clock()
        if self.watch is not None:
            self.watch.cancel()
        self.close()

    def answer(self, request: h11.Request) -> None:
        """Answer one request."""
        try:
            if request.method not in {b"GET", b"HEAD"}:
                raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Allow", "GET, HEAD")
            path, url = find(self.site.root, request.target)
            if url is None:
                self.file(path, request)
            else:
                self.page(HTTPStatus.OK, {}, listing(path, url))
        except Refusal as refusal:
            self.page(refusal.status, refusal.headers)
        except OSError:  # it has gone since, or is not ours to read
            self.page(HTTPStatus.NOT_FOUND, {})

    def put(self, event: h11.Event) -> None:
        """Send what h11 makes of an event."""
        if data := self.http.send(event):
            self.bytes_to_read += len(data)
            if not self.send(data):
                self.behind = True

    def head(self, status: HTTPStatus, headers: dict[str, str]) -> bool:
        """Send the head of an answer; return whether a body is to follow."""
        headers = {"Date": formatdate(usegmt=True), "X-Content-Type-Options": "nosniff", **headers}
        head = h11.Response(
            status_code=status, reason=status.phrase.encode(), headers=list(headers.items())
        )
        self.put(head)
        return self.request is None or self.request.method != b"HEAD"

    def page(self, status: HTTPStatus, headers: dict[str, str], text: bytes = b"") -> None:
        """Send a page of our own."""
        text = text or f"<!DOCTYPE html><title>{status}</title>{status.phrase}\n".encode()
        kind = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(text))}
        if self.head(status, headers | kind):
            self.put(h11.Data(data=text))
        self.put(h11.EndOfMessage())

    def file(self, path: Path, request: h11.Request) -> None:
        """Send a file, a part of it, or that it is what the client has."""
        wants = dict(request.headers)
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))
            about = os.fstat(file.fileno())
            etag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
            headers = {"ETag": etag, "Last-Modified": formatdate(about.st_mtime, usegmt=True)}
            if is_known(wants, etag, about.st_mtime):
                self.head(HTTPStatus.NOT_MODIFIED, headers)
            else:
                status, part = HTTPStatus.OK, range(about.st_size)
                wanted = wanted_range(wants, etag, len(part)) if request.method == b"GET" else None
                if wanted is not None:
                    status, part = HTTPStatus.PARTIAL_CONTENT, wanted
                    headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{about.st_size}"
                headers |= {"Content-Type": content_type(path), "Content-Length": str(len(part))}
                headers |= {"Accept-Ranges": "bytes"}
                if self.head(status, headers) and part:
                    # h11 counts what is to follow, and needs nothing else of it.
                    self.http.send_with_data_passthrough(h11.Data(data=part))  # type: ignore[arg-type]
                    opened.pop_all()  # the session closes it
                    self.bytes_to_read += len(part)
                    if not self.send_file(file, part.start, len(part), close=True):
                        self.behind = True
            self.put(h11.EndOfMessage())


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve the files below a directory over HTTP.")
    parser.add_argument("directory", type=Path, nargs="?", default=Path(), help="this one if none")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="and its port (%(default)s)")
    parser.add_argument(
        "--deadline",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="in which a request must come, from its first byte on (%(default)s)",
    )
    parser.add_argument(
        "--places", type=int, default=2000, help="connections at a time (%(default)s)"
    )
    options = parser.parse_args()
    root = options.directory.resolve(strict=True)

    with CompletionPort() as port:
        site = Site(port, root, options.deadline, options.places)
        most = options.places + ON_THEIR_WAY
        listener = port.listen(
            (options.host, options.port),
            lambda: Browser(site),
            limits=Limits(sessions=most, sessions_per_address=max(ON_THEIR_WAY, most // 4)),
        )
        print(f"serving {root} at http://{options.host}:{listener.address[1]}/", flush=True)
        try:
            port.run(threads=1)  # so that what is no hook, as a turn, comes in between hooks
        except KeyboardInterrupt:
            print(f"{listener.accepted} connections were served")


if __name__ == "__main__":
    main()
