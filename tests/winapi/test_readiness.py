"""The other ways of waiting work as declared: events, select, WSAPoll, notifications; and names."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Iterator
from ctypes import byref, sizeof
from typing import Any

import pytest
from win32_helpers import dequeue, on_windows
from winsock_helpers import (
    Sockets,
    closing,
    local,
    receive,
    receive_exactly,
    send_exactly,
    succeeded,
)

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import sockaddr


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets that are closed when the test ends."""
    with closing() as kept:
        yield kept


@pytest.fixture
def event() -> Iterator[int]:
    """An event of Winsock's."""
    created = WSACreateEvent()
    assert created is not None, error_name(last_error())
    yield created
    assert WSACloseEvent(created)


def wait(*events: int, timeout_ms: int = 10_000, everything: bool = False) -> int:
    """Wait for events."""
    array = (WSAEVENT * len(events))(*events)
    return WSAWaitForMultipleEvents(len(events), array, everything, timeout_ms, False)


def happened(socket: int, event: int) -> tuple[int, Any]:
    """Return the network events of a socket since the last call, and their errors."""
    events = WSANETWORKEVENTS()
    succeeded(WSAEnumNetworkEvents(socket, event, byref(events)))
    return events.lNetworkEvents, events.iErrorCode


# --- Events ---------------------------------------------------------------------------------------


@on_windows
def test_an_event_stays_signalled_until_it_is_reset(event: int) -> None:
    """Set, it answers every wait; reset, none."""
    assert WSA_WAIT_TIMEOUT == wait(event, timeout_ms=0)
    assert WSASetEvent(event)
    assert [wait(event), wait(event)] == [WSA_WAIT_EVENT_0] * 2
    assert WSAResetEvent(event)
    assert WSA_WAIT_TIMEOUT == wait(event, timeout_ms=0)


@on_windows
def test_a_wait_tells_which_event_it_was(event: int) -> None:
    """The index of the signalled one; waiting for all goes on while one is missing."""
    other = WSACreateEvent()
    assert other is not None
    assert WSASetEvent(other)
    assert WSA_WAIT_EVENT_0 + 1 == wait(event, other)
    assert WSA_WAIT_TIMEOUT == wait(event, other, timeout_ms=0, everything=True)
    assert WSACloseEvent(other)


@on_windows
def test_no_more_than_64_events_can_be_waited_for(event: int) -> None:
    """The model's limit: 64 are taken, 65 are refused."""
    many = [event] * (WSA_MAXIMUM_WAIT_EVENTS + 1)
    assert WSA_WAIT_FAILED == wait(*many, timeout_ms=0)
    assert WSA_INVALID_PARAMETER == last_error()


@on_windows
def test_network_events_signal_the_event_and_tell_what_happened(
    sockets: Sockets, event: int
) -> None:
    """A connection, data, and the end, each with its bit and without an error."""
    listener, client = sockets.listener(), sockets.make()
    succeeded(WSAEventSelect(listener, event, FD_ACCEPT | FD_CLOSE))
    name = sockaddr(AF_INET, local(listener))
    succeeded(connect(client, byref(name), sizeof(name)))
    assert WSA_WAIT_EVENT_0 == wait(event)
    bits, errors = happened(listener, event)
    assert (bits, errors[FD_ACCEPT_BIT]) == (FD_ACCEPT, 0)
    server = sockets.keep(accept(listener, None, None))
    succeeded(WSAEventSelect(listener, None, 0))
    succeeded(WSAEventSelect(server, event, FD_READ | FD_CLOSE))
    send_exactly(client, b"data")
    assert WSA_WAIT_EVENT_0 == wait(event)
    bits, errors = happened(server, event)
    assert (bits, errors[FD_READ_BIT]) == (FD_READ, 0)
    assert b"data" == receive_exactly(server, 4)
    sockets.close(client)
    assert WSA_WAIT_EVENT_0 == wait(event)
    bits, errors = happened(server, event)
    assert (bits, errors[FD_CLOSE_BIT]) == (FD_CLOSE, 0)


