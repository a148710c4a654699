r"""A web server for the files below a directory: HTTP/1.1 by h11, their bytes by TransmitFile.

    python -m pip install h11
    python examples/http_files.py C:\Users\me\site                     on Windows
    python3 run.py python examples/http_files.py docs              in a checkout, elsewhere

Then look at http://127.0.0.1:9000/ with a browser, curl or wrk. Ctrl-C ends it.

A connection answers one request after the other, also those that come before the answers to
earlier ones have gone (pipelining), and reads no further while answers wait: a client that
does not read has two files open at most. One that takes longer than 10 seconds to say what
it wants is thrown out. Nothing outside of the directory is served, whatever it says.
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


class Refusal(Exception):
    """Why a request does not get what it asks for."""

    def __init__(self, status: HTTPStatus, header: str = "", value: str = "") -> None:
        self.status = status
        self.headers = {header: value} if header else {}


def find(root: Path, target: bytes) -> tuple[Path, str | None]:
    """Return the file that a request is for, and None; or a directory, and the path to list."""
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
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
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
    with contextlib.suppress(ValueError):  # a date that there is not
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


class Browser(Session):
    """One connection of a client."""

    high_water = 1 << 16
    low_water = 1 << 14
    idle_timeout = 60.0

    def __init__(self, port: CompletionPort, root: Path, request_s: float) -> None:
        self.port = port
        self.root = root
        self.request_s = request_s
        self.http = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None
        self.deadline: Any = None
        self.behind = False

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
        self.resume_receiving()
        self.go_on()

    def on_close(self, error: OSError | None) -> None:
        """The connection has ended."""
        self.stop_clock()

    def stop_clock(self) -> None:
        """No request is under way that could take too long."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def go_on(self) -> None:
        """Answer the requests that are complete, as long as the client reads the answers."""
        try:
            while not self.behind:
                event = self.http.next_event()
                if isinstance(event, h11.Request):
                    self.request = event
                elif isinstance(event, h11.EndOfMessage) and self.request is not None:
                    self.stop_clock()
                    self.answer(self.request)
                    self.request = None
                    if self.http.our_state is not h11.DONE:
                        self.close()  # as the client has asked for, or as HTTP/1.0 has it
                        return
                    self.http.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    self.close()
                    return
                elif event is h11.NEED_DATA:
                    begun = self.http.trailing_data[0] or self.http.their_state is h11.SEND_BODY
                    if begun and self.deadline is None:
                        self.deadline = self.port.call_later(self.request_s, self.abort)
                    if self.http.they_are_waiting_for_100_continue:
                        self.put(h11.InformationalResponse(status_code=100, headers=[]))
                    return
            self.pause_receiving()
        except h11.RemoteProtocolError as error:
            self.page(HTTPStatus(error.error_status_hint), {"Connection": "close"})
            self.close()

    def answer(self, request: h11.Request) -> None:
        """Answer one request."""
        try:
            if request.method not in {b"GET", b"HEAD"}:
                raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Allow", "GET, HEAD")
            path, url = find(self.root, request.target)
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
        if (data := self.http.send(event)) and not self.send(data):
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
    options = parser.parse_args()
    root = options.directory.resolve(strict=True)

    with CompletionPort() as port:
        listener = port.listen(
            (options.host, options.port),
            lambda: Browser(port, root, options.deadline),
            limits=Limits(sessions=2000),
        )
        print(f"serving {root} at http://{options.host}:{listener.address[1]}/", flush=True)
        try:
            port.run()
        except KeyboardInterrupt:
            print(f"{listener.accepted} connections were served")


if __name__ == "__main__":
    main()
