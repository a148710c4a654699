"""Datagrams without an operation: what the system takes, or has, at once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from completions import one
from datagram_sockets import LOOPBACK, bound
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import CompletionPort, Datagram, HandleClosedError, IocpError, ResourceLimitError
from pyiocp.handles.sockets.datagram_receive import ImmediateReceive
from pyiocp.winapi import SOCKET_ERROR, WSAENOBUFS, address_of
from pyiocp.winapi.errorcodes import WSAEACCES, WSAEMSGSIZE, WSAEWOULDBLOCK


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def ours(port: CompletionPort, family: int) -> Datagram:
    return bound(port, family=family)


@pytest.fixture
def peer(family: int) -> Iterator[socket.socket]:
    """A plain socket of Python's."""
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind(LOOPBACK[family])
        peer.settimeout(60)
        yield peer


def test_what_is_taken_at_once_has_no_completion(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """Any buffer, also an empty one; it is the caller's again when the call returns."""
    where = peer.getsockname()[:2]
    for data in (b"bytes", bytearray(b"more"), memoryview(b"a view")[::2], b""):
        assert ours.try_send_to(data, where) is True
        got, sender = peer.recvfrom(100)
        assert got == bytes(memoryview(data))
        assert sender[:2] == ours.local_address()[:2]
    data = bytearray(b"mine")
    assert ours.try_send_to(data, where) is True
    data[:] = b"XXXX"
    data.clear()  # nothing exports it
    assert peer.recv(100) == b"mine"
    assert port.in_flight == {}
    assert port.wait(0) == []


def test_operations_go_on_beside_it(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """A pending receive stays pending on a socket that has become non-blocking."""
    buffer = bytearray(100)
    receive = ours.receive_from(buffer)
    assert ours.try_send_to(b"question", peer.getsockname()[:2]) is True
    assert port.wait(0) == []
    question, sender = peer.recvfrom(100)
    peer.sendto(question, sender)
    completion = one(port)
    assert (completion.operation, bytes(buffer[:8])) == (receive, b"question")
    ours.send_to(b"by an operation", peer.getsockname()[:2])
    assert one(port).bytes == 15


def test_no_room_is_no_error() -> None:
    """The buffer is full: False, and nothing of it left. What comes then goes out."""
    kernel = FaultyKernel()
    kernel.wrap("sendto", Refusal(WSAEWOULDBLOCK, SOCKET_ERROR, times=1))
    with (
        CompletionPort(kernel=kernel) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(60)
        datagram = port.datagram(family=socket.AF_INET)
        assert datagram.try_send_to(b"one", peer.getsockname()) is False
        assert datagram.try_send_to(b"two", peer.getsockname()) is True
        assert peer.recv(10) == b"two"


@pytest.mark.parametrize(("code", "kind"), [(WSAENOBUFS, ResourceLimitError), (WSAEACCES, OSError)])
def test_refusal_is_an_error(code: int, kind: type[Exception]) -> None:
    kernel = FaultyKernel()
    kernel.wrap("sendto", Refusal(code, SOCKET_ERROR))
    with CompletionPort(kernel=kernel) as port:
        datagram = port.datagram(family=socket.AF_INET)
        with pytest.raises(kind, match="sendto") as raised:
            datagram.try_send_to(b"one", ("127.0.0.1", 9))
        assert isinstance(raised.value, IocpError)
        assert raised.value.winerror == code


def test_bad_arguments_are_refused_before_the_kernel(ours: Datagram) -> None:
    where = ours.local_address()[:2]
    most = ours.bytes_max
    with pytest.raises(ValueError, match=f"at most {most} bytes, not {most + 1}"):
        ours.try_send_to(bytes(most + 1), where)
    with pytest.raises(ValueError, match="localhost"):
        ours.try_send_to(b"x", ("localhost", 9))
    for bad in ("text", 5, None):
        with pytest.raises(TypeError):
            ours.try_send_to(bad, where)  # type: ignore[arg-type]
    ours.close()
    with pytest.raises(HandleClosedError):
        ours.try_send_to(b"x", where)


def test_what_is_there_is_received(ours: Datagram, peer: socket.socket) -> None:
    """In order, each with who sent it; one that is too long is cut; then there is none."""
    buffer = bytearray(8)
    receive = ImmediateReceive(ours, buffer)
    assert (receive.receive(), receive.count) == (WSAEWOULDBLOCK, 0)
    where = ours.local_address()
    for data in (b"first", b"", b"12345678", b"123456789", b"last"):
        peer.sendto(data, where)
    for expected in (b"first", b"", b"12345678"):
        assert receive.receive() == 0
        assert bytes(buffer[: receive.count]) == expected
        assert address_of(receive.sender)[:2] == peer.getsockname()[:2]
    assert (receive.receive(), receive.count) == (WSAEMSGSIZE, 8)
    assert address_of(receive.sender)[:2] == peer.getsockname()[:2]
    assert (receive.receive(), bytes(buffer[: receive.count])) == (0, b"last")
    assert receive.receive() == WSAEWOULDBLOCK
    assert not any(receive.sender[:2])  # not that of the last one
    ours.close()
    with pytest.raises(HandleClosedError):
        receive.receive()


@pytest.mark.parametrize("call", ["send", "receive"])
def test_neither_waits_although_somebody_has_made_the_socket_blocking(
    ours: Datagram, peer: socket.socket, call: str
) -> None:
    """It would hold the GIL, and the handle's lock, until a datagram comes."""
    receive = ImmediateReceive(ours, bytearray(8))
    blocking: list[bool] = []
    real: Callable[..., int] = ours.port.kernel.ioctlsocket

    def ioctlsocket(number: int, command: int, setting: Any) -> int:
        blocking.append(not setting._obj.value)
        return real(number, command, setting)

    ours.port.kernel.ioctlsocket = ioctlsocket
    for _ in range(2):
        ours.set_blocking(True)
        for _ in range(2):
            if call == "send":
                assert ours.try_send_to(b"x", peer.getsockname()[:2]) is True
            else:
                assert receive.receive() == WSAEWOULDBLOCK
    assert blocking == [True, False] * 2


def test_nothing_is_kept_of_what_was_sent(ours: Datagram, peer: socket.socket) -> None:
    """The system has copied it: no reference to the message stays."""
    message = bytes(10_000)
    references = sys.getrefcount(message)
    assert ours.try_send_to(message, peer.getsockname()[:2]) is True
    assert sys.getrefcount(message) == references
