"""SendQueues: how much waits to be sent on all sessions of a listener, against a limit.

Each session has limits of its own, but ten thousand of them may be below theirs and still take all
the memory there is. When all together are over the limit, the one with the most goes first.
"""

from __future__ import annotations

import threading
from typing import Protocol


class SendQueue(Protocol):
    """What one session has to send, as seen from here."""

    def crowded_out(self, mine: int, all_bytes: int, limit: int) -> None:
        """Abort the session: of all that wait, most wait for its peer. Any lock may be held."""


class SendQueues:
    """The bytes that wait, by session. Any thread may call it, with the lock of that session.

    limit: bytes that may wait on all sessions together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.RLock()  # a signal handler may send, too
        self._bytes_of: dict[SendQueue, int] = {}
        #: Those that are being aborted because of the limit.
        self._crowded_out: set[SendQueue] = set()
        self.bytes = 0
        """How many wait, without those of sessions that are being aborted because of it."""

    def waits(self, queue: SendQueue, count: int) -> None:
        """So many bytes of this session wait now."""
        with self._lock:
            if queue in self._crowded_out:
                return
            self._set(queue, count)
            while self.bytes > self._limit:
                largest = max(self._bytes_of, key=self._bytes_of.__getitem__)
                mine, all_bytes = self._bytes_of[largest], self.bytes
                self._set(largest, 0)
                self._crowded_out.add(largest)
                largest.crowded_out(mine, all_bytes, self._limit)

    def _set(self, queue: SendQueue, count: int) -> None:
        before = self._bytes_of.pop(queue, 0)
        self.bytes += count - before
        if count:
            self._bytes_of[queue] = count

    def leave(self, queue: SendQueue) -> None:
        """The session has ended."""
        with self._lock:
            self._crowded_out.discard(queue)
            self._set(queue, 0)
