"""examples/http_files.py, with Python's own clients, and by hand where those behave too well."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from commands import TIMEOUT_S
from example_server import Client, Server

DATA = bytes(range(256)) * 4096 * 2
"""2 MB: more than one piece of anything."""

CHANGED_S = 1_700_000_000
CHANGED = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is served, and beside it something that is not."""
    folder = tmp_path_factory.mktemp("http")
    (folder / "secret.txt").write_text("secret")
    site = folder / "site"
    (site / "sub" / "deep").mkdir(parents=True)
    (site / "data.bin").write_bytes(DATA)
    os.utime(site / "data.bin", (CHANGED_S, CHANGED_S))
    (site / "index.html").write_text("<h1>index</h1>")
    (site / "empty").touch()
    (site / "sub" / "grüße & co.txt").write_text("hello", encoding="utf-8")
    (site / "sub" / "program.js").write_text("1")
    return site


@pytest.fixture(scope="module")
def server(serve_all: Callable[..., Server], site: Path) -> Server:
    """The server of that directory."""
    return serve_all("http_files", str(site))


@pytest.fixture
def http(server: Server) -> Iterator[HTTPConnection]:
    """A connection that is kept."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    yield connection
    connection.close()


def get(
    http: HTTPConnection, path: str, *, method: str = "GET", **headers: str
) -> tuple[HTTPResponse, bytes]:
    """Return an answer and its body; underscores in names of headers are hyphens."""
    http.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = http.getresponse()
    return answer, answer.read()


def test_file_with_its_headers(http: HTTPConnection) -> None:
    answer, body = get(http, "/data.bin")
    assert (answer.status, body) == (200, DATA)
    assert answer.getheader("Content-Type") == "application/octet-stream"
    assert answer.getheader("Content-Length") == str(len(DATA))
    assert answer.getheader("Last-Modified") == CHANGED
    assert answer.getheader("Accept-Ranges") == "bytes"
    assert answer.getheader("Date") is not None


def test_urllib_gets_a_file(server: Server) -> None:
    """It asks for the connection to be closed, and gets everything before that."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/data.bin") as answer:
        assert answer.read() == DATA


def test_connection_is_kept(http: HTTPConnection) -> None:
    """Answers of every kind come on the same one."""
    http.connect()
    ours = http.sock.getsockname()
    for path, status in (("/", 200), ("/sub/", 200), ("/empty", 200), ("/none", 404)):
        assert get(http, path)[0].status == status
        assert http.sock is not None
        assert http.sock.getsockname() == ours
    answer, body = get(http, "/", Connection="close")
    assert (answer.status, body, http.sock) == (200, b"<h1>index</h1>", None)


@pytest.mark.parametrize("path", ["/data.bin", "/", "/sub/", "/none"])
def test_head_is_the_same_without_a_body(http: HTTPConnection, path: str) -> None:
    with_body, body = get(http, path)
    without, nothing = get(http, path, method="HEAD")
    assert (without.status, nothing) == (with_body.status, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified"):
        assert without.getheader(name) == with_body.getheader(name)
    assert with_body.getheader("Content-Length") == str(len(body))


def test_requests_that_come_at_once_are_answered_in_order(server: Server) -> None:
    """Pipelining: small and large answers; the last one says that it is the last."""
    paths = ["/data.bin", "/none", "/empty", "/sub/program.js", "/data.bin", "/"] * 5
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths]
    with server.connect() as client:
        client.send("".join(requests).encode() + b"GET / HTTP/1.0\r\n\r\n")
        lengths = []
        for _ in [*paths, "last"]:
            length = 0
            while line := client.line():
                if line.startswith("Content-Length: "):
                    length = int(line[16:])
            client.read(length)
            lengths.append(length)
        assert client.read() == b""
    assert [lengths[n] for n in (0, 2, 3, 4, 5)] == [len(DATA), 0, 1, len(DATA), 14]
    assert lengths == lengths[:6] * 5 + [14]


