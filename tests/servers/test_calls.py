"""Calls on the port: soon, later, in order, and never lost without a word."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, WakeCounter
from journal import eventually, served

from pyiocp import CompletionPort, PortClosedError
from pyiocp.engine import poller

LOCAL = ("127.0.0.1", 0)


def test_calls_come_in_order_with_their_arguments(port: CompletionPort) -> None:
    called: list[Any] = []
    for n in range(100):
        port.call_soon(called.append, n)
    assert called == []
    assert port.wait(0) == []
    assert called == list(range(100))


def test_call_from_a_call_comes_in_a_later_round(port: CompletionPort) -> None:
    """C10: what a call asks for comes after what was ready before."""
    called: list[str] = []

    def first() -> None:
        called.append("first")
        port.call_soon(called.append, "third")

    port.call_soon(first)
    port.call_soon(called.append, "second")
    assert eventually(lambda: port.wait(0) == [] and len(called) == 3)
    assert called == ["first", "second", "third"]


def test_later_calls_come_in_the_order_of_their_times(port: CompletionPort) -> None:
    """Asked for in another order; and none comes before its time."""
    called: list[tuple[str, float]] = []
    begun = port.kernel.monotonic()

    def note(name: str) -> None:
        called.append((name, port.kernel.monotonic() - begun))

    port.call_later(0.09, note, "c")
    port.call_later(0.03, note, "a")
    port.call_later(0.06, note, "b")
    port.call_later(0, note, "now")
    while len(called) < 4:
        assert port.wait(0.2) == []
        assert port.kernel.monotonic() - begun < 10
    assert [name for name, _ in called] == ["now", "a", "b", "c"]
    for (_, at), least in zip(called, (0, 0.03, 0.06, 0.09), strict=True):
        assert at >= least - 1e-9  # the clock's last digit


def test_timers_do_not_queue_behind_what_is_ready(port: CompletionPort) -> None:
    """A thousand calls are ready, a timer becomes due during the first: it is soon called."""
    called: list[str] = []
    due = port.kernel.monotonic() + 0.05
    port.call_later(0.05, called.append, "timer")

    def first() -> None:
        while port.kernel.monotonic() < due:
            pass

    port.call_soon(first)
    for _ in range(1000):
        port.call_soon(called.append, "call")
    assert eventually(lambda: port.wait(0) == [] and len(called) == 1001)
    assert called.index("timer") < 64


def test_equal_times_keep_the_order_of_asking(port: CompletionPort) -> None:
    kernel_now = port.kernel.monotonic()
    port._queue.timers._monotonic = lambda: kernel_now
    called: list[int] = []
    for n in range(10):
        port.call_later(0, called.append, n)
    port.wait(0)
    assert called == list(range(10))


def test_cancelled_timer_is_not_called_and_keeps_nothing(port: CompletionPort) -> None:
    """Its function and arguments are free at once, long before it would have been due."""

    class Argument:
        pass

    argument = Argument()
    called: list[Any] = []
    timer = port.call_later(3600, called.append, argument)
    gone = weakref.ref(argument)
    del argument
    timer.cancel()
    timer.cancel()
    gc.collect()
    assert gone() is None
    soon = port.call_later(0, called.append, "soon")
    soon.cancel()
    port.wait(0.01)
    assert called == []


def live_of(port: CompletionPort) -> int:
    """Return how many timers there are that have not been cancelled."""
    return sum(not timer.cancelled for _, _, timer in port._queue.timers.heap)


def test_cancelled_timers_are_removed_though_one_in_front_is_not(port: CompletionPort) -> None:
    """C72: long before they would have been due; what is due next, and in which order, stays."""
    called: list[Any] = []
    port.call_later(1800, called.append, "in front")
    for _ in range(3):
        timers = [port.call_later(3600, called.append, n) for n in range(20_000)]
        for timer in timers[10:]:
            timer.cancel()
        port.wait(0)
        assert len(port._queue.timers.heap) < 200
    assert live_of(port) == 31
    now = port.kernel.monotonic()
    port._queue.timers._monotonic = lambda: now + 3601
    assert eventually(lambda: port.wait(0) == [] and len(called) == 31)
    assert called == ["in front", *[*range(10)] * 3]


def test_timers_take_room_for_twice_those_that_live(port: CompletionPort) -> None:
    """C72: a thousand live, and thirty thousand are set and cancelled, a hundred a round."""
    for n in range(1000):
        port.call_later(1000 + n, print)
    rng = random.Random(72)
    most = 0
    for _ in range(300):
        for timer in [port.call_later(rng.uniform(500, 3000), print) for _ in range(100)]:
            timer.cancel()
        port.wait(0)
        most = max(most, len(port._queue.timers.heap))
    assert live_of(port) == 1000
    assert most <= 2 * 1000


def test_cancelled_timers_leave_after_a_peak(port: CompletionPort) -> None:
    """C72: ten thousand are set, a hundred are cancelled, and the others become due.

    Of another four thousand that are cancelled then, no more than a few stay.
    """
    called: list[int] = []
    port.call_later(1800, print)
    peak = [port.call_later(10 + n / 10_000, called.append, n) for n in range(10_000)]
    for timer in peak[:100]:
        timer.cancel()
    port.wait(0)
    now = port.kernel.monotonic()
    port._queue.timers._monotonic = lambda: now + 20
    assert eventually(lambda: port.wait(0) == [] and len(called) == 9_900)
    for _ in range(40):
        for timer in [port.call_later(3600, called.append, n) for n in range(100)]:
            timer.cancel()
        port.wait(0)
        assert len(port._queue.timers.heap) <= 200
    assert len(called) == 9_900


def test_timers_are_cancelled_by_threads_while_others_become_due(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """C72: two threads set timers and cancel most of them, some as they are called by two workers.

    Each is called once with its own arguments, or not at all if it was cancelled; none that was
    kept is missing, and those that were cancelled leave nothing.
    """
    called: list[int] = []
    kept: list[int] = []
    port.call_later(3600, print)

    def take(n: int, same: int) -> None:
        assert n == same
        called.append(n)

    def set_and_cancel(first: int) -> None:
        for n in range(first, first + 20_000, 2):
            if n % 20 == first % 20:
                port.call_later(0, take, n, n)
                kept.append(n)
            elif n % 4 == first % 4:
                port.call_later(0, take, n, n).cancel()
            else:
                port.call_later(3600, take, n, n).cancel()

    with served(port, threads=2):
        threads = [threading.Thread(target=set_and_cancel, args=(first,)) for first in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert eventually(lambda: set(kept) <= set(called), 30)
        assert eventually(lambda: len(port._queue.timers.heap) < 500, 30)
    assert len(called) == len(set(called))
    assert caplog.records == []


def test_closed_port_lets_go_of_its_timers() -> None:
    """They would never be called, and what they would have called has sessions."""

    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    port = CompletionPort()
    port.call_later(3600, print, argument)
    del argument
    assert gone() is not None
    port.close()
    assert gone() is None


def test_timer_cancelled_by_an_earlier_call_of_its_round(port: CompletionPort) -> None:
    """Both are due; the first cancels the second, which is in the ready queue already."""
    called: list[str] = []
    timers: list[Any] = []
    port.call_later(0, lambda: timers[0].cancel())
    timers.append(port.call_later(0, called.append, "cancelled"))
    port.call_later(0, called.append, "kept")
    assert eventually(lambda: port.wait(0) == [] and bool(called))
    assert called == ["kept"]


def test_exceptions_are_logged_and_the_rest_is_called(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Soon and later alike: with the traceback and the function's name."""
    called: list[str] = []

    def broken() -> None:
        raise ZeroDivisionError

    port.call_soon(broken)
    port.call_later(0, broken)
    port.call_soon(called.append, "after")
    assert eventually(lambda: port.wait(0) == [] and len(caplog.records) == 2)
    assert called == ["after"]
    for record in caplog.records:
        assert "broken" in record.getMessage()
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
    caplog.clear()


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_impossible_time_is_refused(port: CompletionPort, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        port.call_later(seconds, print)


def test_sooner_timer_from_another_thread_ends_the_wait_in_time(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker sleeps for a minute at least; the new one is called all the same."""
    monkeypatch.setattr(poller, "_WAIT_MAX_MS", 60_000)
    port.call_later(3600, print)
    called = threading.Event()
    with served(port):
        assert eventually(lambda: bool(port._queue.waiting))
        begun = time.monotonic()
        port.call_later(0.05, called.set)
        assert called.wait(DEADLINE_S)
        assert time.monotonic() - begun >= 0.04


def test_closed_port_takes_no_calls() -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError):
        port.call_soon(print)
    with pytest.raises(PortClosedError):
        port.call_later(1, print)


def test_call_asked_for_before_the_close_is_made() -> None:
    """close() drains: also what was to be called."""
    called: list[str] = []
    port = CompletionPort()
    port.call_soon(called.append, "made")
    port.close()
    assert called == ["made"]


def test_calls_into_busy_workers_wake_nobody_in_vain() -> None:
    """C18: 1,000 calls from the workers themselves: at most one wake-up at a time."""
    kernel = FaultyKernel()
    counter = WakeCounter(kernel)
    called: list[int] = []
    with CompletionPort(kernel=kernel) as port:

        def again(n: int) -> None:
            called.append(n)
            if n < 1000:
                port.call_soon(again, n + 1)

        port.call_soon(again, 1)
        with served(port, threads=2):
            assert eventually(lambda: len(called) == 1000, 30)
    assert called == list(range(1, 1001))
    assert counter.outstanding_max == 1
