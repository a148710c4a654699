"""Sockets, options, control codes and transfer work as declared, on the loopback interface."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from ctypes import byref, sizeof
from pathlib import Path

import pytest
from win32_helpers import dequeue, look, on_windows
from winsock_helpers import (
    FAMILIES,
    Sockets,
    closing,
    local,
    pending,
    receive,
    receive_exactly,
    remote,
    send,
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


# --- Start, and errors ----------------------------------------------------------------------------


def test_winsock_can_be_started_and_ended_beside_pyiocps_own_start(sockets: Sockets) -> None:
    """After a WSAStartup and its WSACleanup sockets work on: pyiocp's start holds."""
    data = WSADATA()
    assert 0 == WSAStartup(WINSOCK_VERSION, byref(data))
    assert (data.wVersion & 0xFF, data.wVersion >> 8) == (2, 2)
    succeeded(WSACleanup())
    sockets.bound()


def test_a_start_that_fails_returns_its_error() -> None:
    """Version 0 is refused with the code as the result."""
    assert WSAVERNOTSUPPORTED == WSAStartup(0, byref(WSADATA()))


def test_an_error_is_captured_with_the_call(sockets: Sockets) -> None:
    """C26: what the interpreter does after a failed call does not change last_error().

    The file that does not exist leaves error 2 in the thread's slot, which
    WSAGetLastError would now return.
    """
    assert SOCKET_ERROR == listen(sockets.make(), 1)
    with pytest.raises(FileNotFoundError):
        Path("no such file, nowhere").read_bytes()
    ctypes.WinDLL("kernel32").SetLastError(ERROR_FILE_NOT_FOUND)
    assert WSAEINVAL == last_error()


@pytest.mark.parametrize(
    "call",
    [
        closesocket,
        lambda s: listen(s, 1),
        lambda s: shutdown(s, SD_BOTH),
        lambda s: ioctlsocket(s, FIONBIO, byref(ULONG(1))),
        lambda s: setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, byref(BOOL(1)), 4),
        lambda s: getsockname(s, byref(SOCKADDR_STORAGE()), byref(INT(128))),
        lambda s: WSAEventSelect(s, None, 0),
    ],
)
def test_what_is_no_socket_is_said_so(call: object) -> None:
    """WSAENOTSOCK comes from each function that is given an event's handle."""
    event = WSACreateEvent()
    assert event is not None
    try:
        assert call(event) == SOCKET_ERROR  # type: ignore[operator]
        assert WSAENOTSOCK == last_error()
    finally:
        assert WSACloseEvent(event)


# --- A socket's life ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_two_ends_of_a_connection_know_each_other(sockets: Sockets, family: int) -> None:
    """bind, listen, connect, accept: each end's own address is the other's peer."""
    server, client = sockets.pair(family)
    assert local(server) == remote(client)
    assert local(client) == remote(server)


def test_accept_tells_who_it_is(sockets: Sockets) -> None:
    """The address that accept fills in is that of the connecting end."""
    listener, client = sockets.listener(), sockets.make()
    name = sockaddr(AF_INET, local(listener))
    succeeded(connect(client, byref(name), sizeof(name)))
    storage, size = SOCKADDR_STORAGE(), INT(sizeof(SOCKADDR_STORAGE))
    sockets.keep(accept(listener, byref(storage), byref(size)))
    assert sizeof(SOCKADDR_IN) == size.value
    assert local(client) == address_of(storage)


def test_a_port_that_is_taken_cannot_be_bound(sockets: Sockets) -> None:
    """The second bind to the same address fails with WSAEADDRINUSE."""
    name = sockaddr(AF_INET, local(sockets.listener()))
    assert SOCKET_ERROR == bind(sockets.make(), byref(name), sizeof(name))
    assert WSAEADDRINUSE == last_error()


def test_connecting_to_nobody_is_refused(sockets: Sockets) -> None:
    """A port that is bound and not listened on answers with a reset."""
    name = sockaddr(AF_INET, local(sockets.bound()))
    assert SOCKET_ERROR == connect(sockets.make(), byref(name), sizeof(name))
    assert WSAECONNREFUSED == last_error()


def test_a_half_closed_connection_still_brings_data_the_other_way(sockets: Sockets) -> None:
    """After shutdown(SD_SEND) the peer sees the end, and can answer."""
    server, client = sockets.pair()
    send(client, b"question")
    succeeded(shutdown(client, SD_SEND))
    assert b"question" == receive_exactly(server, 8)
    assert b"" == receive(server)
    send(server, b"answer")
    assert b"answer" == receive_exactly(client, 6)


