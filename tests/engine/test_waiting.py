"""Waiting: how long, for whom, and with how many wake-ups."""

from __future__ import annotations

import ctypes
import logging
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal, WakeCounter

from pyiocp import Completion, CompletionPort, IocpError, PeerResetError, PortClosedError
from pyiocp.engine.packet import PostedPacket
from pyiocp.winapi import ERROR_NOT_ENOUGH_MEMORY, WAIT_TIMEOUT
from pyiocp.winapi.errorcodes import ERROR_INTERNAL_ERROR

RESET = struct.pack("HH", 1, 0)
"""A LINGER of 0 seconds: closing sends an RST."""


def test_ready_connection_does_not_starve_twenty_others(port: CompletionPort) -> None:
    """C10: one stream's receives always end on the spot; 20 others answer message by message.

    Shares are counted within one bounded run, until the greedy one has had 200
    completions: the slowest of the others has at least a fifth of that. A port that
    served what is ready first would give them none.
    """
    greedy, feed = socket.socketpair()
    feed.sendall(bytes(1000))
    pairs = [socket.socketpair() for _ in range(20)]
    peers = {n: peer for n, (_, peer) in enumerate(pairs)}
    shares: Counter[Any] = Counter()
    try:
        operations = [port.stream(greedy, key="greedy").receive(bytearray(1))]
        for n, (ours, peer) in enumerate(pairs):
            operations.append(port.stream(ours, key=n).receive(bytearray(1)))
            peer.sendall(b"x")
        while shares["greedy"] < 200:
            for completion in port.wait(5):
                assert (completion.error, completion.bytes) == (None, 1)
                shares[completion.key] += 1
                completion.operation.post()  # type: ignore[union-attr]
                if completion.key != "greedy":
                    peers[completion.key].sendall(b"x")
    finally:
        for peer in (feed, *peers.values()):
            peer.close()
    assert min(shares[n] for n in peers) >= 40


def test_failed_operation_does_not_fail_the_wait(port: CompletionPort) -> None:
    """C15: a reset operation and a good one in the same wait: two completions, no exception."""
    (reset, its_peer), (good, good_peer) = socket.socketpair(), socket.socketpair()
    with good_peer:
        port.stream(reset, key="reset").receive(bytearray(4))
        port.stream(good, key="good").receive(bytearray(4))
        its_peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        its_peer.close()
        good_peer.sendall(b"data")
        seen = {}
        while len(seen) < 2:
            for completion in port.wait(5):
                seen[completion.key] = completion
        assert isinstance(seen["reset"].error, PeerResetError)
        assert (seen["good"].error, bytes(seen["good"].data)) == (None, b"data")


