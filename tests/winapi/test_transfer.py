"""Sending and receiving work as declared: overlapped, through a port, and every way it ends."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, sizeof

import pytest
from win32_helpers import dequeue, look, on_windows
from winsock_helpers import (
    FAMILIES,
    Sockets,
    closing,
    local,
    pending,
    receive_exactly,
    send_exactly,
    succeeded,
)

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import address_of, sockaddr, wsabufs

pytestmark = on_windows


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets that are closed when the test ends."""
    with closing() as kept:
        yield kept


def associate(socket: int, iocp: int, key: int = 0) -> None:
    """Put a socket on a port."""
    assert iocp == CreateIoCompletionPort(socket, iocp, key, 0), error_name(last_error())


def post_receive(
    socket: int, wsabuf: WSABUF, overlapped: OVERLAPPED, flags: DWORD | None = None
) -> None:
    """Start a receive; a packet will come."""
    flags = DWORD() if flags is None else flags
    pending(WSARecv(socket, byref(wsabuf), 1, None, byref(flags), byref(overlapped), None))


def test_data_is_gathered_and_scattered_in_order(sockets: Sockets, iocp: int) -> None:
    """Three buffers out, two of another cut in: the bytes are the same."""
    server, client = sockets.pair()
    associate(server, iocp, 1)
    associate(client, iocp, 2)
    pieces = (b"over", b"lap", b"ped")
    sending, sent = OVERLAPPED(), wsabufs(*pieces, read_only=True)
    pending(WSASend(client, sent, len(sent), None, 0, byref(sending), None))
    packet = dequeue(iocp)
    assert (1, 0, 10, 2, ctypes.addressof(sending)) == packet
    head, tail = bytearray(6), bytearray(10)
    receiving, received, flags = OVERLAPPED(), wsabufs(head, tail), DWORD(MSG_WAITALL)
    succeeded(shutdown(client, SD_SEND))
    pending(WSARecv(server, received, 2, None, byref(flags), byref(receiving), None))
    packet = dequeue(iocp)
    assert (1, 0, 10, 1, ctypes.addressof(receiving)) == packet
    assert (bytes(head), bytes(tail[:4])) == (b"overla", b"pped")


def test_a_zero_byte_receive_tells_of_data_and_leaves_it(sockets: Sockets, iocp: int) -> None:
    """It completes with 0 bytes when data has come, which the next receive brings."""
    server, client = sockets.pair()
    associate(server, iocp)
    nothing, overlapped = WSABUF(), OVERLAPPED()
    post_receive(server, nothing, overlapped)
    assert WAIT_TIMEOUT == look(iocp).error
    send_exactly(client, b"data")
    assert (1, 0, 0, 0, ctypes.addressof(overlapped)) == dequeue(iocp)
    assert b"data" == receive_exactly(server, 4)


def test_a_closed_peer_is_a_receive_of_nothing(sockets: Sockets, iocp: int) -> None:
    """Success, with 0 bytes: the end of the stream."""
    server, client = sockets.pair()
    associate(server, iocp)
    wsabuf, overlapped = WSABUF.over(bytearray(8)), OVERLAPPED()
    post_receive(server, wsabuf, overlapped)
    sockets.close(client)
    assert (1, 0, 0, 0, ctypes.addressof(overlapped)) == dequeue(iocp)


def test_a_failed_completion_is_no_failed_call(sockets: Sockets, iocp: int) -> None:
    """C15: FALSE with an OVERLAPPED carries the key and the error of a cancelled receive."""
    server, _ = sockets.pair()
    associate(server, iocp, 42)
    wsabuf, overlapped = WSABUF.over(bytearray(8)), OVERLAPPED()
    post_receive(server, wsabuf, overlapped)
    assert CancelIoEx(server, byref(overlapped))
    packet = dequeue(iocp)
    assert (0, ERROR_OPERATION_ABORTED, 0, 42, ctypes.addressof(overlapped)) == packet
    assert (look(iocp).ok, look(iocp).error, look(iocp).address) == (0, WAIT_TIMEOUT, 0)


