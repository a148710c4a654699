"""DatagramJournal: a session of datagrams that writes down what happens to it, and plain peers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from deadline import DEADLINE_S
from journal import NOT_YET

from pyiocp import DatagramServer, DatagramSession

LOCAL = ("127.0.0.1", 0)


class DatagramJournal(DatagramSession):
    """Writes its hooks down, and lets tests wait for them."""

    def __init__(self) -> None:
        self.hooks: list[str] = []
        self.received: list[bytes] = []
        self.error: Any = NOT_YET
        self.connected = threading.Event()
        self.closed = threading.Event()
        self._received_more = threading.Condition()

    def on_connect(self) -> None:
        self.hooks.append("connect")
        self.connected.set()

    def on_receive(self, data: memoryview) -> None:
        self.hooks.append("receive")
        with self._received_more:
            self.received.append(bytes(data))
            self._received_more.notify_all()

    def on_truncated(self, data: memoryview) -> None:
        self.hooks.append("truncated")
        with self._received_more:
            self.received.append(bytes(data))
            self._received_more.notify_all()

    def on_close(self, error: OSError | None) -> None:
        self.hooks.append("close")
        self.error = error
        self.closed.set()

    def wait_received(self, count: int, timeout: float = DEADLINE_S) -> list[bytes]:
        """Wait until that many datagrams have come, and return what has."""
        with self._received_more:
            self._received_more.wait_for(lambda: len(self.received) >= count, timeout)
            return list(self.received)


class Echo(DatagramJournal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


@contextlib.contextmanager
def peer_of(server: DatagramServer) -> Iterator[socket.socket]:
    """A plain socket that talks to the server, and hears of nobody else."""
    host, port = server.address[:2]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.settimeout(DEADLINE_S)
        peer.connect(("127.0.0.1" if host == "0.0.0.0" else host, port))
        yield peer


def answer(peer: socket.socket, question: bytes) -> bytes:
    """Send a datagram and return the one that comes back."""
    peer.send(question)
    return peer.recv(65535)


def silent(peer: socket.socket, seconds: float = 0.1) -> bool:
    """Tell whether nothing comes for a while."""
    peer.settimeout(seconds)
    try:
        peer.recv(65535)
    except TimeoutError:
        return True
    finally:
        peer.settimeout(DEADLINE_S)
    return False
