"""Journal: a session that writes down what happens to it, and what its tests need around it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from deadline import DEADLINE_S

from pyiocp import CompletionPort, Listener, Session

LINGER_0 = struct.pack("HH", 1, 0)
"""A LINGER of 0 seconds: closing sends an RST."""

NOT_YET = object()


class Journal(Session):
    """Writes its hooks down, and lets tests wait for them."""

    def __init__(self) -> None:
        self.hooks: list[str] = []
        self.received = bytearray()
        self.error: Any = NOT_YET
        self.connected = threading.Event()
        self.has_eof = threading.Event()
        self.closed = threading.Event()
        self._received_more = threading.Condition()

    def on_connect(self) -> None:
        self.hooks.append("connect")
        self.connected.set()

    def on_receive(self, data: memoryview) -> None:
        self.hooks.append("receive")
        with self._received_more:
            self.received += data
            self._received_more.notify_all()

    def on_eof(self) -> None:
        self.hooks.append("eof")
        self.has_eof.set()
        super().on_eof()

    def on_writable(self) -> None:
        self.hooks.append("writable")

    def on_close(self, error: OSError | None) -> None:
        self.hooks.append("close")
        self.error = error
        self.closed.set()

    def wait_received(self, count: int, timeout: float = DEADLINE_S) -> bytes:
        """Wait until that many bytes have come, and return what has."""
        with self._received_more:
            self._received_more.wait_for(lambda: len(self.received) >= count, timeout)
            return bytes(self.received)


class Made(list[Any]):
    """A factory that keeps the sessions it made."""

    def __init__(self, kind: Callable[[], Any]) -> None:
        super().__init__()
        self._kind = kind

    def __call__(self) -> Any:
        self.append(self._kind())
        return self[-1]


@contextlib.contextmanager
def served(port: CompletionPort, threads: int = 1) -> Iterator[threading.Thread]:
    """Run a port in a thread of its own while the test does its part."""
    thread = threading.Thread(target=port.run, kwargs={"threads": threads}, name="port.run")
    thread.start()
    try:
        yield thread
    finally:
        port.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the workers did not stop"


def connect(listener: Listener) -> socket.socket:
    """Return a plain socket, connected to the listener."""
    peer = socket.create_connection(listener.address[:2], timeout=DEADLINE_S)
    peer.settimeout(DEADLINE_S)
    return peer


def reset(peer: socket.socket) -> None:
    """Close the socket so that its peer gets an RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    peer.close()


def receive_all(peer: socket.socket, count: int | None = None) -> bytes:
    """Return what comes until the end, or that many bytes."""
    data = bytearray()
    while count is None or len(data) < count:
        part = peer.recv(1 << 20)
        if not part:
            break
        data += part
    return bytes(data)


def eventually(condition: Callable[[], bool], seconds: float = DEADLINE_S) -> bool:
    """Wait until something holds that nothing announces; tell whether it does."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.002)
    return condition()
