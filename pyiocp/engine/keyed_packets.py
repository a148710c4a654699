"""Packets that carry no OVERLAPPED, and how they find their way all the same.

There are two kinds:

- A job object sends messages of its own accord. Their key is the one that the job was put
  on the port with, and in the place of the OVERLAPPED they have the number of a process,
  which may equal the address of anybody's OVERLAPPED: so they are told apart by the key,
  before an address is looked up. `Senders` gives such keys out, and knows the receivers.
- The end of a wait for an object. The system does not write to an OVERLAPPED there, it only
  passes on what it was given, and a cancel may leave it open whether a packet is still on its
  way. So `Tags` gives out numbers that are no addresses, because they are odd, and that do
  not come again: a packet that comes late finds nothing, rather than another operation.

What belongs here: those numbers. What the packets mean is not known here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
