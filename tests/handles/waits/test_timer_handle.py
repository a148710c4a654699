"""Timers that are kernel objects: on time, on a grid, one completion for each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from waiting_kernels import WaitingKernel, wait_until_queued

from pyiocp import (
    Completion,
    CompletionPort,
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    ResourceLimitError,
    TimerCompletion,
)
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
    ERROR_INVALID_PARAMETER,
    ERROR_NOT_ENOUGH_MEMORY,
)

EARLY_S = 0.001
"""Windows may signal a timer before its time by the performance counter, by less than this."""

LATE_S = 10.0
"""What a busy machine may add."""


@pytest.fixture
def kernel(waiting_kernel: WaitingKernel) -> WaitingKernel:
    return waiting_kernel


def only(completions: list[Completion]) -> TimerCompletion:
    [completion] = completions
    assert isinstance(completion, TimerCompletion)
    return completion


def test_a_time_comes_once_and_not_before(port: CompletionPort) -> None:
    timer = port.timer(key="timer")
    begun = time.perf_counter()
    operation = timer.after(0.05)
    completion = only(port.wait(60))
    elapsed = time.perf_counter() - begun
    assert (completion.operation, completion.key, completion.error) == (operation, "timer", None)
    assert 0.05 - EARLY_S <= elapsed < 0.05 + LATE_S
    assert -EARLY_S <= completion.late <= elapsed - 0.05 + EARLY_S
    assert completion.missed == 0
    assert port.wait(0.06) == []
    operation.post()
    assert only(port.wait(60)).operation is operation


def test_no_time_at_all_comes_at_once(port: CompletionPort) -> None:
    operation = port.timer().after(0)
    assert only(port.wait(60)).operation is operation


def test_a_timer_says_whether_it_is_exact(kernel: WaitingKernel, port: CompletionPort) -> None:
    """An older Windows refuses the flag: then there is an ordinary timer, which works as well."""
    flags = []

    def create(real: Callable[..., Any], *arguments: Any) -> Any:
        flags.append(arguments[2])
        return refusal(real, *arguments)

    refusal = Refusal(ERROR_INVALID_PARAMETER, None, times=1)
    kernel.wrap("CreateWaitableTimerExW", create)
    timer = port.timer()
    assert flags == [CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, 0]
    assert timer.high_resolution is False
    timer.after(0.001)
    assert only(port.wait(60)).error is None
    kernel.wrap("CreateWaitableTimerExW", Refusal(ERROR_NOT_ENOUGH_MEMORY, None, times=1))
    with pytest.raises(ResourceLimitError, match="CreateWaitableTimerExW"):
        port.timer()


def test_a_timer_that_cannot_be_set_raises(kernel: WaitingKernel, port: CompletionPort) -> None:
    """C14: nothing is in flight, and the timer can be set afterwards."""
    timer = port.timer()
    kernel.wrap("SetWaitableTimer", Refusal(ERROR_INVALID_PARAMETER, 0, times=1))
    with pytest.raises(IocpError, match="SetWaitableTimer failed"):
        timer.after(0)
    assert port.in_flight_by_kind() == {}
    operation = timer.after(0)
    assert only(port.wait(60)).operation is operation


def test_a_timer_has_one_time_only(port: CompletionPort) -> None:
    """Setting it a second time is refused, and does not move the first."""
    timer = port.timer()
    operation = timer.after(0.05)
    due = operation.due
    for attempt in (lambda: timer.after(1), lambda: timer.every(1), operation.post):
        with pytest.raises(RuntimeError, match=r"already|still pending"):
            attempt()
    with pytest.raises(TypeError, match="after"):
        timer.wait()
    assert operation.due == due
    assert only(port.wait(60)).operation is operation


@pytest.mark.parametrize("seconds", [-0.001, float("nan"), float("inf"), 2e9])
def test_an_impossible_time_is_refused(port: CompletionPort, seconds: float) -> None:
    timer = port.timer()
    for attempt in (timer.after, timer.every, lambda first: timer.every(1, first=first)):
        with pytest.raises(ValueError, match="seconds are possible"):
            attempt(seconds)
    with pytest.raises(ValueError, match="seconds are possible"):
        timer.every(0)
    assert port.in_flight_by_kind() == {}


# --- Series ---------------------------------------------------------------------------------------


def test_ticks_keep_to_a_grid_and_are_counted(port: CompletionPort) -> None:
    """40 ticks of 5 ms, with a break of 60 ms: each is due at a multiple of the period.

    What was missed is counted, not made up for; with it the count is that of the periods
    that have passed. Nothing drifts: the last is as exactly on the grid as the first.
    """
    timer = port.timer(key="tick")
    begun = time.perf_counter()
    operation = timer.every(0.005)
    first = operation.due
    assert begun + 0.005 <= first < begun + 0.005 + LATE_S
    passed, dues = 0, []
    for n in range(40):
        due = operation.due
        tick = only(port.wait(10, limit=1))
        assert (tick.operation, tick.key, tick.error) == (operation, "tick", None)
        dues.append(due)
        assert due == pytest.approx(first + passed * 0.005, abs=1e-9)
        assert tick.late >= -EARLY_S
        assert tick.missed == max(0, int(tick.late / 0.005))
        passed += 1 + tick.missed
        if n == 20:
            time.sleep(0.06)  # a long hook
    assert passed >= 40 + 11
    assert operation.due == pytest.approx(first + passed * 0.005, abs=1e-9)
    assert operation.due >= time.perf_counter() - LATE_S
    assert operation.cancel() is True
    assert isinstance(only(port.wait(60)).error, OperationCancelledError)
    assert port.wait(0.02) == []


def test_lateness_is_told_and_missed_ticks_are_left_out(kernel: WaitingKernel) -> None:
    """By a clock that the test sets: 0.35 s late for a tick of 0.1 s, three are missed."""
    now = [1000.0]
    kernel.perf_counter = lambda: now[0]
    with CompletionPort(kernel=kernel) as port:
        operation = port.timer().every(0.1, first=0)
        assert operation.due == 1000.0
        wait_until_queued(port)
        now[0] = 1000.35
        tick = only(port.wait(60))
        assert (tick.late, tick.missed) == (pytest.approx(0.35), 3)
        assert operation.due == pytest.approx(1000.4)
        now[0] = 1000.41
        tick = only(port.wait(60))
        assert (tick.late, tick.missed) == (pytest.approx(0.01), 0)
        assert operation.due == pytest.approx(1000.5)


def test_a_tick_that_comes_too_early_is_not_given_twice(kernel: WaitingKernel) -> None:
    """Signalled 0.4 ms before its time by the counter: the next one is a period later."""
    now = [1000.0]
    kernel.perf_counter = lambda: now[0]
    with CompletionPort(kernel=kernel) as port:
        operation = port.timer().every(0.01)
        now[0] = 1000.0096
        tick = only(port.wait(60))
        assert (tick.late, tick.missed) == (pytest.approx(-0.0004), 0)
        assert operation.due == pytest.approx(1000.02)


def test_there_is_one_tick_ready_at_most(port: CompletionPort) -> None:
    """After ten periods without a look there is one completion, which counts the others."""
    port.timer().every(0.005)
    time.sleep(0.05)  # ten periods
    completions = port.wait(60)
    assert len(completions) == 1
    assert only(completions).missed >= 8


def test_a_series_begins_when_it_is_told_to(port: CompletionPort) -> None:
    begun = time.perf_counter()
    operation = port.timer().every(3600, first=0.02)
    tick = only(port.wait(60))
    assert time.perf_counter() - begun < 0.02 + LATE_S
    assert tick.error is None
    assert operation.due == pytest.approx(begun + 0.02 + 3600, abs=LATE_S)


def test_a_cancelled_series_may_begin_again(port: CompletionPort) -> None:
    """Its grid then begins anew."""
    operation = port.timer().every(3600)
    assert operation.cancel() is True
    assert isinstance(only(port.wait(60)).error, OperationCancelledError)
    due = operation.due
    time.sleep(0.02)  # so that the new grid is another one
    operation.post()
    assert operation.due > due
    assert operation.cancel() is True
    assert isinstance(only(port.wait(60)).error, OperationCancelledError)


def test_a_cancel_that_loses_against_a_tick_ends_the_series(port: CompletionPort) -> None:
    """C06: the tick's packet is queued, then comes cancel(): that tick, and no other."""
    operation = port.timer().every(0.01)
    wait_until_queued(port)
    operation.cancel()
    assert only(port.wait(60)).error is None
    assert port.wait(0.05) == []
    assert port.in_flight_by_kind() == {}


