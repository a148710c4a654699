"""Sockets, options and control codes work as declared, on the loopback interface."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from ctypes import byref, sizeof
from pathlib import Path

import pytest
from win32_helpers import on_windows
from winsock_helpers import (
    FAMILIES,
    Sockets,
    closing,
    local,
    receive,
    receive_exactly,
    remote,
    send_exactly,
    succeeded,
)

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import address_of, sockaddr

pytestmark = on_windows


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets that are closed when the test ends."""
    with closing() as kept:
        yield kept


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
    send_exactly(client, b"question")
    succeeded(shutdown(client, SD_SEND))
    assert b"question" == receive_exactly(server, 8)
    assert b"" == receive(server)
    send_exactly(server, b"answer")
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
    send_exactly(client, b"still there")
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
    send_exactly(client, b"hello")
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
    send_exactly(client, b"12345")
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
