"""C37: too many pages are locked. Sessions make do with less, wait, and live.

The refusals are made by the kernel that the port is given: Wine has no quota, and Windows a
large one. All other calls reach the system.
"""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, entries_of
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, ResourceLimitError, Session, SessionState
from pyiocp.memory.pages import PAGE_SIZE
from pyiocp.winapi import errorcodes as codes

LOCAL = ("127.0.0.1", 0)

REFUSED = [codes.WSAENOBUFS, codes.ERROR_WORKING_SET_QUOTA, codes.ERROR_NOT_ENOUGH_QUOTA]


class Quota:
    """Refuses receives, or sends, by their size, while it is full."""

    def __init__(self, kernel: FaultyKernel, name: str, least: int = 1) -> None:
        self.full = threading.Event()
        self.code = REFUSED[0]
        self.refused: list[int] = []
        self.admitted: list[int] = []
        self._least = least
        kernel.wrap(name, self._call)

    def _call(self, real: Callable[..., int], number: Any, buffers: Any, *rest: Any) -> int:
        array = getattr(buffers, "_obj", buffers)
        size = sum(array[n].len for n in range(rest[0].value))
        if self.full.is_set() and size >= self._least:
            self.refused.append(size)
            ctypes.set_last_error(self.code)
            return -1
        self.admitted.append(size)
        return real(number, buffers, *rest)


@pytest.fixture
def scarce_port(kernel: FaultyKernel) -> Iterator[CompletionPort]:
    """A port of `kernel`; it must be empty when it is closed."""
    with CompletionPort(kernel=kernel) as port:
        yield port
    assert port.in_flight == {}


@pytest.mark.parametrize("code", REFUSED)
def test_session_waits_without_a_buffer_while_buffers_are_refused(
    kernel: FaultyKernel, scarce_port: CompletionPort, code: int, no_errors_logged: None
) -> None:
    """C37: a zero-byte receive is posted in its place; bytes come when there is room again."""
    quota = Quota(kernel, "WSARecv")
    quota.code = code
    sessions = Made(Journal)
    listener = scarce_port.listen(LOCAL, sessions)
    with served(scarce_port):
        with connect(listener) as peer:
            peer.sendall(b"one")
            assert eventually(lambda: bool(sessions))
            [session] = sessions
            assert session.wait_received(3) == b"one"
            quota.full.set()
            quota.admitted.clear()
            peer.sendall(b"two")
            assert session.wait_received(6) == b"onetwo"  # into the receive that was pending
            assert eventually(lambda: 0 in quota.admitted)
            assert quota.refused == [Session.receive_size]
            peer.sendall(b"three")
            assert eventually(lambda: len(quota.refused) > 1)
            assert session.received == b"onetwo"
            quota.full.clear()
            assert session.wait_received(11) == b"onetwothree"
            peer.sendall(b"four")
            assert session.wait_received(15) == b"onetwothreefour"
        assert session.closed.wait(10)
    assert session.hooks[-2:] == ["eof", "close"]
    assert session.error is None


def test_session_tries_again_when_nothing_at_all_is_admitted(
    kernel: FaultyKernel, scarce_port: CompletionPort
) -> None:
    """C37: not even receives of zero bytes; it goes on when they are."""
    quota = Quota(kernel, "WSARecv", least=0)
    sessions = Made(Journal)
    listener = scarce_port.listen(LOCAL, sessions)
    with served(scarce_port):
        assert eventually(lambda: bool(scarce_port._queue.waiting))
        quota.full.set()
        with connect(listener) as peer:
            peer.sendall(b"hello")
            assert eventually(lambda: len(quota.refused) > 4)
            assert quota.refused[:2] == [Session.receive_size, 0]
            assert sessions[0].hooks == ["connect"]
            quota.full.clear()
            assert sessions[0].wait_received(5) == b"hello"
        assert sessions[0].closed.wait(10)
    assert sessions[0].hooks == ["connect", "receive", "eof", "close"]