def test_closing_a_timer_or_its_port_ends_a_series(kernel: WaitingKernel) -> None:
    with CompletionPort(kernel=kernel) as port:
        timer = port.timer()
        operation = timer.every(3600)
        timer.close()
        completion = only(port.wait(60))
        assert completion.operation is operation
        assert isinstance(completion.error, OperationCancelledError)
        with pytest.raises(HandleClosedError):
            operation.post()
        port.timer().every(0.001)
        wait_until_queued(port)
        unclaimed = port.close()
    assert [completion.error for completion in unclaimed] == [None]


def test_a_series_that_cannot_go_on_says_why(kernel: WaitingKernel, port: CompletionPort) -> None:
    """The tick itself has come; that there will be no other is its error."""
    timer = port.timer()
    timer.every(0.001)
    wait_until_queued(port)
    refusal = Refusal(ERROR_NOT_ENOUGH_MEMORY, 0, times=1)
    kernel.wrap("SetWaitableTimer", refusal)
    tick = only(port.wait(60))
    assert isinstance(tick.error, ResourceLimitError)
    assert tick.late >= -EARLY_S
    assert port.in_flight_by_kind() == {}
    timer.after(0)
    assert only(port.wait(60)).error is None


def rounds_of_every_end(port: CompletionPort, rounds: int) -> None:
    for _ in range(rounds):
        timer = port.timer()
        timer.after(0)
        assert only(port.wait(60)).error is None
        series = timer.every(3600, first=0)
        assert only(port.wait(60)).error is None
        series.cancel()
        assert isinstance(only(port.wait(60)).error, OperationCancelledError)
        timer.close()


def test_timers_leave_no_handle(port: CompletionPort) -> None:
    rounds_of_every_end(port, 20)
    before = handle_count()
    rounds_of_every_end(port, 200)
    assert handle_count() <= before


@pytest.mark.soak
def test_soak_ten_thousand_timers_leave_no_handle(port: CompletionPort) -> None:
    rounds_of_every_end(port, 20)
    before = handle_count()
    rounds_of_every_end(port, 10_000)
    assert handle_count() <= before


@pytest.mark.soak
def test_soak_a_series_of_a_minute_does_not_drift() -> None:
    """6,000 ticks of 10 ms: as many, with those missed, as there are periods in the time."""
    with CompletionPort(kernel=FaultyKernel()) as port:
        begun = time.perf_counter()
        operation = port.timer().every(0.01)
        first, passed, late = operation.due, 0, []
        while passed < 6_000:
            tick = only(port.wait(10, limit=1))
            late.append(tick.late)
            passed += 1 + tick.missed
        assert operation.due == pytest.approx(first + passed * 0.01, abs=1e-6)
        assert time.perf_counter() - begun == pytest.approx(passed * 0.01, abs=0.5)
        late.sort()
        assert late[len(late) // 2] < 0.01
