"""Clients of the servers that the pages show: each checks that the server does what it says."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable

import pytest

WITHIN_S = 15.0
"""How long a server may take to listen, and to answer."""


def connect(port: int) -> socket.socket:
    """Return a connection to the server, as soon as it listens."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # it will listen soon: whoever comes too early tries again


def receive(client: socket.socket, count: int) -> bytes:
    """Return exactly so many bytes, or fewer if the stream ends before."""
    received = bytearray()
    while len(received) < count:
        data = client.recv(count - len(received))
        if not data:
            break
        received += data
    return bytes(received)


def echoes(port: int) -> None:
    """Everything comes back, and the end of the stream too."""
    with connect(port) as client:
        sent = bytes(range(256)) * 500
        client.sendall(sent)
        assert receive(client, len(sent)) == sent
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def slow_reader(port: int) -> None:
    """Who sends a lot before reading any of it gets all of it back in the end.

    More than sockets hold and than a session queues before its `send` says False.
    """
    sent = bytes(range(256)) * (12 << 12)
    with connect(port) as client:
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        sender.join(0.5)  # by then the server has what it takes from a client that does not read
        assert receive(client, len(sent)) == sent
        sender.join()


def lines(port: int) -> None:
    """Each line is answered in capitals, however the bytes are cut."""
    with connect(port) as client:
        for part in (b"one\ntw", b"o\nthr", b"ee\n"):
            client.sendall(part)
        assert receive(client, 14) == b"ONE\nTWO\nTHREE\n"


def chat(port: int) -> None:
    """What one client says, the other hears."""
    with connect(port) as first, connect(port) as second:
        assert receive(first, 8) == b"welcome\n"
        assert receive(second, 8) == b"welcome\n"
        first.sendall(b"hello")
        assert receive(second, 5) == b"hello"
        assert receive(first, 5) == b"hello"


def goodbye(port: int) -> None:
    """The server says something and closes in order."""
    with connect(port) as client:
        assert receive(client, 100) == b"goodbye\n"


def silence(port: int) -> None:
    """Who says nothing any more is thrown out, with a reset."""
    with connect(port) as client:
        # With a time limit Python asks select() first, and after that Wine's recv() tells the
        # reset as an end. The server's own limit, and the test's, bound this.
        client.settimeout(None)
        client.sendall(b"I am here")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def reader(port: int) -> None:
    """The server sends a module of the standard library, and closes in order."""
    with connect(port) as client:
        sent = receive(client, 1 << 20)
        assert sent.startswith(b"# and here it is:\n")
        assert b"pbkdf2_hmac" in sent


def digest(port: int) -> None:
    """Two questions at once, and each gets its answer."""
    with connect(port) as first, connect(port) as second:
        for client, question in ((first, b"one"), (second, b"two")):
            client.sendall(question)
        for client, question in ((first, b"one"), (second, b"two")):
            answer = hashlib.pbkdf2_hmac("sha256", question, b"salt", 50_000)
            assert receive(client, 32) == answer


def store(port: int) -> None:
    """Each body is as long as the line before it says, however the bytes are cut."""
    with connect(port) as client:
        for part in (b"3\nabc1", b"0\n01234", b"56789", b"1\nz"):
            client.sendall(part)
        assert receive(client, 14) == b"ABC0123456789Z"


def datagram_socket(port: int, hello: bytes) -> socket.socket:
    """Return a socket that has had an answer to its first datagram, as soon as there is one.

    Each attempt has a socket of its own: with one that a closed port has been told of, Wine's
    select() overlooks a datagram now and then.
    """
    deadline = time.monotonic() + WITHIN_S
    while True:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(0.2)
        client.connect(("127.0.0.1", port))
        client.send(hello)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            client.recv(65535)
            client.settimeout(WITHIN_S)
            return client
        client.close()
        assert time.monotonic() < deadline


def datagram_echoes(port: int) -> None:
    """Every datagram comes back, to who sent it."""
    with datagram_socket(port, b"hello") as one, datagram_socket(port, b"hello") as two:
        for n in range(20):
            for client in (one, two):
                client.send(b"%d to %d" % (n, client.getsockname()[1]))
            for client in (one, two):
                assert client.recv(100) == b"%d to %d" % (n, client.getsockname()[1])


def validated(port: int) -> None:
    """A token comes to who asks, and who brings it back is let in."""
    hello = b"J" + bytes(20) + b"Ann"
    with datagram_socket(port, hello) as client:
        client.send(hello)
        retry = client.recv(100)
        assert (retry[:1], len(retry)) == (b"C", 21)
        client.send(b"J" + retry[1:] + b"Ann")
        assert client.recv(100) == b"welcome, Ann"


VISITORS: dict[str, Callable[[int], None]] = {
    visitor.__name__: visitor
    for visitor in (
        echoes,
        slow_reader,
        lines,
        chat,
        goodbye,
        silence,
        reader,
        digest,
        store,
        datagram_echoes,
        validated,
    )
}
