"""RIO's table: laid out for every system, asked for in words, used where it exists."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, sizeof
from typing import Any

import pytest
from win32_helpers import Handles, dequeue, look, on_windows
from winsock_helpers import LOOPBACK, Sockets, closing, local, succeeded

import pyiocp.winapi.rio.table as implementation
from pyiocp.winapi import *
from pyiocp.winapi.rio import *
from pyiocp.winapi.ws2_32 import sockaddr

FUNCTIONS = [name for name, _ in RIO_EXTENSION_FUNCTION_TABLE._fields_[1:]]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets that are closed when the test ends."""
    with closing() as kept:
        yield kept


def registered(sockets: Sockets) -> int:
    """Return a datagram socket for RIO, bound to the loopback address; skip without RIO."""
    flags = WSA_FLAG_REGISTERED_IO | WSA_FLAG_OVERLAPPED
    socket = sockets.keep(WSASocketW(AF_INET, SOCK_DGRAM, 0, None, 0, flags))
    try:
        rio_functions(socket)
    except FunctionUnavailableError as error:
        pytest.skip(str(error))
    name = sockaddr(AF_INET, LOOPBACK[AF_INET])
    succeeded(bind(socket, byref(name), sizeof(name)))
    return socket


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_the_table_is_typed(name: str) -> None:
    """Its type is the SDK's, has a page, and knows what it takes and gives."""
    kind = dict(RIO_EXTENSION_FUNCTION_TABLE._fields_)[name]
    assert f"LPFN_{name.upper()}" == kind.__name__
    function = getattr(RIO_EXTENSION_FUNCTION_TABLE(), name)
    assert kind.declaration.argtypes == function.argtypes
    assert kind.declaration.restype == function.restype
    page = f"https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_{name.lower()}"
    assert f"Source: {page}\n" in kind.__doc__


def test_the_table_is_a_size_and_thirteen_pointers() -> None:
    """As the structure of the SDK, padding after the size included."""
    assert 13 == len(FUNCTIONS)
    assert 14 * sizeof(ctypes.c_void_p) == sizeof(RIO_EXTENSION_FUNCTION_TABLE)


def test_functions_of_the_table_capture_their_error() -> None:
    """C26: ctypes' flag for it is set on every type, which the tests on Windows rely on."""
    use_last_error = 0x10
    for name in FUNCTIONS:
        assert dict(RIO_EXTENSION_FUNCTION_TABLE._fields_)[name]._flags_ & use_last_error


def test_off_windows_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown on any system, by telling the module that it is not Windows."""
    monkeypatch.setattr(implementation, "WINDOWS", False)
    with pytest.raises(
        FunctionUnavailableError, match="no RIO off Windows: it came with Windows 8"
    ):
        rio_functions(3)


@on_windows
def test_a_provider_without_rio_is_named(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the kind of socket and the first Windows version.

    Shown with a GUID that no provider knows.
    """
    monkeypatch.setattr(implementation, "_TABLES", {})
    unknown = GUID.of("00000000-1111-2222-3333-444444444444")
    monkeypatch.setattr(implementation, "WSAID_MULTIPLE_RIO", unknown)
    words = "no RIO on this AF_INET6 datagram socket: it came with Windows 8"
    with pytest.raises(FunctionUnavailableError, match=words):
        rio_functions(sockets.make(AF_INET6, SOCK_DGRAM))


@on_windows
def test_what_is_no_socket_is_an_os_error(handles: Handles) -> None:
    """With Winsock's code."""
    event = handles.keep(WSACreateEvent())
    with pytest.raises(OSError, match="WSAENOTSOCK") as caught:
        rio_functions(event)
    assert WSAENOTSOCK == caught.value.winerror


@on_windows
def test_the_table_is_kept_per_provider(sockets: Sockets) -> None:
    """C27: two sockets of one kind share it."""
    assert rio_functions(registered(sockets)) is rio_functions(registered(sockets))


@on_windows
def test_a_datagram_goes_through_registered_memory_and_a_port(sockets: Sockets, iocp: int) -> None:
    """Registered, sent, received, told by a packet of the port, and dequeued with its context."""
    receiver, sender = registered(sockets), registered(sockets)
    rio: Any = rio_functions(receiver)
    memory = (ctypes.c_char * 4096)()
    buffer_id = rio.RIORegisterBuffer(ctypes.addressof(memory), sizeof(memory))
    assert buffer_id != RIO_INVALID_BUFFERID, error_name(last_error())
    overlapped = OVERLAPPED()
    notification = RIO_NOTIFICATION_COMPLETION(Type=RIO_IOCP_COMPLETION)
    notification.Iocp.IocpHandle = iocp
    notification.Iocp.CompletionKey = 42
    notification.Iocp.Overlapped = ctypes.addressof(overlapped)
    queue = rio.RIOCreateCompletionQueue(16, byref(notification))
    assert queue, error_name(last_error())
    receiving = rio.RIOCreateRequestQueue(receiver, 4, 1, 4, 1, queue, queue, 1)
    assert receiving, error_name(last_error())
    sending = rio.RIOCreateRequestQueue(sender, 4, 1, 4, 1, queue, queue, 2)
    assert sending, error_name(last_error())
    name = sockaddr(AF_INET, local(receiver))
    succeeded(connect(sender, byref(name), sizeof(name)))

    assert rio.RIOReceive(receiving, byref(RIO_BUF(buffer_id, 0, 1024)), 1, 0, 10)
    memory[2048:2056] = b"datagram"
    assert rio.RIOSend(sending, byref(RIO_BUF(buffer_id, 2048, 8)), 1, 0, 20)
    results, seen = (RIORESULT * 16)(), {}
    while len(seen) < 2:
        assert 0 == rio.RIONotify(queue)
        packet = dequeue(iocp)
        assert (42, ctypes.addressof(overlapped)) == (packet.key, packet.address)
        count = rio.RIODequeueCompletion(queue, results, 16)
        assert count != RIO_CORRUPT_CQ
        for result in results[:count]:
            found = (result.Status, result.BytesTransferred, result.SocketContext)
            seen[result.RequestContext] = found
    assert seen == {10: (0, 8, 1), 20: (0, 8, 2)}
    assert b"datagram" == bytes(memory[:8])
    assert WAIT_TIMEOUT == look(iocp).error
    for socket in (receiver, sender):
        sockets.close(socket)
    rio.RIOCloseCompletionQueue(queue)
    rio.RIODeregisterBuffer(buffer_id)


@on_windows
def test_a_queue_of_no_entries_is_refused(sockets: Sockets) -> None:
    """C26: the table's functions capture their error with the call."""
    rio: Any = rio_functions(registered(sockets))
    assert rio.RIOCreateCompletionQueue(0, None) is None
    ctypes.WinDLL("kernel32").SetLastError(ERROR_FILE_NOT_FOUND)
    assert WSAEINVAL == last_error()
