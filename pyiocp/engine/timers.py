"""Timers: functions that the port calls at a time, without a thread of their own.

A waiting thread waits no longer than until the next one is due. What is due joins the ready
queue and is dispatched like a completion. (Timers that are kernel objects are a kind of handle.)
"""

from __future__ import annotations

import itertools
import logging
import threading
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("pyiocp")


class Call:
    """A function to call on the port, from the ready queue, like a completion's receiver."""

    __slots__ = ("_arguments", "_function", "state")

    state: Any
    """Set when it is made, as an operation's."""

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments

    def receiver(self, packet: Any, count: int, status: int) -> None:
        """Call the function; what it raises is logged, because nobody waits for it."""
        try:
            self._function(*self._arguments)
        except Exception:
            logger.exception("a function called on the port failed: %r", self)

    def __repr__(self) -> str:
        name = getattr(self._function, "__qualname__", repr(self._function))
        return f"<{type(self).__name__} of {name}>"


class ScheduledCall(Call):
    """A call at a time, which may be cancelled before. ``due`` is on the monotonic clock."""

    __slots__ = ("cancelled", "due")

    def __init__(
        self, due: float, function: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        # Without super().__init__: there are many, and a call costs.
        self._function = function
        self._arguments = arguments
        self.state = None
        self.due = due
        self.cancelled = False

    def cancel(self) -> None:
        """Make sure that the function is not called, unless it is being called already."""
        self.cancelled = True
        # It may be long until it is due: it must not keep a session and its buffers so long.
        self._function = _nothing
        self._arguments = ()

    def receiver(self, packet: Any, count: int, status: int) -> None:
        """Call the function, unless it was cancelled after it had become due."""
        if not self.cancelled:
            super().receiver(packet, count, status)

    def __repr__(self) -> str:
        if self.cancelled:
            return "<ScheduledCall cancelled>"
        return f"{super().__repr__()[:-1]}, due at {self.due:.3f}>"


def _nothing() -> None:
    """What a cancelled timer calls."""


class Timers:
    """The timers of one port, soonest first. Any thread may call any method."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        #: Empty if there is no timer: a look at it spares a call, or two for each wait.
        self.heap: list[tuple[float, int, ScheduledCall]] = []
        self._order = itertools.count()
        #: Reentrant, as the lock of a handle is.
        self._lock = threading.RLock()

    def add(
        self, seconds: float, function: Callable[..., object], arguments: tuple[Any, ...]
    ) -> ScheduledCall:
        """Add a timer that is due `seconds` from now; ValueError if that is negative."""
        if not seconds >= 0:
            raise ValueError(f"a timer needs at least 0 seconds, not {seconds}")
        timer = ScheduledCall(self._monotonic() + seconds, function, arguments)
        with self._lock:
            heappush(self.heap, (timer.due, next(self._order), timer))
        return timer

    def next_due(self) -> float | None:
        """Return when the soonest timer is due, or None if there is none."""
        if not self.heap:
            return None
        with self._lock:
            while self.heap and self.heap[0][2].cancelled:
                heappop(self.heap)
            return self.heap[0][0] if self.heap else None

    def pop_due(self, due: list[tuple[Any, int, int]]) -> None:
        """Move the timers that are due to the end of a list of events, soonest first."""
        if not self.heap:
            return
        now = self._monotonic()
        with self._lock:
            while self.heap and self.heap[0][0] <= now:
                timer = self.heap[0][2]
                if not timer.cancelled:
                    # No call until it is off the heap, too: see `queue`.
                    due += ((timer, 0, 0),)
                heappop(self.heap)
