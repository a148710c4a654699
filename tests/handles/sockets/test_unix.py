"""Streams over AF_UNIX: where there is none, what the system would be given."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyiocp import CompletionPort, IocpError
from pyiocp.winapi import (
    AF_INET,
    AF_UNIX,
    SOCKADDR_UN,
    WSAEAFNOSUPPORT,
    address_of,
    sockaddr,
)

if TYPE_CHECKING:
    from faulty_kernel import FaultyKernel


def test_connection_through_a_file(port: CompletionPort, tmp_path: Path) -> None:
    """Accepted, connected, spoken through, with first data; the client leaves no file."""
    try:
        listening = port.stream(family=AF_UNIX, key="listening")
    except IocpError as error:
        if error.winerror != WSAEAFNOSUPPORT:
            raise
        pytest.skip(f"{error} (Wine 8 has no AF_UNIX)")
    path = str(tmp_path / "socket")
    listening.bind(path)
    listening.listen()
    accept = listening.accept()
    client = port.stream(family=AF_UNIX, key="client")
    client.connect(path, b"first")
    seen: dict[Any, Any] = {}
    while len(seen) < 2:
        seen.update({c.key: c for c in port.wait(60)})
    assert [c.error for c in seen.values()] == [None, None]
    server = accept.accepted
    assert server is not None
    assert (server.local_address(), server.peer_address()) == (path, "")
    assert client.peer_address() == path
    server.receive(bytearray(10))
    [completion] = port.wait(60)
    assert bytes(completion.data) == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["socket"]


class UnixOverTcp:
    """Lets AF_UNIX streams be TCP underneath, and notes the addresses that they are given."""

    def __init__(self, kernel: FaultyKernel, server: tuple[str, int]) -> None:
        self.bound: list[tuple[int, int]] = []
        self.connected: list[tuple[Any, int]] = []
        self._server = sockaddr(AF_INET, server)
        kernel.wrap("WSASocketW", self._open)
        kernel.wrap("bind", self._bind)
        kernel.wrap("ConnectEx", self._connect)

    def _open(self, real: Callable[..., int], family: int, *arguments: Any) -> int:
        return real(AF_INET if family == AF_UNIX else family, *arguments)

    def _bind(self, real: Callable[..., int], number: int, name: Any, length: int) -> int:
        self.bound.append((name._obj.sa_family, length))
        anywhere = sockaddr(AF_INET, ("", 0))
        return real(number, ctypes.byref(anywhere), ctypes.sizeof(anywhere))

    def _connect(
        self, real: Callable[..., int], number: Any, name: Any, length: Any, *arguments: Any
    ) -> int:
        self.connected.append((address_of(name._obj), length.value))
        # What ConnectEx has been seen to do, once: write past the end of the address.
        ctypes.memset(ctypes.addressof(name._obj) + length.value, 0xAA, 316)
        size = ctypes.c_int(ctypes.sizeof(self._server))
        return real(number, ctypes.byref(self._server), size, *arguments)


def test_connect_binds_to_no_path_and_names_the_file(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """The family alone is bound to; the address has room behind it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        unix = UnixOverTcp(kernel, server.getsockname())
        stream = port.stream(family=AF_UNIX)
        stream.connect(r"C:\temp\socket")
        [completion] = port.wait(60)
        assert completion.error is None
    assert unix.bound == [(AF_UNIX, 2)]
    assert unix.connected == [(r"C:\temp\socket", ctypes.sizeof(SOCKADDR_UN))]


def test_accepted_peer_without_a_path_has_an_empty_address(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """GetAcceptExSockaddrs gives a family of 0 for it."""
    UnixOverTcp(kernel, ("127.0.0.1", 1))
    path = sockaddr(AF_UNIX, "socket")
    nameless = SOCKADDR_UN()

    def addresses(real: Callable[..., None], *arguments: Any) -> None:
        for found, address in ((arguments[4], path), (arguments[6], nameless)):
            found._obj.contents = ctypes.cast(ctypes.addressof(address), type(found._obj)).contents

    kernel.wrap("GetAcceptExSockaddrs", addresses)
    listening = port.stream(family=AF_UNIX)
    listening.bind("socket")
    listening.listen()
    accept = listening.accept()
    number = socket.socket(fileno=listening.number)
    try:
        address = number.getsockname()
    finally:
        number.detach()
    with socket.create_connection(("127.0.0.1", address[1])):
        [completion] = port.wait(60)
        assert completion.error is None
        assert accept.accepted is not None
        assert accept.accepted.local_address() == "socket"
        assert accept.accepted.peer_address() == ""


@pytest.mark.parametrize(
    ("bad", "error"), [("x" * 108, ValueError), ("a\0b", ValueError), (("host", 1), TypeError)]
)
def test_address_that_is_no_path_is_refused(
    kernel: FaultyKernel, port: CompletionPort, bad: Any, error: type[Exception]
) -> None:
    UnixOverTcp(kernel, ("127.0.0.1", 1))
    stream = port.stream(family=AF_UNIX)
    with pytest.raises(error):
        stream.connect(bad)
    with pytest.raises(error):
        stream.bind(bad)
