"""What the tests of Winsock share: sockets that get closed, and pairs of them.

Only declared functions are used, here as in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, sizeof
from typing import Any

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import address_of, sockaddr

LOOPBACK: dict[int, Any] = {AF_INET: ("127.0.0.1", 0), AF_INET6: ("::1", 0)}
FAMILIES = (AF_INET, AF_INET6)


def succeeded(result: int) -> None:
    """Fail with the error's name unless a function of Winsock returned 0."""
    assert 0 == result, error_name(last_error())


def pending(result: int) -> None:
    """Fail unless an overlapped call is done or under way; either way a packet comes."""
    error = last_error() if result == SOCKET_ERROR else 0
    assert error in (0, WSA_IO_PENDING), error_name(error)


def submitted(result: int) -> None:
    """As `pending`, for the functions that return a BOOL."""
    pending(0 if result else SOCKET_ERROR)


class Sockets:
    """Sockets of one test: each is checked when it is made, and closed at the end."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def keep(self, socket: int) -> int:
        """Return `socket`, which will be closed; fail if it is none."""
        assert socket != INVALID_SOCKET, error_name(last_error())
        self._open.append(socket)
        return socket

    def make(self, family: int = AF_INET, kind: int = SOCK_STREAM) -> int:
        """Return a new socket for overlapped I/O."""
        flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT
        return self.keep(WSASocketW(family, kind, 0, None, 0, flags))

    def bound(self, family: int = AF_INET, kind: int = SOCK_STREAM) -> int:
        """Return a new socket, bound to the loopback address and a free port."""
        socket, name = self.make(family, kind), sockaddr(family, LOOPBACK[family])
        succeeded(bind(socket, byref(name), sizeof(name)))
        return socket

    def listener(self, family: int = AF_INET) -> int:
        """Return a socket that listens on the loopback address."""
        socket = self.bound(family)
        succeeded(listen(socket, SOMAXCONN))
        return socket

    def pair(self, family: int = AF_INET) -> tuple[int, int]:
        """Return the two ends of a connection."""
        listener, client = self.listener(family), self.make(family)
        name = sockaddr(family, local(listener))
        succeeded(connect(client, byref(name), sizeof(name)))
        server = self.keep(accept(listener, None, None))
        self.close(listener)
        return server, client

    def close(self, socket: int) -> None:
        """Close a socket before the end of the test."""
        self._open.remove(socket)
        succeeded(closesocket(socket))

    def close_all(self) -> None:
        """Close what is open, the youngest first."""
        while self._open:
            self.close(self._open[-1])


@contextmanager
def closing() -> Iterator[Sockets]:
    """Give out sockets, and close them."""
    kept = Sockets()
    yield kept
    kept.close_all()


def _name(ask: Any, socket: int) -> Any:
    storage = SOCKADDR_STORAGE()
    size = INT(sizeof(storage))
    succeeded(ask(socket, byref(storage), byref(size)))
    return address_of(storage)


def local(socket: int) -> Any:
    """Return a socket's own address."""
    return _name(getsockname, socket)


def remote(socket: int) -> Any:
    """Return the address of a socket's peer."""
    return _name(getpeername, socket)


def send_exactly(socket: int, data: bytes) -> None:
    """Send, and wait until it is done."""
    wsabuf, moved = WSABUF.over(data, read_only=True), DWORD()
    succeeded(WSASend(socket, byref(wsabuf), 1, byref(moved), 0, None, None))
    assert len(data) == moved.value


def receive(socket: int, size: int = 1024) -> bytes:
    """Wait for data, and return what comes first; b"" at the end."""
    buffer, moved, flags = bytearray(size), DWORD(), DWORD()
    wsabuf = WSABUF.over(buffer)
    succeeded(WSARecv(socket, byref(wsabuf), 1, byref(moved), byref(flags), None, None))
    return bytes(buffer[: moved.value])


def receive_exactly(socket: int, size: int) -> bytes:
    """Receive until there are `size` bytes, or the end."""
    data = b""
    while len(data) < size and (more := receive(socket, size - len(data))):
        data += more
    return data
