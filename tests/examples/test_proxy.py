"""examples/proxy.py, between plain sockets: everything arrives, and nothing piles up."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from commands import TIMEOUT_S
from example_server import Server

Serve = Callable[..., Server]
LINGER_0 = struct.pack("HH", 1, 0)
CONTENT = bytes(range(251)) * 80_000
"""20 MB, which do not repeat themselves where buffers end."""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """What the proxy passes its clients on to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(TIMEOUT_S)
        yield listening


@pytest.fixture
def proxy(serve: Serve, listening: socket.socket) -> Server:
    """The proxy."""
    return serve("proxy", f"127.0.0.1:{listening.getsockname()[1]}")


@contextlib.contextmanager
def connected(
    proxy: Server, listening: socket.socket
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect a client of the proxy, and return it with the server's end of its connection."""
    with socket.socket() as client:
        # What sockets hold at both ends shall be little beside the 20 MB.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.settimeout(TIMEOUT_S)
        client.connect(("127.0.0.1", proxy.port))
        server, _ = listening.accept()
        with server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            server.settimeout(TIMEOUT_S)
            yield client, server


@pytest.fixture
def ends(proxy: Server, listening: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection through the proxy: the client's, and the server's."""
    with connected(proxy, listening) as ends:
        yield ends


def fill(sender: socket.socket) -> int:
    """Send until nothing more goes for a second, and return how many bytes went."""
    sent = 0
    sender.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while sent < len(CONTENT):
            sent += sender.send(CONTENT[sent : sent + 65536])
    sender.settimeout(TIMEOUT_S)
    return sent


def received(receiver: socket.socket) -> str:
    """Return the hash of all that comes, as much as there is of it or until the end."""
    digest, count = hashlib.sha256(), 0
    while count < len(CONTENT) and (data := receiver.recv(1 << 20)):
        digest.update(data)
        count += len(data)
    return digest.hexdigest()


def is_reset(end: socket.socket) -> bool:
    """Tell whether what comes next is a reset; else it is the end."""
    end.settimeout(None)  # with one, Python calls select(), after which Wine tells it as an end
    try:
        assert end.recv(100) == b""
    except ConnectionResetError:
        return True
    return False


def test_slow_readers_hold_the_senders_up(
    ends: tuple[socket.socket, socket.socket], proxy: Server
) -> None:
    """20 MB each way, and nobody reads: the senders get rid of a part only. Then all arrives.

    The proxy cannot have the rest: it is still here. Each side ends its stream when it has all:
    of what a socket still sends to a peer that has ended its side, Wine 10 drops the rest.
    """
    client, server = ends
    went = [fill(client), fill(server)]
    assert max(went) < len(CONTENT) * 0.8, went

    senders = [
        threading.Thread(target=sender.sendall, args=(CONTENT[sent:],))
        for sender, sent in zip((client, server), went, strict=True)
    ]
    for thread in senders:
        thread.start()
    expected = hashlib.sha256(CONTENT).hexdigest()
    with contextlib.ExitStack() as threads:
        for thread in senders:
            threads.callback(thread.join, TIMEOUT_S)
        digests: dict[str, str] = {}
        reader = threading.Thread(target=lambda: digests.update(client=received(client)))
        reader.start()
        digests["server"] = received(server)
        reader.join(TIMEOUT_S)
    assert digests == {"client": expected, "server": expected}
    for end in ends:
        end.shutdown(socket.SHUT_WR)
    assert [end.recv(1) for end in ends] == [b"", b""]
    proxy.end()


def test_end_of_one_side_leaves_the_other_open(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The client asks and ends its side; the answer, and the server's own end, come after that."""
    client, server = ends
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert server.makefile("rb").read() == b"question"
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"
    server.sendall(b", and more")
    server.close()
    assert client.makefile("rb").read() == b", and more"


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_is_passed_on(proxy: Server, listening: socket.socket, who: str) -> None:
    """Whichever side it comes from. On a busy machine, Wine 8 tells one in thirty as an end."""
    for _ in range(10):
        with connected(proxy, listening) as (client, server):
            first, second = (client, server) if who == "client" else (server, client)
            first.sendall(b"hello")
            assert second.recv(100) == b"hello"
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            first.close()
            if is_reset(second):
                return
    pytest.fail("ten resets, and each was told as an end")


def test_client_is_reset_if_there_is_no_server(serve: Serve, refused: tuple[str, int]) -> None:
    """And the proxy says why; it goes on for the next one."""
    proxy = serve("proxy", f"{refused[0]}:{refused[1]}")
    resets = 0
    for _ in range(10):
        with proxy.connect() as client:
            resets += is_reset(client.socket)
        assert "WSAECONNREFUSED" in proxy.command.line_with("cannot be passed on")
    assert resets > 0
    proxy.end()