@on_windows
def test_an_event_that_is_none_is_refused() -> None:
    """FALSE, and WSA_INVALID_HANDLE captured with the call."""
    for call in (WSASetEvent, WSAResetEvent, WSACloseEvent):
        assert not call(0)
        assert WSA_INVALID_HANDLE == last_error()


# --- WSAPoll and select ---------------------------------------------------------------------------


@on_windows
def test_wsapoll_tells_what_each_socket_is_ready_for(sockets: Sockets) -> None:
    """Of two connections one has data, both can be written to, and a skipped entry is left."""
    server, client = sockets.pair()
    quiet, _ = sockets.pair()
    send_exactly(client, b"x")
    assert 1 == WSAPoll(byref(WSAPOLLFD(server, POLLRDNORM)), 1, 10_000)
    entries = (WSAPOLLFD * 3)(
        (server, POLLRDNORM | POLLWRNORM),
        (quiet, POLLRDNORM | POLLWRNORM),
        (INVALID_SOCKET, POLLIN),
    )
    assert 2 == WSAPoll(entries, 3, 10_000)
    found = [entry.revents & (POLLRDNORM | POLLWRNORM) for entry in entries[:2]]
    assert found == [POLLRDNORM | POLLWRNORM, POLLWRNORM]


@on_windows
def test_wsapoll_reports_a_peer_that_has_gone(sockets: Sockets) -> None:
    """POLLHUP is reported without being asked for."""
    server, client = sockets.pair()
    sockets.close(client)
    entry = WSAPOLLFD(server, POLLRDNORM)
    assert 1 == WSAPoll(byref(entry), 1, 10_000)
    assert entry.revents & POLLHUP


@on_windows
def test_wsapoll_returns_0_when_the_time_is_up(sockets: Sockets) -> None:
    """Nothing to read, nothing reported."""
    server, _ = sockets.pair()
    entry = WSAPOLLFD(server, POLLRDNORM)
    assert 0 == WSAPoll(byref(entry), 1, 0)
    assert 0 == entry.revents


@on_windows
def test_select_leaves_those_that_are_ready(sockets: Sockets) -> None:
    """Two sockets go in, the one with data stays; both could be written to."""
    server, client = sockets.pair()
    quiet, _ = sockets.pair()
    send_exactly(client, b"x")
    reading, writing = FD_SET.of(server, quiet), FD_SET.of(server, quiet)
    only = FD_SET.of(server)
    assert 1 == select(0, byref(only), None, None, byref(TIMEVAL.of(10)))
    assert 3 == select(0, byref(reading), byref(writing), None, byref(TIMEVAL.of(10)))
    assert ([server], {server, quiet}) == (list(reading), set(writing))


@on_windows
def test_select_takes_more_than_64_sockets(sockets: Sockets) -> None:
    """A set with room for 100 datagram sockets, all of which can be written to."""
    many = [sockets.bound(AF_INET, SOCK_DGRAM) for _ in range(100)]
    writing = FD_SET.of(*many)
    assert 100 == select(0, None, byref(writing), None, byref(TIMEVAL.of(10)))
    assert many == sorted(writing, key=many.index)


@on_windows
def test_select_returns_0_when_the_time_is_up(sockets: Sockets) -> None:
    """And empties the set."""
    server, _ = sockets.pair()
    reading = FD_SET.of(server)
    assert 0 == select(0, byref(reading), None, None, byref(TIMEVAL(0, 0)))
    assert [] == list(reading)


@on_windows
def test_select_of_nothing_is_an_error() -> None:
    """WSAEINVAL, captured with the call."""
    assert SOCKET_ERROR == select(0, None, None, None, byref(TIMEVAL(0, 0)))
    assert WSAEINVAL == last_error()


