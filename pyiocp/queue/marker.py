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
from typing import TYPE_CHECKING

from ..errors import IocpError, PortClosedError
from ..operation import PostedPacket

if TYPE_CHECKING:
    from collections.abc import Callable

    from .batch import Batch
    from .completion_queue import CompletionQueue

#: After how long a marker that the system refused is tried again, and threads are looked at.
_AGAIN_S = 0.005


class Marker(PostedPacket):
    """Stands in the port's queue behind what was there."""

    __slots__ = ()

    internal = True


class Markers:
    """The markers of one port, of which one at most is under way. For any thread."""

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        #: Reentrant: a signal handler of the user's may cancel something.
        self._lock = threading.RLock()
        #: What to call when the marker under way has passed, and what has come since.
        self._calls: list[Callable[[], object]] = []
        self._next_calls: list[Callable[[], object]] = []
        #: The threads that may still hold what was before the marker, and since which round.
        self._rounds: list[tuple[Batch, int]] = []

    def call_when_passed(self, function: Callable[[], object]) -> None:
        """Call `function` when every packet that is queued now has been routed."""
        with self._lock:
            self._next_calls.append(function)
            self._send()

    def _send(self) -> None:
        with self._lock:
            if self._calls or not self._next_calls:
                return
            marker = Marker(None)
            marker.receiver = self._on_return
            try:
                self._queue.post_packet(marker, 0)
            except IocpError:  # the system has no room for it now
                self._later(self._send)
            else:
                self._calls, self._next_calls = self._next_calls, []

    def _on_return(self, _marker: Marker, _count: int, _status: int) -> None:
        self._rounds = [(batch, batch.rounds) for batch in list(self._queue.polling)]
        self._look()

    def _look(self) -> None:
        """Call what waits, if all threads have gone round; else wake them, and look later."""
        queue = self._queue
        self._rounds = [
            (batch, round_)
            for batch, round_ in self._rounds
            if batch in queue.polling and batch.rounds == round_
        ]
        if self._rounds:
            # Mostly they sleep in the kernel, with nothing in hand; but nobody can tell.
            queue.wake()
            self._later(self._look)
            return
        with self._lock:
            calls, self._calls = self._calls, []
            self._send()
        for call in calls:
            call()

    def _later(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(PortClosedError):
            self._queue.call_later(_AGAIN_S, function)
