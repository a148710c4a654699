"""C75: the examples hold up like the library: nobody keeps the others out, or harms a terminal.

Each attack goes over the wire, to a server in a process of its own. Who is served beside it is
compared with the same client without it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from commands import INTERRUPTIBLE, TIMEOUT_S, Command
from crowd import Crowd
from example_server import Client, Server, example
from honest import HonestClient

Serve = Callable[..., Server]

GET = b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"
MISSING = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = (
    b"PUT /file HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 5000
    + b"0\r\n\r\n"
)
SIZES = [
    pytest.param(40, 320, id="short"),
    pytest.param(2000, 2600, id="2000", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
]
"""Places that the server has, and connections that want to take them."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a small file and a large one."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "large").write_bytes(bytes(1 << 21))
    return tmp_path


@pytest.fixture(scope="module")
def web(
    serve_all: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A web server that all of its tests may attack: in the end it has printed no traceback."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "file").write_bytes(b"content")
    server = serve_all("http_files", str(folder))
    yield server
    server.end()


def status_of(port: int, path: str = "/file", **headers: str) -> int:
    """Return the status of an answer to a new client, and see that its body comes."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as http:
        http.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = http.getresponse()
        answer.read()
        return answer.status


def first_status_of(port: int) -> int:
    """Return the first status that a client gets who tries again, while a crowd is let in.

    One whose request is slower than all of them may have to go as they may: nothing came from it.
    """
    for _ in range(20):
        with suppress(ConnectionError):
            return status_of(port)
    raise AssertionError("no client is answered")


# A web server


DATES = [
    "Tue, 14 Nov 99999999999 22:13:20 GMT",
    "Tue, 14 Nov 10000 22:13:20 GMT",
    "Tue, 99 Nov 2023 99:99:99 GMT",
    "Tue, 14 Nov 2023 22:13:20 +9999999999999",
    "0 0 0 0",
    "-1 Jan -1 -1:-1:-1 -9999",
    "\x80\xff",
    ", ".join(["Tue"] * 5000),
]


def test_odd_dates_are_no_dates(web: Server) -> None:
    """Each gets the file, and the server says nothing of it."""
    for date in DATES:
        assert status_of(web.port, If_Modified_Since=date) == 200, date[:50]


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
    ],
    ids=["encoding first", "length first", "HTTP/1.0"],
)
def test_ambiguous_request_is_refused_and_ends_the_connection(web: Server, head: str) -> None:
    """RFC 9112, 6.1: somebody before us may have taken the second request for the first's body."""
    with web.connect() as client:
        client.send(head.encode() + b"\r\n0\r\n\r\n" + GET)
        answers = client.read()
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answers.lower()
    assert answers.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"a/" * 7000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"%41" * 700 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["connect", "upgrade", "HTTP/2", "many names", "long name"],
)
def test_odd_requests_get_an_answer(web: Server, request_: bytes) -> None:
    """And others are served after it."""
    with web.connect() as client:
        client.send(request_)
        assert client.line().split()[0] == "HTTP/1.1"
        assert status_of(web.port) == 200