def test_wakes_are_one_at_a_time(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C18: 1,000 wake() and 1,000 call_soon() while a thread waits, from four threads.

    The seam counts the packets from before they are posted until they are dequeued: never
    more than one; and everything is called.
    """
    counter = WakeCounter(kernel)
    port = open_port()
    called: list[int] = []

    def disturb(first: int) -> None:
        for n in range(first, first + 250):
            port.call_soon(called.append, n)
            port._queue.wake()

    threads = [threading.Thread(target=disturb, args=(n * 250,)) for n in range(4)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while len(called) < 1000 and time.monotonic() < until:
        assert port.wait(0.05) == []
    for thread in threads:
        thread.join()
    assert sorted(called) == list(range(1000))
    assert counter.outstanding_max == 1
    assert counter.posted < 2000


def test_wakes_nobody_dequeues_are_one(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C18: nobody waits: of 1,000 wake() one packet is in the kernel, and a wait takes it."""
    counter = WakeCounter(kernel)
    port = open_port()
    for _ in range(1000):
        port._queue.wake()
    assert (counter.posted, counter.outstanding) == (1, 1)
    assert port.wait(0) == []
    assert counter.outstanding == 0
    port._queue.wake()
    assert counter.posted == 2


def test_work_is_done_although_waking_fails(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], caplog: pytest.LogCaptureFixture
) -> None:
    """C19: the packet that should wake the waiting thread is refused, and so is each after it.

    The call is made all the same, within the second that bounds a wait; the log says why
    it was late.
    """
    asleep = threading.Event()
    called = threading.Event()

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        if arguments[4].value:
            asleep.set()
        return real(*arguments)

    refusal = Refusal(ERROR_NOT_ENOUGH_MEMORY, 0)
    kernel.wrap("PostQueuedCompletionStatus", refusal)
    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    port = open_port()
    thread = threading.Thread(target=port.wait, args=(30.0,))
    thread.start()
    assert asleep.wait(10)
    with caplog.at_level(logging.WARNING, logger="pyiocp"):
        port.call_soon(called.set)
        assert called.wait(5)
    assert refusal.refused >= 1
    assert "PostQueuedCompletionStatus failed" in caplog.text
    refusal.enabled = False
    port.post("enough")
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("timeout", [0.0001, 1e-9, 0.0004])
def test_short_timeout_is_rounded_up(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], timeout: float
) -> None:
    """C31: below a millisecond the kernel is asked to wait for 1 ms, once, not for 0 often.

    The clock stands still until the kernel has been asked, so that no machine is too slow
    to see the rounding.
    """
    asked: list[int] = []
    now = kernel.monotonic()
    kernel.monotonic = lambda: now + len(asked)

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        asked.append(arguments[4].value)
        return real(*arguments)

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    port = open_port()
    assert port.wait(timeout) == []
    assert [ms for ms in asked if ms] == [1]
    assert len(asked) <= 2