def test_client_that_does_not_read_is_not_answered(server: Server) -> None:
    """It asks on and on: the server stops reading. Others are served; and it too, when it reads."""
    request = b"GET /data.bin HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000 + b"\r\n\r\n"
    with server.connect(receive_buffer=65536) as client:
        # One by one: of a single large message a socket that is empty takes all.
        client.socket.settimeout(1)
        asked = 0
        with contextlib.suppress(TimeoutError):
            while asked < 5000:
                client.send(request)
                asked += 1
        assert 3 < asked < 5000, "the server reads on"
        client.socket.settimeout(TIMEOUT_S)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/") as answer:
            assert answer.status == 200
        for _ in range(3):
            while client.line():
                pass
            assert client.read(len(DATA)) == DATA


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=2000000-", 2_000_000, len(DATA)),
        ("bytes=-500", len(DATA) - 500, len(DATA)),
        ("bytes=2097151-99999999", len(DATA) - 1, len(DATA)),
        (f"bytes=-{len(DATA) + 1}", 0, len(DATA)),
    ],
)
def test_range(http: HTTPConnection, asked: str, first: int, end: int) -> None:
    answer, body = get(http, "/data.bin", Range=asked)
    assert (answer.status, body) == (206, DATA[first:end])
    assert answer.getheader("Content-Range") == f"bytes {first}-{end - 1}/{len(DATA)}"


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=-0", "bytes=5-4"])
def test_range_that_is_not_there(http: HTTPConnection, asked: str) -> None:
    answer, _ = get(http, "/data.bin", Range=asked)
    assert (answer.status, answer.getheader("Content-Range")) == (416, f"bytes */{len(DATA)}")


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=a-b"])
def test_other_ranges_get_everything(http: HTTPConnection, asked: str) -> None:
    answer, body = get(http, "/data.bin", Range=asked)
    assert (answer.status, len(body)) == (200, len(DATA))


def test_range_of_a_file_that_has_changed_gets_everything(http: HTTPConnection) -> None:
    etag = get(http, "/data.bin", method="HEAD")[0].getheader("ETag")
    assert etag is not None
    assert get(http, "/data.bin", Range="bytes=0-9", If_Range=etag)[0].status == 206
    assert get(http, "/data.bin", Range="bytes=0-9", If_Range='"old"')[0].status == 200


def test_file_that_the_client_has_is_not_sent_again(http: HTTPConnection) -> None:
    etag = get(http, "/data.bin", method="HEAD")[0].getheader("ETag")
    assert etag is not None
    known = [
        {"If_None_Match": etag},
        {"If_None_Match": f'"a", W/{etag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": CHANGED},
        {"If_Modified_Since": formatdate(CHANGED_S + 3600, usegmt=True)},
    ]
    for headers in known:
        answer, body = get(http, "/data.bin", **headers)
        assert (answer.status, body, answer.getheader("ETag")) == (304, b"", etag), headers
    changed = [
        {"If_None_Match": '"other"', "If_Modified_Since": CHANGED},
        {"If_Modified_Since": formatdate(CHANGED_S - 1, usegmt=True)},
        {"If_Modified_Since": "yesterday"},
        {"If_Modified_Since": "Tue, 14 Nov 99999 22:13:20 GMT"},
    ]
    for headers in changed:
        assert get(http, "/data.bin", **headers)[0].status == 200, headers


def test_directory_is_listed_with_links_that_work(http: HTTPConnection) -> None:
    answer, page = get(http, "/sub/")
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert '<a href="./gr%C3%BC%C3%9Fe%20%26%20co.txt">grüße &amp; co.txt</a>'.encode() in page
    assert b'<a href="./deep/">deep/</a>' in page
    answer, body = get(http, "/sub/gr%C3%BC%C3%9Fe%20%26%20co.txt?whatever=1")
    assert (answer.status, body) == (200, b"hello")
    assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
    kind = get(http, "/sub/program.js")[0].getheader("Content-Type")
    assert kind in {"application/javascript", "text/javascript; charset=utf-8"}  # 3.11; 3.12


@pytest.mark.parametrize("path", ["/sub", "//sub", "/%73ub"])
def test_directory_without_its_slash_is_redirected(http: HTTPConnection, path: str) -> None:
    """To a path of this server, whatever was asked for."""
    answer, _ = get(http, path)
    assert (answer.status, answer.getheader("Location")) == (301, "/sub/")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/sub/..%5c..%5csecret.txt",
        "/%252e%252e/secret.txt",
        "/C:/windows/win.ini",
        "/C:%5cwindows%5cwin.ini",
        "/C:",
        "//127.0.0.1/c$/windows/win.ini",
        "/%5c%5c127.0.0.1%5cc$%5cwindows%5cwin.ini",
        "/%5c%5c.%5cNUL",
        "/%5c%5c%3f%5cC:%5cwindows%5cwin.ini",
        "/NUL",
        "/nul.txt",
        "/sub/con",
        "/COM1",
        "/com%C2%B9.txt",
        "/CONIN$",
        "/aux%20.txt",
        "/data.bin::$DATA",
        "/data.bin:stream",
        "/data.bin.",
        "/data.bin%20",
        "/data.bin%00.html",
        "/data.bi?",
        "/data.*",
        "/data.bin/x",
    ],
)
def test_nothing_but_what_is_in_the_directory(http: HTTPConnection, path: str) -> None:
    answer, body = get(http, path)
    assert answer.status == 404, body
    assert b"secret" not in body