@pytest.mark.parametrize("says", [b"", b"GET / HT", GET], ids=["silent", "half", "once"])
@pytest.mark.parametrize(("places", "crowd"), SIZES)
def test_crowd_does_not_take_all_places_of_the_web_server(
    serve: Serve, site: Path, says: bytes, places: int, crowd: int
) -> None:
    """Connected and silent, with half a request, or idle after one; and one that downloads.

    That one is in the middle of its answer, and stays although it came first.
    """
    server = serve("http_files", str(site), "--places", str(places), "--deadline", "600")
    with server.connect(receive_buffer=1 << 16) as reader:
        reader.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        assert reader.line() == "HTTP/1.1 200 OK"
        with Crowd(server.port, crowd, says, addresses=20):
            for _ in range(5):
                assert status_of(server.port) == 200
            with Crowd(server.port, crowd // 4, says, addresses=20):
                assert first_status_of(server.port) == 200
        for _ in range(10):
            while reader.line():
                pass
            assert len(reader.read(1 << 21)) == 1 << 21
            if _ < 9:
                assert reader.line() == "HTTP/1.1 200 OK"
    server.end()


@contextmanager
def busy(port: int, data: bytes) -> Iterator[None]:
    """A client that sends the same again and again, and drops what it gets for it."""

    def send() -> None:
        with suppress(OSError):
            while True:
                sock.sendall(data)

    def drop() -> None:
        with suppress(OSError):
            while sock.recv(1 << 20):
                pass

    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        threads = [threading.Thread(target=each, daemon=True) for each in (send, drop)]
        for thread in threads:
            thread.start()
        yield
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(TIMEOUT_S)


@pytest.mark.parametrize(
    ("attack", "share"), [(MISSING * 2000, 1 / 40), (CHUNKS * 4, 1 / 8)], ids=["404s", "chunks"]
)
@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(1.5, id="short"),
        pytest.param(30.0, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
    ],
)
def test_pipelined_requests_leave_others_their_turn(
    web: Server, attack: bytes, share: float, seconds: float
) -> None:
    """One client asks for 2,000 things at a time; the other has a share that can be told from 0.

    The attacker may do 8 requests in each turn, the other client one: that is less than a tenth
    of what it has alone. A part of a body costs little: with those in turns it is nearly all.
    """
    with web.connect() as client:
        client.send(GET)
        length = 0
        while line := client.line():
            length += len(line) + 2
        answer_bytes = length + 2 + len(b"content")
    address = ("127.0.0.1", web.port)
    with HonestClient(address, GET, answer_bytes) as honest:
        alone = honest.rounds_in(seconds)
        with busy(web.port, attack):
            beside = honest.rounds_in(seconds)
    assert beside > alone * share, (alone, beside)


def is_alive(client: Client) -> bool:
    """Tell whether the server has not reset the connection."""
    try:
        client.send(b"x")
    except ConnectionError:
        return False
    return True


def test_who_does_not_read_gives_the_place_back(serve: Serve, site: Path) -> None:
    """It has asked for 20 MB, and takes none of it; one that takes 64 KB now and then gets it."""
    server = serve("http_files", str(site), "--deadline", "1")
    request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 10
    with server.connect(receive_buffer=1 << 14) as dead, server.connect() as slow:
        dead.send(request)
        slow.send(request)
        total, wanted = 0, 10 << 21
        while is_alive(dead):
            total += len(slow.socket.recv(1 << 16))
            time.sleep(0.05)  # its own pace
        assert total < wanted, "it ended only because the server did"
        while total < wanted:
            part = slow.socket.recv(1 << 20)
            assert part, "the one that reads was cut off"
            total += len(part)
    server.end()


# A chat room


def enter(server: Server, name: str) -> Client:
    """Return a guest who has been let in."""
    guest = server.connect()
    assert guest.line() == "Welcome! What is your name?"
    guest.send(f"{name}\n".encode())
    assert guest.line().startswith(f"Hello {name}!")
    return guest


def test_crowd_at_the_door_keeps_nobody_out_of_the_room(serve: Serve) -> None:
    """More than may come from one address wait without a name: guests come and stay."""
    server = serve("chat")
    with enter(server, "Ann") as ann, Crowd(server.port, 250), enter(server, "Bob") as bob:
        assert ann.line() == "* Bob has come"
        bob.send(b"hello\n")
        assert ann.line() == "Bob: hello"
    server.end()


def test_who_talks_too_fast_has_to_go(serve: Serve) -> None:
    """The others have heard 20 lines of it, and not 30,000; nobody else is held up."""
    server = serve("chat")
    with enter(server, "Ann") as ann, enter(server, "Eve") as eve:
        assert ann.line() == "* Eve has come"
        with suppress(ConnectionError):
            eve.send(b"x\n" * 30_000)
        heard = []
        while (line := ann.line()) != "* Eve has left":
            heard.append(line)
            assert len(heard) <= 60, "one may say 20 at once, and 2 more in a second"
        assert set(heard) == {"Eve: x"}
        assert len(heard) >= 15
    server.end()


