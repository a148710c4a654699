"""Timer: a timer of the system on a completion port, once or at regular intervals.

It is a kernel object that is waited for like any other (see `waitable`), so it needs no thread.
It is as exact as the system can be: about 0.5 ms on Windows 10 1803 and later, where the timeout
of a wait for packets (and so ``call_later``) is rounded up to the next tick of the system's
clock, by up to 15.6 ms. `Timer.high_resolution` tells which it is.

A series of ticks keeps to a grid: each is due at the first one's time plus a multiple of the
period, by the performance counter, and the timer is set again for each. So delays do not add up,
and ticks that could not be handled in time are counted, not made up for in a burst.
"""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

from ...engine.completion import Completion
from ...engine.packet import PENDING
from ...errors import HandleClosedError, OperationCancelledError, PortClosedError, error_of_code
from ...winapi import (
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
    ERROR_INVALID_PARAMETER,
    ERROR_OPERATION_ABORTED,
    LARGE_INTEGER,
    TIMER_ALL_ACCESS,
)
from .waitable import Waitable, WaitOperation

if TYPE_CHECKING:
    from ...engine.queue import CompletionQueue

_UNITS_PER_S = 10_000_000
"""The system's timers count in units of 100 ns."""

_SECONDS_MAX = 1e9
"""31 years; the system could take more."""


class TimerCompletion(Completion):
    """A time that has come: a plain value.

    ``late`` is by how many seconds it was dequeued after it was due. ``missed`` is how many
    further ticks of a series have come due by then: they are left out.
    """

    __slots__ = ("late", "missed")

    late: float
    missed: int

    def _details(self) -> list[str]:
        return [f"{self.late * 1000:.1f} ms late", *([f"{self.missed} missed"] * bool(self.missed))]


class TimerOperation(WaitOperation):
    """A time that is waited for, or a series of them: then it posts itself again.

    ``due`` is when it comes next, on the clock ``time.perf_counter``.
    """

    __slots__ = ("_first", "_period", "_seconds", "_stopped", "_ticks", "_timer", "due")

    def __init__(self, timer: Timer, seconds: float, period: float | None) -> None:
        super().__init__(timer, "timer")
        self._timer = timer
        self._seconds = seconds
        self._period = period
        self._first = 0.0
        self._ticks = 0
        self._stopped = False
        self.due = 0.0

    def post(self) -> None:
        """Set the timer, from now on; see `Timer.after` and `Timer.every`.

        Raises RuntimeError while the timer is set.
        """
        self._timer.check_free(self)
        if self.state is PENDING:
            super().post()  # which raises; `due` stays as it is
        self._stopped = False
        self._ticks = 0
        self.due = self._first = self.handle.home.kernel.perf_counter() + self._seconds
        super().post()

    def _start(self) -> int:
        kernel = self.handle.home.kernel
        if self._stopped:
            self._code = ERROR_OPERATION_ABORTED  # by a cancel, between two ticks
            return 0
        seconds = max(0.0, self.due - kernel.perf_counter())
        # Negative: relative, and so unaffected when the clock is set. 0 would be in 1601.
        due = LARGE_INTEGER(-max(1, math.ceil(seconds * _UNITS_PER_S)))
        if not kernel.SetWaitableTimer(self._timer.number, ctypes.byref(due), 0, None, None, False):
            self.function_name = "SetWaitableTimer"
            self._code = kernel.last_error()
            return 0
        return super()._start()

    def cancel_locked(self) -> bool:
        """Stop the timer, and a series of ticks; called with the handle's lock."""
        self._stopped = True
        return super().cancel_locked()

    def finish(self, count: int, status: int) -> TimerCompletion:
        """Tell how late it is, and set the timer for the next tick of a series."""
        super().finish(count, status)
        now = self.handle.home.kernel.perf_counter()
        completion = TimerCompletion(self, self.key, 0, status)
        completion.late = now - self.due
        completion.missed = 0
        if self._period is None or completion.error is not None:
            return completion
        # Before the tick is handed out: the next one is not late because this one takes long.
        completion.missed = max(0, int(completion.late / self._period))
        self._ticks += completion.missed + 1
        self.due = self._first + self._ticks * self._period
        try:
            super().post()
        except (OperationCancelledError, HandleClosedError, PortClosedError, RuntimeError):
            pass  # it was the last tick; a RuntimeError: the timer has just been set again
        except OSError as error:
            failed = TimerCompletion(self, self.key, 0, status, error)
            failed.late, failed.missed = completion.late, completion.missed
            return failed
        return completion


