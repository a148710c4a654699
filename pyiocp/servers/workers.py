"""Workers: the threads that serve a port, one run at a time.

They all dequeue from the same port, and the kernel decides how many of them run: the
port's concurrency value, and one more whenever one of them blocks.

What belongs here: whether there may be a run, and its stop. What happens in one is in `crew`.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from ..errors import PortClosedError
from .crew import Crew

if TYPE_CHECKING:
    from ..engine.queue import CompletionQueue


class Workers:
    """The workers of one port. Any thread may call any method."""

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self._stopping = False
        #: The crew of the run under way, or one that a Ctrl-C has left in its hooks.
        self._crew: Crew | None = None
        self._running = False
        self._lock = threading.Lock()

    def run(self, threads: int | None) -> None:
        """Serve with so many threads, this one among them; see `CompletionPort.run`."""
        threads = _default_threads() if threads is None else threads
        if not 1 <= threads <= 1024:
            raise ValueError(f"threads must be between 1 and 1024, not {threads}")
        queue = self._queue
        if queue.closed:
            raise PortClosedError(f"{queue!r} is closed: it cannot run")
        # Before there are threads: until then Ctrl-C is Python's own, which does not wait.
        queue.hold_signals()
        crew = Crew(queue, lambda: self._stopping)
        try:
            with self._lock:
                if self._running:
                    raise RuntimeError(f"{queue!r} runs already")
                if self._crew is not None and self._crew.serves_elsewhere:
                    raise RuntimeError(
                        f"{queue!r} runs already: a hook on another thread has not ended"
                    )
                self._crew, self._running = crew, True
            crew.serve(threads)
        finally:
            if self._crew is crew:
                self._running = self._stopping = False

    def stop(self) -> None:
        """Have all of them end, after the hooks under way."""
        self._stopping = True
        self._queue.wake()


def _default_threads() -> int:
    """One, where a lock lets only one run; else one per processor."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return 1
    return os.cpu_count() or 1