def test_disconnecting_with_winsock_2s_names_is_a_half_close(sockets: Sockets) -> None:
    """WSASendDisconnect ends sending; WSARecvDisconnect ends receiving."""
    server, client = sockets.pair()
    succeeded(WSASendDisconnect(client, None))
    assert b"" == receive(server)
    wsabuf = WSABUF.over(b"x", read_only=True)
    assert SOCKET_ERROR == WSASend(client, byref(wsabuf), 1, byref(DWORD()), 0, None, None)
    assert WSAESHUTDOWN == last_error()
    succeeded(WSARecvDisconnect(client, None))
    assert (
        WSARecv(
            client, byref(WSABUF.over(bytearray(1))), 1, byref(DWORD()), byref(DWORD()), None, None
        )
        == SOCKET_ERROR
    )
    assert WSAESHUTDOWN == last_error()


def test_a_duplicated_socket_outlives_the_original(sockets: Sockets) -> None:
    """The pass made for this very process opens the same connection."""
    server, client = sockets.pair()
    info = WSAPROTOCOL_INFOW()
    succeeded(WSADuplicateSocketW(server, os.getpid(), byref(info)))
    assert (info.iAddressFamily, info.iSocketType) == (AF_INET, SOCK_STREAM)
    any_of_it = FROM_PROTOCOL_INFO
    twin = sockets.keep(
        WSASocketW(any_of_it, any_of_it, any_of_it, byref(info), 0, WSA_FLAG_OVERLAPPED)
    )
    sockets.close(server)
    send(client, b"still there")
    assert b"still there" == receive_exactly(twin, 11)


def test_a_family_that_is_missing_is_said_so(sockets: Sockets) -> None:
    """AF_UNIX gives a socket (Windows 10 1803) or WSAEAFNOSUPPORT, never a crash."""
    socket = WSASocketW(AF_UNIX, SOCK_STREAM, 0, None, 0, WSA_FLAG_OVERLAPPED)
    if socket == INVALID_SOCKET:
        assert last_error() in (WSAEAFNOSUPPORT, WSAEPROTONOSUPPORT, WSAESOCKTNOSUPPORT)
    else:
        sockets.keep(socket)


def test_unix_sockets_connect_by_path(sockets: Sockets, tmp_path: object) -> None:
    """Two AF_UNIX sockets talk, and the listening one knows its path."""
    listener = WSASocketW(AF_UNIX, SOCK_STREAM, 0, None, 0, WSA_FLAG_OVERLAPPED)
    if listener == INVALID_SOCKET:
        pytest.skip(f"AF_UNIX is not there: {error_name(last_error())}")
    sockets.keep(listener)
    name = sockaddr(AF_UNIX, f"{tmp_path}\\s")
    succeeded(bind(listener, byref(name), sizeof(name)))
    succeeded(listen(listener, 1))
    assert f"{tmp_path}\\s" == local(listener)
    client = sockets.make(AF_UNIX)
    succeeded(connect(client, byref(name), sizeof(name)))
    server = sockets.keep(accept(listener, None, None))
    send(client, b"hello")
    assert b"hello" == receive_exactly(server, 5)


# --- Options and control codes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kind", "level", "option", "value"),
    [
        (AF_INET, SOCK_STREAM, SOL_SOCKET, SO_KEEPALIVE, 1),
        (AF_INET, SOCK_STREAM, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1),
        (AF_INET, SOCK_STREAM, SOL_SOCKET, SO_RCVBUF, 32_768),
        (AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY, 1),
        (AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_BROADCAST, 1),
        (AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TTL, 7),
        (AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_PKTINFO, 1),
        (AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_V6ONLY, 1),
        (AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9),
    ],
)
def test_an_option_that_is_set_reads_back(
    sockets: Sockets, family: int, kind: int, level: int, option: int, value: int
) -> None:
    """Each is set to a value that is not its default, and asked for."""
    socket = sockets.make(family, kind)
    succeeded(setsockopt(socket, level, option, byref(DWORD(value)), 4))
    read, size = DWORD(), INT(4)
    succeeded(getsockopt(socket, level, option, byref(read), byref(size)))
    assert value == read.value


def test_an_option_may_be_a_structure_or_bytes(sockets: Sockets) -> None:
    """LINGER goes in as a structure by reference, and as the bytes of one."""
    socket = sockets.make()
    for value in (LINGER(1, 5), LINGER(1, 0)):
        succeeded(setsockopt(socket, SOL_SOCKET, SO_LINGER, byref(value), sizeof(value)))
        read, size = LINGER(), INT(sizeof(LINGER))
        succeeded(getsockopt(socket, SOL_SOCKET, SO_LINGER, byref(read), byref(size)))
        assert bytes(value) == bytes(read)
        succeeded(setsockopt(socket, SOL_SOCKET, SO_LINGER, bytes(value), sizeof(value)))