@contextmanager
def hostile_server(says: bytes) -> Iterator[int]:
    """A server that says the same to everybody; give its port."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client:
                    client.sendall(says)
                    client.shutdown(socket.SHUT_WR)
                    client.settimeout(TIMEOUT_S)
                    while client.recv(1000):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]


ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31mred\u202e"


def test_guests_terminal_obeys_nobody(start: Callable[..., Command]) -> None:
    """Escape sequences that a server sends are printed without what makes them some."""
    with hostile_server(f"{ESCAPES}\n".encode()) as port:
        guest = start(example("chat"), "--join", "Ann", "--port", str(port))
        assert guest.line_with("red") == "]0;title[2J31mred"
        assert guest.end() == 0
    assert "Traceback" not in "\n".join(guest.output)


# A directory watcher


@pytest.mark.parametrize(
    "says",
    [b"[" * 100_000, b"5", b"{}", b'{"event": {"a": []}}', b"\xff\xfe", b"x" * (1 << 19)],
    ids=["deep", "number", "empty", "nested", "no text", "endless"],
)
def test_follower_survives_what_is_no_event(start: Callable[..., Command], says: bytes) -> None:
    with hostile_server(says + b"\n") as port:
        follower = start(INTERRUPTIBLE, example("watch"), "--follow", "--port", str(port))
        assert follower.end() == 0
    assert "Traceback" not in "\n".join(follower.output)


def test_followers_terminal_obeys_no_file_name(start: Callable[..., Command]) -> None:
    """A file may be called that; C1 codes and what reverses the text are in Windows' names too."""
    line = b'{"event": "added", "name": "\\u001b[2J\\u009b31m\\u202ered"}\n'
    with hostile_server(line) as port:
        follower = start(INTERRUPTIBLE, example("watch"), "--follow", "--port", str(port))
        assert follower.line_with("red") == "added [2J31mred"
        assert follower.end() == 0


# A proxy


@pytest.mark.parametrize(("places", "crowd"), SIZES)
def test_silent_crowd_does_not_take_all_places_of_the_proxy(
    serve: Serve, places: int, crowd: int
) -> None:
    """Clients that say something are passed on, and those that have are left alone."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:

        def echo(client: socket.socket) -> None:
            with client, suppress(OSError):
                while data := client.recv(1000):
                    client.sendall(data)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=echo, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        server = serve("proxy", target, "--places", str(places))
        first = stack.enter_context(server.connect())
        first.send(b"first\n")
        assert first.line() == "first"
        stack.enter_context(Crowd(server.port, crowd, addresses=20))
        for n in range(5):
            with server.connect() as client:
                client.send(b"%d\n" % n)
                assert client.line() == f"{n}"
        first.send(b"still here\n")
        assert first.line() == "still here"
    server.end()


# A game


def test_crowd_at_the_door_keeps_no_player_out(serve: Serve) -> None:
    """More connections than there are places, none of which joins: a player over TCP does."""
    server = serve("tick_server")
    hello = b"J" + bytes(20) + b"Ann".ljust(16, b"\0")
    with Crowd(server.port, 120), server.connect() as ann:
        ann.send(len(hello).to_bytes(2, "big") + hello)
        assert ann.read(3) == (3).to_bytes(2, "big") + b"W"
    server.end()


@pytest.mark.parametrize("says", [b"W", b"C", b"T", b"T\1\0\0\0\5\0abc", b"", b"\xff" * 100])
def test_player_survives_what_is_no_message(start: Callable[..., Command], says: bytes) -> None:
    """Over UDP, from a server that answers so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(TIMEOUT_S)
        number = str(server.getsockname()[1])
        player = start(INTERRUPTIBLE, example("tick_client"), "Ann", "--port", number)
        for _ in range(3):
            _, address = server.recvfrom(1000)
            server.sendto(says, address)
        player.press_ctrl_c()
        assert player.end() == 0
    assert "Traceback" not in "\n".join(player.output)