def test_an_fd_set_is_a_set() -> None:
    """Twice the same is once, one can be taken out, and order is kept, as C's macros do it."""
    fds = FD_SET.of(3, 5, 3, 7)
    assert (list(fds), len(fds), fds.capacity) == ([3, 5, 7], 3, 64)
    fds.discard(5)
    fds.discard(5)
    assert (list(fds), 7 in fds, 5 in fds) == ([3, 7], True, False)
    fds.clear()
    assert (list(fds), len(fds), bool(fds)) == ([], 0, True)


def test_an_fd_set_lies_in_memory_as_in_c() -> None:
    """A count, and the sockets behind it at the pointers' alignment, also beyond the 64th."""
    fds = FD_SET.of(*range(1, 101))
    count = ctypes.c_uint32.from_buffer(fds).value
    sockets = (ctypes.c_size_t * 100).from_buffer(fds, sizeof(ctypes.c_size_t))
    assert (100, list(range(1, 101))) == (count, list(sockets))
    assert sizeof(FD_SET) == sizeof(ctypes.c_size_t) * 65


def test_a_full_fd_set_says_so() -> None:
    """C's macro would drop the 65th socket in silence."""
    fds = FD_SET.of(*range(64))
    with pytest.raises(OverflowError, match="room for 64"):
        fds.add(64)
    fds.add(0)
    assert 64 == len(fds)
    fds.discard(63)
    fds.add(64)
    with pytest.raises(OverflowError, match="room for 64, not for 65"):
        fds.replace(range(65))
    assert [*range(63), 64] == list(fds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, (0, 0)), (1.5, (1, 500_000)), (1e-9, (0, 1)), (2147483647, (2147483647, 0))],
)
def test_a_duration_is_rounded_up(seconds: float, expected: tuple[int, int]) -> None:
    """C31: less than a microsecond is one, so that a loop does not spin."""
    timeval = TIMEVAL.of(seconds)
    assert expected == (timeval.tv_sec, timeval.tv_usec)


@pytest.mark.parametrize("seconds", [-1, -1e-6, 2147483648])
def test_a_duration_that_does_not_fit_is_refused(seconds: float) -> None:
    """Negative, or too long for the structure."""
    with pytest.raises(ValueError, match="is not from 0"):
        TIMEVAL.of(seconds)


# --- Notifications on a port ----------------------------------------------------------------------


@on_windows
def test_readiness_comes_as_a_packet(sockets: Sockets, iocp: int) -> None:
    """Where the function exists: data makes a packet with the key and the event's bits."""
    if not available("ProcessSocketNotifications"):
        with pytest.raises(FunctionUnavailableError, match="Windows 11 and Windows Server 2022"):
            ProcessSocketNotifications(iocp, 0, None, 0, 0, None, None)
        pytest.skip("this Windows has no ProcessSocketNotifications; its error was tested")
    server, client = sockets.pair()
    registration = SOCK_NOTIFY_REGISTRATION(
        socket=server,
        completionKey=42,
        eventFilter=SOCK_NOTIFY_REGISTER_EVENT_IN,
        operation=SOCK_NOTIFY_OP_ENABLE,
        triggerFlags=SOCK_NOTIFY_TRIGGER_ONESHOT | SOCK_NOTIFY_TRIGGER_LEVEL,
    )
    assert 0 == ProcessSocketNotifications(iocp, 1, byref(registration), 0, 0, None, None)
    assert 0 == registration.registrationResult
    send_exactly(client, b"data")
    packet = dequeue(iocp)
    assert (packet.key, packet.bytes) == (42, SOCK_NOTIFY_EVENT_IN)
    assert b"data" == receive(server)
    registration.operation = SOCK_NOTIFY_OP_REMOVE
    assert 0 == ProcessSocketNotifications(iocp, 1, byref(registration), 0, 0, None, None)
    packet = dequeue(iocp)
    assert (packet.key, packet.bytes) == (42, SOCK_NOTIFY_EVENT_REMOVE)


