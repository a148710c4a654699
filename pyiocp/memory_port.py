"""MemoryPort: a completion queue that tells what memory is in flight on it, and looks after it.

What belongs here: pools, statistics, traces and debug mode, as a port offers them. What they do
is in `buffer_pool`, `statistics`, `trace` and `debugging`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from .engine.queue import CompletionQueue
from .memory.buffer_pool import BufferPool
from .memory.debugging import BufferWatch
from .recording import recordings
from .statistics import Statistics, Watch, locked_now
from .trace import EVENTS_MAX, Trace

if TYPE_CHECKING:
    from .engine.completion import Completion
    from .engine.port_settings import PortSettings


class MemoryPort(CompletionQueue):
    """A completion queue with pools, statistics and debug mode. Any thread may call any method."""

    def __init__(self, settings: PortSettings) -> None:
        super().__init__(settings)
        self.debug = settings.debug
        self.pools: weakref.WeakSet[BufferPool] = weakref.WeakSet()
        self._buffer_watch = BufferWatch()
        if self.debug:
            self.in_flight.observe(self._buffer_watch)
        for recording in recordings:
            recording.port_made(self)

    def buffer_pool(
        self,
        slice_size: int,
        *,
        slices: int | None = None,
        slices_max: int | None = None,
        locked: bool = False,
        large_pages: bool = False,
    ) -> BufferPool:
        """Return a `BufferPool` that counts among this port's in `statistics`.

        The arguments, the errors and the threads that may use it are those of `BufferPool`.
        The pool belongs to the caller: closing the port does not close it.

        Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc
        """
        pool = BufferPool(
            slice_size,
            slices=slices,
            slices_max=slices_max,
            locked=locked,
            large_pages=large_pages,
            debug=self.debug,
            kernel=self.kernel,
        )
        with self.door:
            self.pools.add(pool)
        return pool

    def statistics(self) -> Statistics:
        """Return what is in flight now, what memory it locks, and how full the pools are.

        Counted when this is called: some microseconds for each operation in flight. Totals
        and peaks are there from `watch` on. Any thread may call it; what other threads do
        meanwhile may be counted or not.
        """
        now, by_kind = locked_now(list(self.in_flight.values()))
        with self.door:
            open_pools = [pool for pool in self.pools if not pool.closed]
        pools = tuple(pool.statistics() for pool in open_pools)
        statistics = Statistics(now, by_kind, pools)
        return statistics if self.watcher is None else self.watcher.add_to(statistics)

    def watch(self) -> None:
        """Count completions, batches and peaks from now on, for `statistics`.

        This follows every operation, which costs each a few microseconds. Calling it twice
        does nothing. Any thread may call it.
        """
        with self.door:
            if self.watcher is None:
                self.watcher = Watch(self.in_flight)

    def trace(self, events_max: int = EVENTS_MAX) -> Trace:
        """Write down what every operation and thread does, from now until the trace's `stop`.

        events_max: how many events to keep, 200 bytes each; beyond that the oldest go.

        This costs each operation some microseconds. One trace at a time shows threads: a
        second one takes them over from the first. Raises ValueError for no room at all. Any
        thread may call it.
        """
        return Trace(self, events_max)

    def close(self, timeout: float = 5.0) -> list[Completion]:
        """Close as `CompletionQueue.close` does; see `CompletionQueue.close`.

        Raises a `BufferRuleError`, in debug mode, if somebody wrote to buffers that were
        the kernel's.
        """
        completions = super().close(timeout)
        self._buffer_watch.raise_violations()  # the first time: closing again does nothing
        return completions