def test_a_reset_fails_the_receive_in_two_languages(sockets: Sockets, iocp: int) -> None:
    """C15, C16: the packet says 64 in Win32's, WSAGetOverlappedResult 10054 in Winsock's."""
    server, client = sockets.pair()
    associate(server, iocp)
    wsabuf, overlapped = WSABUF.over(bytearray(8)), OVERLAPPED()
    post_receive(server, wsabuf, overlapped)
    hard = LINGER(1, 0)
    succeeded(setsockopt(client, SOL_SOCKET, SO_LINGER, byref(hard), sizeof(hard)))
    sockets.close(client)
    packet = dequeue(iocp)
    expected = (0, ERROR_NETNAME_DELETED, ctypes.addressof(overlapped))
    assert expected == (packet.ok, packet.error, packet.address)
    moved, flags = DWORD(), DWORD()
    assert not WSAGetOverlappedResult(server, byref(overlapped), byref(moved), 0, byref(flags))
    assert WSAECONNRESET == last_error()


def test_closing_a_socket_ends_its_operations_by_packet(sockets: Sockets, iocp: int) -> None:
    """The packet comes after closesocket has returned, as a failure with its OVERLAPPED."""
    server, _ = sockets.pair()
    associate(server, iocp, 7)
    wsabuf, overlapped = WSABUF.over(bytearray(8)), OVERLAPPED()
    post_receive(server, wsabuf, overlapped)
    sockets.close(server)
    packet = dequeue(iocp)
    assert (0, 7, ctypes.addressof(overlapped)) == (packet.ok, packet.key, packet.address)
    assert packet.error != 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagram_comes_with_the_address_of_its_sender(
    sockets: Sockets, iocp: int, family: int
) -> None:
    """WSASendTo and WSARecvFrom, overlapped, over IPv4 and IPv6."""
    receiver, sender = (sockets.bound(family, SOCK_DGRAM) for _ in range(2))
    associate(receiver, iocp, 1)
    associate(sender, iocp, 2)
    buffer, overlapped, flags = bytearray(64), OVERLAPPED(), DWORD()
    storage, size = SOCKADDR_STORAGE(), INT(sizeof(SOCKADDR_STORAGE))
    wsabuf = WSABUF.over(buffer)
    pending(
        WSARecvFrom(
            receiver,
            byref(wsabuf),
            1,
            None,
            byref(flags),
            byref(storage),
            byref(size),
            byref(overlapped),
            None,
        )
    )
    name, sending = sockaddr(family, local(receiver)), OVERLAPPED()
    datagram = wsabufs(b"data", b"gram", read_only=True)
    pending(
        WSASendTo(sender, datagram, 2, None, 0, byref(name), sizeof(name), byref(sending), None)
    )
    packets = {packet.key: packet for packet in (dequeue(iocp), dequeue(iocp))}
    assert (1, 0, 8, 1, ctypes.addressof(overlapped)) == packets[1]
    assert (1, 0, 8, 2, ctypes.addressof(sending)) == packets[2]
    assert b"datagram" == bytes(buffer[:8])
    assert local(sender) == address_of(storage)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagram_goes_and_comes_without_an_overlapped(
    sockets: Sockets, iocp: int, family: int
) -> None:
    """Sendto and recvfrom on a non-blocking socket: no packet; and nothing there is said."""
    receiver, sender = (sockets.bound(family, SOCK_DGRAM) for _ in range(2))
    associate(receiver, iocp, 1)
    associate(sender, iocp, 2)
    succeeded(ioctlsocket(receiver, FIONBIO - (1 << 32), byref(ULONG(1))))
    name, data = sockaddr(family, local(receiver)), b"data\0gram"
    assert sendto(sender, data, len(data), 0, byref(name), sizeof(name)) == len(data)
    assert WAIT_TIMEOUT == look(iocp).error
    room, storage = ctypes.create_string_buffer(64), SOCKADDR_STORAGE()
    size = INT(sizeof(storage))
    assert recvfrom(receiver, room, 64, 0, byref(storage), byref(size)) == len(data)
    assert (room.raw[: len(data)], address_of(storage)) == (data, local(sender))
    assert recvfrom(receiver, room, 64, 0, byref(storage), byref(size)) == SOCKET_ERROR
    assert last_error() == WSAEWOULDBLOCK


