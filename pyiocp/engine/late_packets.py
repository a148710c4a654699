"""Late packets: those that carry no OVERLAPPED, and those of which nobody knows if they come.

- A job object sends messages of its own accord. Their key is the one that the job was put
  on the port with, and in the place of the OVERLAPPED they have the number of a process,
  which may equal the address of anybody's OVERLAPPED: so they are told apart by the key,
  before an address is looked up. `Senders` gives such keys out, and knows the receivers.
- The end of a wait for an object. The system does not write to an OVERLAPPED there, it only
  passes on what it was given, and a cancel may leave it open whether a packet is still on its
  way. So `Tags` gives out numbers that are no addresses, because they are odd, and that do
  not come again: a packet that comes late finds nothing, rather than another operation.
- An operation that has ended while the system leaves open whether a packet comes for it.
  `Markers` tell when every packet has been routed that was queued before. The port's queue is
  first in, first out: when a packet of our own comes back, what was there before it has been
  dequeued, but perhaps by another thread, which has yet to look it up. That has happened when
  each thread that was asking the kernel then has done so at least once more, or has stopped.
  It takes as long as it takes, and no clock is asked.
"""

from __future__ import annotations

import contextlib
import threading
from operator import call
from typing import TYPE_CHECKING, Protocol

from ..errors import IocpError, PortClosedError
from .packet import COMPLETED, PostedPacket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .home import Home
    from .timers import ScheduledCall

    Sink = Callable[[int, int], None]
    """Takes what a packet has in the place of an OVERLAPPED, and its number of bytes."""

FIRST_KEY = 0x8000_0000
"""Handles have theirs from 1 upwards; that of the wake-up packet is 0xFFFFFFFF."""


class Senders:
    """What sends packets to one port by itself, by key. Any thread may call any method."""

    def __init__(self) -> None:
        self._sinks: dict[int, Sink] = {}
        self._lock = threading.Lock()
        self.last_key = 0
        """The key given out last, from `FIRST_KEY` on; 0 as long as there is none."""

    def add(self, sink: Sink) -> int:
        """Have `sink` called with each packet of the key that is returned.

        It is called by the thread that has dequeued the packet, and must not raise.
        """
        with self._lock:
            self.last_key = max(self.last_key + 1, FIRST_KEY)
            self._sinks[self.last_key] = sink
            return self.last_key

    def remove(self, key: int) -> None:
        """Drop the packets of this key from now on; there may be some under way."""
        self._sinks.pop(key, None)

    def deliver(self, key: int, word: int, count: int) -> None:
        """Hand a packet to its sink, if there still is one for this key."""
        sink = self._sinks.get(key)
        if sink is not None:
            sink(word, count)


class Tags:
    """Numbers that stand for operations without an OVERLAPPED. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = -1

    def new(self) -> int:
        """Return a number that is no address and has not been returned before."""
        with self._lock:
            self._last += 2
            return self._last

    def is_one(self, number: int) -> bool:
        """Tell whether the number has been returned by `new`."""
        return number & 1 == 1 and number <= self._last


#: After how long a marker that the system refused is tried again, and threads are looked at.
_AGAIN_S = 0.005


class Marker(PostedPacket):
    """Stands in the port's queue behind what was there."""

    __slots__ = ()

    internal = True


class _Asker(Protocol):
    """A thread that asks the kernel."""

    rounds: int
    """How often it has done so."""


class Markers:
    """The markers of one port, of which one at most is under way. For any thread.

    post: queues a packet, or raises an `IocpError`. polling: the threads that are asking now.

    A signal handler that raises may end any of this halfway. So what is yet to be done is
    told by what is kept here, never by how far the code has come, and a timer that runs
    meanwhile goes on with it.
    """

    def __init__(
        self,
        home: Home,
        post: Callable[[PostedPacket, int], None],
        polling: Collection[_Asker],
    ) -> None:
        self._home = home
        self._post = post
        self._polling = polling
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
        self._rounds: list[tuple[_Asker, int]] | None = None
        self._timer: ScheduledCall | None = None
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
            self._post(marker, 0)

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
        home, marker = self._home, self._marker
        if marker is None or marker.state is not COMPLETED:
            # Refused, or interrupted before it was queued; or dequeued just now, and then one
            # too many does no harm.
            if marker is None or marker.address not in home.in_flight:
                self._send()
            return False
        if self._rounds is None:
            self._rounds = [(asker, asker.rounds) for asker in list(self._polling)]
        self._rounds = [
            (asker, round_)
            for asker, round_ in self._rounds
            if asker in self._polling and asker.rounds == round_
        ]
        if self._rounds:
            # Mostly they sleep in the kernel, with nothing in hand; but nobody can tell.
            home.wake()
        return not self._rounds

    def _look_later(self) -> None:
        """Have the timer run, also if the last one's call was interrupted as it began."""
        if self._timer is not None and self._timer.state is not COMPLETED:
            return
        with contextlib.suppress(PortClosedError):
            self._timer = self._home.call_later(_AGAIN_S, self._look)