def test_receive_that_fails_for_want_of_memory_is_posted_again(kernel: FaultyKernel) -> None:
    """C37: it was pending, and ends in STATUS_INSUFFICIENT_RESOURCES: nothing had come by it."""
    sessions = Made(Journal)
    statuses: list[int] = []

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        for entry in entries_of(arguments) if result else []:
            if entry.Internal & 0xFFFFFFFF == codes.STATUS_CANCELLED and not statuses:
                statuses.append(codes.STATUS_CANCELLED)
                entry.Internal = codes.STATUS_INSUFFICIENT_RESOURCES
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, sessions)
        with served(port):
            with connect(listener) as peer:
                assert eventually(lambda: port.in_flight_by_kind().get("receive") == 1)
                in_flight = list(port.in_flight.values())
                [receive] = [p for p in in_flight if p.kind == "receive" and not p.internal]
                assert receive.cancel()  # type: ignore[attr-defined]
                assert eventually(lambda: bool(statuses))
                peer.sendall(b"hello")
                assert sessions[0].wait_received(5) == b"hello"
            assert sessions[0].closed.wait(10)
    assert sessions[0].error is None


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_refused_to_be_sent_is_sent_later(
    kernel: FaultyKernel, scarce_port: CompletionPort, code: int, no_errors_logged: None
) -> None:
    """C37: messages that waited come once each and in order; close() waits for them too."""
    quota = Quota(kernel, "WSASend")
    quota.code = code
    sessions = Made(Journal)
    listener = scarce_port.listen(LOCAL, sessions)
    with served(scarce_port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        quota.full.set()
        for n in range(50):
            assert session.send(b"%04d" % n)
        session.close()
        assert eventually(lambda: min(quota.refused) == 4 and len(quota.refused) > 52)
        assert session.send_queue_bytes == 200
        assert session.state is SessionState.CLOSING
        quota.full.clear()
        assert receive_all(peer) == b"".join(b"%04d" % n for n in range(50))
        peer.close()
        assert session.closed.wait(10)
    assert session.error is None


def test_large_message_goes_in_pieces_where_only_pages_are_admitted(
    kernel: FaultyKernel, scarce_port: CompletionPort
) -> None:
    """C37: sends of more than a page are refused for good: 100,000 bytes come all the same."""
    quota = Quota(kernel, "WSASend", least=PAGE_SIZE + 1)
    quota.full.set()
    data = bytes(range(250)) * 400

    class Sender(Journal):
        def on_connect(self) -> None:
            self.send(data)
            self.close()

    sessions = Made(Sender)
    listener = scarce_port.listen(LOCAL, sessions)
    with served(scarce_port):
        with connect(listener) as peer:
            assert receive_all(peer) == data
        assert sessions[0].closed.wait(10)
    assert sessions[0].error is None
    assert sum(quota.admitted) == len(data)
    assert max(quota.admitted) == PAGE_SIZE


def test_writable_comes_after_refusals(kernel: FaultyKernel, scarce_port: CompletionPort) -> None:
    """C37: over the high-water mark for want of memory; on_writable once there was some."""
    quota = Quota(kernel, "WSASend")

    class Careful(Journal):
        high_water = 10
        low_water = 5

    sessions = Made(Careful)
    listener = scarce_port.listen(LOCAL, sessions)
    with served(scarce_port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        quota.full.set()
        assert sessions[0].send(b"twelve bytes") is False
        assert eventually(lambda: len(quota.refused) > 2)
        assert "writable" not in sessions[0].hooks
        quota.full.clear()
        assert receive_all(peer, 12) == b"twelve bytes"
        assert eventually(lambda: "writable" in sessions[0].hooks)
        assert sessions[0].hooks.count("writable") == 1


def test_session_that_waits_for_memory_can_be_aborted(
    kernel: FaultyKernel, scarce_port: CompletionPort
) -> None:
    """C37: with nothing in flight, on_close comes once, and no attempt after it."""
    receives = Quota(kernel, "WSARecv", least=0)
    sends = Quota(kernel, "WSASend")
    sessions = Made(Journal)
    listener = scarce_port.listen(LOCAL, sessions)
    with served(scarce_port):
        assert eventually(lambda: bool(scarce_port._queue.waiting))
        receives.full.set()
        sends.full.set()
        with connect(listener):
            assert eventually(lambda: bool(sessions) and len(receives.refused) > 2)
            sessions[0].send(b"never sent")
            assert eventually(lambda: len(sends.refused) > 2)
            sessions[0].abort()
            assert sessions[0].closed.wait(10)
        assert eventually(lambda: not scarce_port.sessions)
        attempts = len(receives.refused), len(sends.refused)
        done = threading.Event()
        scarce_port.call_later(0.1, done.set)
        assert done.wait(10)
        assert (len(receives.refused), len(sends.refused)) == attempts
    assert sessions[0].hooks == ["connect", "close"]


def test_operation_that_is_refused_may_be_posted_after_a_completion(
    kernel: FaultyKernel, scarce_port: CompletionPort
) -> None:
    """C37 in ring 2: `ResourceLimitError`, nothing started; the same operation works later."""
    quota = Quota(kernel, "WSARecv")
    ours, peer = socket.socketpair()
    with peer:
        stream = scarce_port.stream(ours)
        operation = stream.receive_operation(bytearray(10))
        quota.full.set()
        with pytest.raises(ResourceLimitError):
            operation.post()
        assert scarce_port.in_flight_by_kind() == {}
        stream.receive()
        peer.sendall(b"hello")
        assert len(scarce_port.wait(5)) == 1
        quota.full.clear()
        operation.post()
        [completion] = scarce_port.wait(5)
        assert bytes(completion.data) == b"hello"


def test_wait_does_without_the_receive_that_hears_of_signals(
    kernel: FaultyKernel, scarce_port: CompletionPort
) -> None:
    """C37: it is refused when the main thread first waits; packets come all the same."""
    quota = Quota(kernel, "WSARecv", least=0)
    quota.full.set()
    for n in range(3):
        scarce_port.post(n)
        [completion] = scarce_port.wait(5)
        assert completion.key == n
    assert len(quota.refused) == 3
    quota.full.clear()
    assert scarce_port.wait(0) == []
    assert quota.admitted == [64]