def test_a_socket_tells_its_provider(sockets: Sockets) -> None:
    """SO_PROTOCOL_INFOW gives family, type, protocol and catalogue entry; they differ by family."""
    entries = set()
    for family in FAMILIES:
        info, size = WSAPROTOCOL_INFOW(), INT(sizeof(WSAPROTOCOL_INFOW))
        socket = sockets.make(family)
        succeeded(getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, byref(info), byref(size)))
        asked = (info.iAddressFamily, info.iSocketType, info.iProtocol)
        assert (family, SOCK_STREAM, IPPROTO_TCP) == asked
        assert info.dwServiceFlags1 & XP1_IFS_HANDLES
        assert isinstance(info.szProtocol, str)
        entries.add(info.dwCatalogEntryId)
    assert 2 == len(entries)


def test_a_multicast_group_can_be_joined_once(sockets: Sockets) -> None:
    """IP_MREQ names group and interface; joining twice is an error, so the first one worked."""
    socket = sockets.make(AF_INET, SOCK_DGRAM)
    name = sockaddr(AF_INET, ("", 0))
    succeeded(bind(socket, byref(name), sizeof(name)))
    group = IP_MREQ(IN_ADDR.of("239.1.2.3"), IN_ADDR.of("127.0.0.1"))
    succeeded(setsockopt(socket, IPPROTO_IP, IP_ADD_MEMBERSHIP, byref(group), sizeof(group)))
    result = setsockopt(socket, IPPROTO_IP, IP_ADD_MEMBERSHIP, byref(group), sizeof(group))
    assert SOCKET_ERROR == result
    succeeded(setsockopt(socket, IPPROTO_IP, IP_DROP_MEMBERSHIP, byref(group), sizeof(group)))


def test_an_unknown_option_is_refused(sockets: Sockets) -> None:
    """WSAENOPROTOOPT, captured with the call."""
    result = setsockopt(sockets.make(), IPPROTO_TCP, 0x7777, byref(DWORD(1)), 4)
    assert SOCKET_ERROR == result
    assert WSAENOPROTOOPT == last_error()


def test_a_non_blocking_socket_would_block(sockets: Sockets) -> None:
    """After FIONBIO an accept with nobody there fails with WSAEWOULDBLOCK."""
    listener = sockets.listener()
    succeeded(ioctlsocket(listener, FIONBIO, byref(ULONG(1))))
    assert INVALID_SOCKET == accept(listener, None, None)
    assert WSAEWOULDBLOCK == last_error()


def test_fionread_counts_what_has_come(sockets: Sockets) -> None:
    """By ioctlsocket, and the same by WSAIoctl."""
    server, client = sockets.pair()
    send(client, b"12345")
    entry = WSAPOLLFD(server, POLLRDNORM)
    assert 1 == WSAPoll(byref(entry), 1, 5000)
    count = ULONG()
    succeeded(ioctlsocket(server, FIONREAD, byref(count)))
    assert 5 == count.value
    asked, done = ULONG(), DWORD()
    succeeded(WSAIoctl(server, FIONREAD, None, 0, byref(asked), 4, byref(done), None, None))
    assert (asked.value, done.value) == (5, 4)


def test_the_base_handle_of_an_ordinary_socket_is_itself(sockets: Sockets) -> None:
    """SIO_BASE_HANDLE gives a SOCKET."""
    socket = sockets.make()
    base, done = SOCKET(), DWORD()
    succeeded(
        WSAIoctl(
            socket, SIO_BASE_HANDLE, None, 0, byref(base), sizeof(base), byref(done), None, None
        )
    )
    assert socket == base.value


def test_values_go_in_through_wsaioctl(sockets: Sockets) -> None:
    """Keep-alive times on a stream socket, and no resets on a datagram socket."""
    done = DWORD()
    for kind, code, value in (
        (SOCK_STREAM, SIO_KEEPALIVE_VALS, tcp_keepalive(1, 10_000, 1_000)),
        (SOCK_DGRAM, SIO_UDP_CONNRESET, BOOL(0)),
    ):
        socket = sockets.make(AF_INET, kind)
        size = sizeof(value)
        succeeded(WSAIoctl(socket, code, byref(value), size, None, 0, byref(done), None, None))


# --- Transfer -------------------------------------------------------------------------------------


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
    send(client, b"data")
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
    send(sender, b"too long")
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
        send(client, b"event")
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
    send(client, b"apc")
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
