"""Timers: functions that the port calls at a time, without a thread of their own.

A waiting thread waits no longer than until the next one is due. What is due joins the ready
queue and is dispatched like a completion. (Timers that are kernel objects are a kind of handle.)
"""

from __future__ import annotations

import itertools
import logging
import threading
from heapq import heapify, heappop, heappush
from itertools import compress, repeat
from operator import attrgetter, is_not, itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Wanted = tuple[Callable[..., object], tuple[Any, ...]]
    """A function and its arguments."""

logger = logging.getLogger("pyiocp")

_FAILED = "a function called on the port failed: %r"

_CANCELLED_MAX = 64
"""How many cancelled timers are kept, however few others there are."""


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
            logger.exception(_FAILED, self)

    def __repr__(self) -> str:
        return f"<Call of {_name_of(self._function)}>"


class ScheduledCall:
    """A call at a time, which may be cancelled before. ``due`` is on the monotonic clock."""

    __slots__ = ("_tally", "_wanted", "due", "state")

    state: Any
    """As a `Call` has it."""

    def __init__(self, due: float, wanted: Wanted, tally: Tally) -> None:
        #: None once it is cancelled. Both in one: they are let go of by any thread, at any time.
        self._wanted: Wanted | None = wanted
        self.state = None
        self.due = due
        # Not the timers themselves: they have this, and a ring lives until a collection.
        self._tally = tally

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` has been called."""
        return self._wanted is None

    def cancel(self) -> None:
        """Make sure that the function is not called, unless it is being called already.

        The function and its arguments are let go of at once. Any thread may call it.
        """
        self._wanted = None
        # Without a lock, and whether or not it waits any more: cancelled timers are removed a
        # little earlier if it does not, and a little later where there is no GIL, and another
        # thread has overwritten the count with its own.
        self._tally.cancelled += 1

    def receiver(self, packet: Any, count: int, status: int) -> None:
        """Call the function, unless it was cancelled after it had become due."""
        wanted = self._wanted
        if wanted is not None:
            function, arguments = wanted
            try:
                function(*arguments)
            except Exception:
                logger.exception(_FAILED, self)

    def __repr__(self) -> str:
        wanted = self._wanted
        if wanted is None:
            return "<ScheduledCall cancelled>"
        return f"<ScheduledCall of {_name_of(wanted[0])}, due at {self.due:.3f}>"


def _name_of(function: Callable[..., object]) -> str:
    """Return a function's name, or what else shows it."""
    name: str = getattr(function, "__qualname__", None) or repr(function)
    return name


class Tally:
    """How often a timer has been cancelled since cancelled ones were last removed."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = 0


class Timers:
    """The timers of one port, soonest first. Any thread may call any method.

    A cancelled timer stays in the heap, because removing one means to look for it. Once `cancel`
    has been called half as often as there are timers in the heap, the next thread that looks what
    is due removes all that are cancelled. So each call of `cancel` costs two looks, and the heap
    has room for twice the timers that are not cancelled, and a few more.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        #: Empty if there is no timer: a look at it spares a call, or two for each wait.
        self.heap: list[tuple[float, int, ScheduledCall]] = []
        self._next_order = itertools.count().__next__
        self._tally = Tally()
        #: Reentrant, as the lock of a handle is.
        self._lock = threading.RLock()

    def add(
        self, seconds: float, function: Callable[..., object], arguments: tuple[Any, ...]
    ) -> ScheduledCall:
        """Add a timer that is due `seconds` from now; ValueError if that is negative."""
        if not seconds >= 0:
            raise ValueError(f"a timer needs at least 0 seconds, not {seconds}")
        timer = ScheduledCall(self._monotonic() + seconds, (function, arguments), self._tally)
        with self._lock:
            heappush(self.heap, (timer.due, self._next_order(), timer))
        return timer

    def next_due(self) -> float | None:
        """Return when the soonest timer is due, or None if there is none."""
        heap = self.heap
        if not heap:
            return None
        with self._lock:
            if self._tally.cancelled > _CANCELLED_MAX and self._tally.cancelled > len(heap) // 2:
                self._remove_cancelled()
            while heap and heap[0][2]._wanted is None:
                heappop(heap)
            return heap[0][0] if heap else None

    def pop_due(self, due: list[tuple[Any, int, int]]) -> None:
        """Move the timers that are due to the end of a list of events, soonest first."""
        heap = self.heap
        now = self._monotonic()
        with self._lock:
            if self._tally.cancelled > _CANCELLED_MAX and self._tally.cancelled > len(heap) // 2:
                self._remove_cancelled()
            while heap and heap[0][0] <= now:
                timer = heap[0][2]
                if timer._wanted is not None:
                    # No call until it is off the heap, too: see `queue`.
                    due += ((timer, 0, 0),)
                heappop(heap)

    def clear(self) -> None:
        """Drop all timers: nothing will be called any more."""
        with self._lock:
            self.heap.clear()

    def _remove_cancelled(self) -> None:
        """Remove the timers that have been cancelled; called with the lock."""
        heap = self.heap
        calls = map(itemgetter(2), heap)
        alive = compress(heap, map(is_not, map(attrgetter("_wanted"), calls), repeat(None)))
        self._tally.cancelled = 0
        # The iterators run inside of one instruction, and no call comes before the next: a timer
        # that a signal handler adds in between would be lost, or the heap would be in disorder.
        heap[:] = alive
        heapify(heap)