class Timer(Waitable):
    """A timer: set for one time, or for a series of ticks. Made by ``CompletionPort.timer``.

    ``high_resolution`` tells whether the system's is one that does not wait for the clock's
    tick (Windows 10 1803).

    Thread safety: any thread may call any method.
    """

    kind = "timer"
    high_resolution = False

    @classmethod
    def open(cls, home: CompletionQueue, key: Any) -> Timer:
        """Create a timer, of high resolution if the system has them; an `IocpError` if it cannot.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createwaitabletimerexw
        """
        kernel = home.kernel
        exact = True
        flags = CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
        number = kernel.CreateWaitableTimerExW(None, None, flags, TIMER_ALL_ACCESS)
        if number is None and kernel.last_error() == ERROR_INVALID_PARAMETER:
            exact = False
            number = kernel.CreateWaitableTimerExW(None, None, 0, TIMER_ALL_ACCESS)
        if number is None:
            raise error_of_code("CreateWaitableTimerExW", kernel.last_error())
        timer = cls.owning(home, number, key)
        timer.high_resolution = exact
        return timer

    def after(self, seconds: float) -> TimerOperation:
        """Set the timer: the operation completes once, after so many seconds (0 to 1e9).

        Its `TimerCompletion` says how late it is. ``post()`` on it sets the timer again.

        Raises RuntimeError while the timer is set, ValueError for a bad number,
        `HandleClosedError` or `PortClosedError` after a close.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimer
        """
        return self._set(_checked(seconds, 0.0), None)

    def every(self, seconds: float, *, first: float | None = None) -> TimerOperation:
        """Set the timer for a series of ticks, one every so many seconds (0.0001 to 1e9).

        The operation completes with each tick, and has been posted for the next one by then;
        ``cancel()`` ends the series, with a completion that says so unless a tick is ready
        just then. There is one tick ready at most: what comes due meanwhile is counted in its
        ``missed``, and the next one is on the grid again.

        first: after how many seconds the first tick is due, if not after `seconds`.

        Raises RuntimeError while the timer is set, ValueError for a bad number,
        `HandleClosedError` or `PortClosedError` after a close.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimer
        """
        period = _checked(seconds, 0.0001)
        return self._set(period if first is None else _checked(first, 0.0), period)

    def _set(self, seconds: float, period: float | None) -> TimerOperation:
        operation = TimerOperation(self, seconds, period)
        operation.post()
        return operation

    def wait(self) -> WaitOperation:
        """Raise TypeError: a timer is set with `after` or `every`, which wait for it."""
        raise TypeError("a timer is waited for by setting it: after() or every()")

    def check_free(self, operation: WaitOperation) -> None:
        """Raise RuntimeError if the timer is set: it has one time only."""
        others = self.waiting - {operation}
        if others:
            raise RuntimeError(f"{self!r} is set already: cancel {others.pop()!r} first")

    def _cancel_pending(self) -> None:
        super()._cancel_pending()
        self.home.kernel.CancelWaitableTimer(self.number)


def _checked(seconds: float, least: float) -> float:
    if not least <= seconds <= _SECONDS_MAX:
        raise ValueError(f"{least} to {_SECONDS_MAX:g} seconds are possible, not {seconds}")
    return seconds