def test_a_datagram_that_is_too_long_fails_and_fills_the_buffer(
    sockets: Sockets, iocp: int
) -> None:
    """C12, C15: a failed completion with an OVERLAPPED, and WSAEMSGSIZE in Winsock's language."""
    receiver, sender = (sockets.bound(AF_INET, SOCK_DGRAM) for _ in range(2))
    associate(receiver, iocp)
    buffer, overlapped = bytearray(4), OVERLAPPED()
    wsabuf = WSABUF.over(buffer)
    post_receive(receiver, wsabuf, overlapped)
    name = sockaddr(AF_INET, local(receiver))
    succeeded(connect(sender, byref(name), sizeof(name)))
    send_exactly(sender, b"too long")
    packet = dequeue(iocp)
    expected = (0, ERROR_MORE_DATA, ctypes.addressof(overlapped))
    assert expected == (packet.ok, packet.error, packet.address)
    assert b"too " == bytes(buffer)
    moved, flags = DWORD(), DWORD()
    assert not WSAGetOverlappedResult(receiver, byref(overlapped), byref(moved), 0, byref(flags))
    assert WSAEMSGSIZE == last_error()


def test_a_result_can_be_asked_for_without_a_port(sockets: Sockets) -> None:
    """First it is incomplete, then it is there, by the OVERLAPPED's event."""
    server, client = sockets.pair()
    event = WSACreateEvent()
    assert event is not None
    try:
        buffer, overlapped = bytearray(8), OVERLAPPED(hEvent=event)
        wsabuf, moved, flags = WSABUF.over(buffer), DWORD(), DWORD()
        post_receive(server, wsabuf, overlapped)
        assert not WSAGetOverlappedResult(server, byref(overlapped), byref(moved), 0, byref(flags))
        assert WSA_IO_INCOMPLETE == last_error()
        send_exactly(client, b"event")
        assert WSAGetOverlappedResult(server, byref(overlapped), byref(moved), 1, byref(flags))
        assert b"event" == bytes(buffer[: moved.value])
    finally:
        assert WSACloseEvent(event)


def test_a_completion_routine_runs_in_an_alertable_wait(sockets: Sockets) -> None:
    """It gets error, bytes and the very OVERLAPPED, and only once this thread waits for it."""
    server, client = sockets.pair()
    seen = []

    def done(error: int, count: int, overlapped: LPWSAOVERLAPPED, flags: int) -> None:
        seen.append((error, count, ctypes.addressof(overlapped.contents), flags))

    routine = LPWSAOVERLAPPED_COMPLETION_ROUTINE(done)
    buffer, overlapped, flags = bytearray(8), OVERLAPPED(), DWORD()
    wsabuf = WSABUF.over(buffer)
    pending(WSARecv(server, byref(wsabuf), 1, None, byref(flags), byref(overlapped), routine))
    send_exactly(client, b"apc")
    event = WSACreateEvent()
    assert event is not None
    try:
        events = (WSAEVENT * 1)(event)
        assert [] == seen
        assert WSA_WAIT_IO_COMPLETION == WSAWaitForMultipleEvents(1, events, 0, 10_000, 1)
    finally:
        assert WSACloseEvent(event)
    assert [(0, 3, ctypes.addressof(overlapped), 0)] == seen
    assert b"apc" == bytes(buffer[:3])
