"""Markers: packets that tell when all that had been queued before them has been routed.

The port's queue is first in, first out: when a packet of our own comes back, what was there
before it has been dequeued, but perhaps by another thread, which has yet to look it up. That
has happened when each thread that was asking the kernel then has done so at least once more,
or has stopped. It takes as long as it takes, and no clock is asked.

This settles what the system leaves open: whether a packet will come for an operation that has
ended, or for a wait that was cancelled.

What belongs here: those packets. What is in doubt is known where it is submitted or cancelled.
"""

from __future__ import annotations

import contextlib
import threading
from operator import call
from typing import TYPE_CHECKING

from ..errors import IocpError, PortClosedError
from .operation import COMPLETED, PostedPacket

if TYPE_CHECKING:
    from collections.abc import Callable

    from .batch import Batch
    from .intake import Intake
    from .timers import Timer

#: After how long a marker that the system refused is tried again, and threads are looked at.
_AGAIN_S = 0.005


class Marker(PostedPacket):
    """Stands in the port's queue behind what was there."""

    __slots__ = ()

    internal = True


class Markers:
    """The markers of one port, of which one at most is under way. For any thread.

    A signal handler that raises may end any of this halfway. So what is yet to be done is
    told by what is kept here, never by how far the code has come, and a timer that runs
    meanwhile goes on with it.
    """

    def __init__(self, queue: Intake) -> None:
        self._queue = queue
        #: Reentrant: a signal handler of the user's may cancel something.
        self._lock = threading.RLock()
        #: What to call when the marker under way has passed, and what has come since.
        self._calls: list[Callable[[], object]] = []
        self._next_calls: list[Callable[[], object]] = []
        #: What the first of those calls have returned: so many have been made.
        self._returned: list[object] = []
        self._marker: Marker | None = None
        #: The threads that may still hold what was before the marker, and since which round;
        #: None until it has come back.
        self._rounds: list[tuple[Batch, int]] | None = None
        self._timer: Timer | None = None
        self._looking = False

    def call_when_passed(self, function: Callable[[], object]) -> None:
        """Call `function` when every packet that is queued now has been routed.

        It may be called again if a signal handler raises in it, and only then.
        """
        with self._lock:
            self._next_calls.append(function)
            self._look_later()
            if not self._calls:
                self._send()

    def _send(self) -> None:
        """Send a marker behind all that is queued now, for all the calls there are."""
        self._marker = self._rounds = None  # before there is a call to be made too early
        self._calls += self._next_calls
        self._next_calls = []
        self._marker = marker = Marker(None)
        marker.receiver = self._on_return
        with contextlib.suppress(IocpError):  # the system has no room for it now
            self._queue.post_packet(marker, 0)

    def _on_return(self, marker: Marker, _count: int, _status: int) -> None:
        if marker is self._marker:  # not one that was taken for lost
            self._look()

    def _look(self) -> None:
        """Go on from wherever it stands; again later, until there is nothing left to do."""
        with self._lock:
            if self._looking:
                return  # called by a signal handler that has interrupted it
            self._looking = True
            try:
                self._look_later()  # first of all: the rest may be interrupted
                self._go_on()
            finally:
                self._looking = False

    def _go_on(self) -> None:
        if self._calls and self._has_passed():
            # No bytecode between a call and its being counted.
            self._returned += map(call, self._calls[len(self._returned) :])
            self._calls, self._returned, self._marker = [], [], None
        if self._next_calls and not self._calls:
            self._send()
        if not self._calls and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _has_passed(self) -> bool:
        """Tell whether all threads have gone round since the marker came back; else see to it."""
        queue, marker = self._queue, self._marker
        if marker is None or marker.state is not COMPLETED:
            # Refused, or interrupted before it was queued; or dequeued just now, and then one
            # too many does no harm.
            if marker is None or marker.address not in queue.in_flight:
                self._send()
            return False
        if self._rounds is None:
            self._rounds = [(batch, batch.rounds) for batch in list(queue.polling)]
        self._rounds = [
            (batch, round_)
            for batch, round_ in self._rounds
            if batch in queue.polling and batch.rounds == round_
        ]
        if self._rounds:
            # Mostly they sleep in the kernel, with nothing in hand; but nobody can tell.
            queue.wake()
        return not self._rounds

    def _look_later(self) -> None:
        """Have the timer run, also if the last one's call was interrupted as it began."""
        if self._timer is not None and self._timer.state is not COMPLETED:
            return
        with contextlib.suppress(PortClosedError):
            self._timer = self._queue.call_later(_AGAIN_S, self._look)