def test_wait_of_zero_seconds_only_looks(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C31: 0 stays 0."""
    asked: list[int] = []

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        asked.append(arguments[4].value)
        return real(*arguments)

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    assert open_port().wait(0) == []
    assert asked == [0]


def _early(times: int, asked: list[int]) -> Callable[..., int]:
    """Return a wrapper whose first waits end at once, as if their time were over."""

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        milliseconds = arguments[4].value
        if milliseconds and len(asked) < times:
            asked.append(milliseconds)
            ctypes.set_last_error(WAIT_TIMEOUT)
            return 0
        return real(*arguments)

    return dequeue


def test_wait_goes_on_after_an_early_return(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C33: three times the kernel says that the time is over when it is not.

    The wait asks again, for no longer than what is left, and ends when it is over.
    """
    asked: list[int] = []
    kernel.wrap("GetQueuedCompletionStatusEx", _early(3, asked))
    port = open_port()
    begun = time.monotonic()
    assert port.wait(0.2) == []
    assert time.monotonic() - begun >= 0.2 - 1e-6  # which the difference of floats may lose
    assert len(asked) == 3
    assert all(0 < ms <= 201 for ms in asked)  # rounded up
    assert asked == sorted(asked, reverse=True)


def test_completion_after_an_early_return_is_delivered(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C33: an endless wait does not end with nothing either."""
    asked: list[int] = []
    kernel.wrap("GetQueuedCompletionStatusEx", _early(3, asked))
    port = open_port()
    timer = threading.Timer(0.05, port.post, args=("late",))
    timer.start()
    [completion] = port.wait()
    timer.join()
    assert completion.key == "late"
    assert len(asked) == 3


def test_wait_ends_in_time_although_the_port_is_busy(port: CompletionPort) -> None:
    """Calls that never end keep the ready queue full; the wait's time is over all the same."""
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        if calls < 1_000_000:
            port.call_soon(again)

    port.call_soon(again)
    begun = time.monotonic()
    assert port.wait(0.1) == []
    elapsed = time.monotonic() - begun
    assert calls > 1
    calls = 1_000_000
    port.wait(0)
    assert 0.1 <= round(elapsed, 6) < 5


def test_packet_of_foreign_code_comes_with_its_number(port: CompletionPort) -> None:
    """Somebody posts on the raw handle: no operation, and nothing gets lost or confused."""
    from pyiocp.winapi import PostQueuedCompletionStatus

    assert PostQueuedCompletionStatus(port.handle, 5, 77, None)
    [completion] = port.wait(5)
    assert (completion.operation, completion.key, completion.bytes) == (None, 77, 5)


class Stop(BaseException):
    """Like KeyboardInterrupt: nobody catches it."""


class Unfinished(PostedPacket):
    """A packet whose completion cannot be made."""

    __slots__ = ("error",)

    def finish(self, count: int, status: int) -> Completion:
        """Raise the error."""
        raise self.error


@pytest.mark.parametrize("error", [OSError("its own"), ValueError("a mistake"), Stop()])
def test_packet_that_cannot_be_finished_gives_one_completion_with_the_error(
    port: CompletionPort, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """And those of its round before and after it come as ever. What nobody catches is raised."""
    unfinished = Unfinished("bad")
    unfinished.error = error
    port.post("before")
    port._queue.post(unfinished, 7)
    port.post("after")
    while len(port._queue.ready) < 3:
        port._queue.poller().gather(0)
    if isinstance(error, Stop):
        with pytest.raises(Stop):
            port.wait(5)
    with caplog.at_level(logging.CRITICAL, "pyiocp"):
        found = port.wait(5)
        found += port.wait(0)
    assert [completion.key for completion in found] == ["before", "bad", "after"]
    assert (found[0].error, found[2].error) == (None, None)
    bad = found[1]
    assert (bad.operation, bad.bytes) == (unfinished, 7)
    if isinstance(error, OSError):
        assert bad.error is error
        assert bad.outcome == repr(error)
    else:
        assert isinstance(bad.error, IocpError)
        assert bad.error.winerror == ERROR_INTERNAL_ERROR
        assert bad.error.function == "PostQueuedCompletionStatus"
        assert bad.error.__cause__ is error


def test_each_completion_goes_to_one_of_several_waiting_threads(port: CompletionPort) -> None:
    """C38 in ring 2: 400 packets, four threads, each packet once."""
    seen: list[Any] = []
    threads = [threading.Thread(target=_collect, args=(port, seen)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(400):
        port.post(n)
    for _ in threads:
        port.post("stop")
    for thread in threads:
        thread.join(20)
    # A thread may be told to stop before one that dequeued earlier has handed on its packets.
    while completions := port.wait(0):
        seen += [completion.key for completion in completions]
    assert sorted(seen) == list(range(400))


def _collect(port: CompletionPort, seen: list[Any]) -> None:
    while True:
        for completion in port.wait(20, limit=1):
            if completion.key == "stop":
                return
            seen.append(completion.key)


def test_a_timer_that_is_cancelled_when_it_was_due_calls_nothing(port: CompletionPort) -> None:
    """Two are due at once: the first cancels the second, which is in the ready queue by then."""
    called: list[str] = []

    def first() -> None:
        called.append("first")
        second.cancel()

    port.call_later(0, first)
    second = port.call_later(0, called.append, "second")
    third = port.call_later(0, called.append, "third")
    assert port.wait(0.05) == []
    assert (called, third.cancelled) == (["first", "third"], False)


def test_what_cannot_be_called_is_refused_with_words() -> None:
    """A time that is none, and a port that is closed."""
    port = CompletionPort()
    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError, match="at least 0 seconds"):
            port.call_later(seconds, print)
    port.close()
    with pytest.raises(PortClosedError, match="calls nothing any more"):
        port.call_soon(print)
    with pytest.raises(PortClosedError, match="calls nothing any more"):
        port.call_later(1, print)


def test_a_wait_within_a_wait_has_a_round_of_its_own(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """As of a signal handler that waits on the very port that it has interrupted.

    The outer wait has just dequeued a packet, and looks at it after the inner one has ended.
    """
    inner: list[Completion] = []
    dequeued: list[int] = []

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        dequeued.append(result)
        if result and sum(dequeued) == 1:
            port.post("inner")
            inner.extend(port.wait(5))
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    port = open_port()
    port.post("outer")
    found = port.wait(5) + port.wait(0)
    assert [completion.key for completion in inner] == ["inner"]
    assert [completion.key for completion in found] == ["outer"]