def test_link_that_leads_out_is_not_followed(http: HTTPConnection, site: Path) -> None:
    """Making one takes a right that not everybody has on Windows."""
    link = site / "sub" / "link.txt"
    try:
        link.symlink_to(site.parent / "secret.txt")
    except OSError:
        pytest.skip("this user may not make symbolic links")
    if not link.is_symlink():
        pytest.skip("this system says that it makes symbolic links, and does not: Wine 8")
    try:
        assert link.read_text() == "secret"
        assert get(http, "/sub/link.txt")[0].status == 404
    finally:
        link.unlink()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(http: HTTPConnection, method: str) -> None:
    """What they bring is dropped, and the connection goes on."""
    http.request(method, "/data.bin", body=b"x" * 100_000)
    answer = http.getresponse()
    answer.read()
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert get(http, "/")[0].status == 200


def test_client_that_waits_for_leave_gets_it(server: Server) -> None:
    """Expect: 100-continue."""
    with server.connect() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n")
        client.send(b"Expect: 100-continue\r\n\r\n")
        assert client.line().startswith("HTTP/1.1 100")
        assert client.line() == ""
        client.send(b"abc")
        assert client.line() == "HTTP/1.1 405 Method Not Allowed"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET http://[x/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", 400),
    ],
)
def test_what_is_no_request_is_told_so(server: Server, request_: bytes, status: int) -> None:
    """And that is the end of the connection."""
    with server.connect() as client:
        client.send(request_)
        client.socket.shutdown(1)
        assert client.line().split()[:2] == ["HTTP/1.1", str(status)]
        assert b"\r\n\r\n" in client.read()


def send_slowly(client: Client) -> None:
    """Send a byte now and then, for a long time."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        client.send(b"G")
        time.sleep(0.05)


def test_request_that_takes_too_long_is_given_up(serve: Callable[..., Server], site: Path) -> None:
    """A client that sends a byte now and then; one between two requests may take its time."""
    server = serve("http_files", str(site), "--deadline", "0.5")
    with server.connect() as patient, server.connect() as slow:
        patient.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        while patient.line():
            pass
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            send_slowly(slow)
        assert time.monotonic() - began >= 0.4  # the clock of Windows ticks in 16 ms
        patient.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert patient.line() == "HTTP/1.1 200 OK"
    assert server.end()[-1] == "2 connections were served"