# --- Names ----------------------------------------------------------------------------------------


def resolve(
    result: Any,
    host: str | None = "127.0.0.1",
    overlapped: Any = None,
    routine: Any = None,
    handle: Any = None,
) -> int:
    """Call GetAddrInfoExW for stream addresses of port 80."""
    hints = ADDRINFOEXW(ai_family=AF_INET, ai_socktype=SOCK_STREAM)
    return GetAddrInfoExW(
        host, "80", NS_DNS, None, byref(hints), result, None, overlapped, routine, handle
    )


def test_a_chain_of_results_is_walked_to_its_end() -> None:
    """Shown on a chain made by hand: of three entries each comes once, in order."""
    names = [sockaddr(AF_INET, ("10.0.0.1", port)) for port in (1, 2, 3)]
    entries = [ADDRINFOEXW(ai_addr=LPSOCKADDR(name)) for name in names]
    for entry, following in itertools.pairwise(entries):
        entry.ai_next = ctypes.pointer(following)
    addresses = [entry.address for entry in entries[0].entries()]
    assert [("10.0.0.1", port) for port in (1, 2, 3)] == addresses


@on_windows
def test_a_name_is_resolved_to_addresses() -> None:
    """Each entry of the chain has its address as a Python tuple."""
    result = PADDRINFOEXW()
    assert 0 == resolve(byref(result))
    addresses = [entry.address for entry in result.contents.entries()]
    FreeAddrInfoExW(result)
    assert addresses == [("127.0.0.1", 80)]


@on_windows
def test_a_name_is_resolved_while_one_waits_for_an_event(event: int) -> None:
    """The OVERLAPPED's event is signalled, and its result is 0."""
    result, overlapped = PADDRINFOEXW(), OVERLAPPED(hEvent=event)
    error = resolve(byref(result), overlapped=byref(overlapped))
    assert error in (0, WSA_IO_PENDING), error_name(error)
    assert WSA_WAIT_EVENT_0 == wait(event)
    assert 0 == GetAddrInfoExOverlappedResult(byref(overlapped))
    addresses = [entry.address for entry in result.contents.entries()]
    FreeAddrInfoExW(result)
    assert addresses == [("127.0.0.1", 80)]


@on_windows
def test_a_name_is_resolved_and_a_routine_called() -> None:
    """From a thread of Winsock's, with the OVERLAPPED of the call."""
    called, seen = threading.Event(), []

    def done(error: int, count: int, overlapped: Any) -> None:
        seen.append((error, ctypes.addressof(overlapped.contents)))
        called.set()

    routine = LPLOOKUPSERVICE_COMPLETION_ROUTINE(done)
    result, overlapped = PADDRINFOEXW(), OVERLAPPED()
    error = resolve(byref(result), overlapped=byref(overlapped), routine=routine)
    assert error in (0, WSA_IO_PENDING), error_name(error)
    if error == WSA_IO_PENDING:
        assert called.wait(30)
        assert [(0, ctypes.addressof(overlapped))] == seen
    FreeAddrInfoExW(result)


@on_windows
def test_what_has_ended_cannot_be_cancelled() -> None:
    """GetAddrInfoExCancel returns the error itself."""
    assert WSA_INVALID_HANDLE == GetAddrInfoExCancel(byref(HANDLE()))


@on_windows
def test_a_text_that_is_no_address_is_not_found() -> None:
    """With AI_NUMERICHOST nobody is asked, and the error is the result."""
    hints, result = ADDRINFOEXW(ai_flags=AI_NUMERICHOST), PADDRINFOEXW()
    error = GetAddrInfoExW(
        "no number", None, NS_DNS, None, byref(hints), byref(result), None, None, None, None
    )
    assert WSAHOST_NOT_FOUND == error
    assert not result
