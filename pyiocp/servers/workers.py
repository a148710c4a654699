"""Workers: the threads that serve a port, and how they end together.

They all dequeue from the same port, and the kernel decides how many of them run: the
port's concurrency value, and one more whenever one of them blocks.

What belongs here: starting, stopping and joining them. What they dispatch is not known
here.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from .. import interrupt
from ..errors import PortClosedError

if TYPE_CHECKING:
    from ..completion import Completion
    from ..completion_queue import CompletionQueue


#: How long a hook on another thread may go on after a Ctrl-C that does not wait for it: most
#: are over by then, and the port may run again at once.
_PATIENCE_S = 0.2


class Workers:
    """The workers of one port. Any thread may call any method."""

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self._running = threading.Lock()
        self._stopping = False
        self._failure: BaseException | None = None
        #: The threads besides the one that called `run`, until their last hook.
        self._at_work: list[threading.Thread] = []
        self._left_behind = False

    def run(self, threads: int | None) -> None:
        """Serve with so many threads, this one among them; see `CompletionPort.run`."""
        threads = _default_threads() if threads is None else threads
        if not 1 <= threads <= 1024:
            raise ValueError(f"threads must be between 1 and 1024, not {threads}")
        queue = self._queue
        if queue.closed:
            raise PortClosedError(f"{queue!r} is closed: it cannot run")
        if not self._running.acquire(False):
            raise RuntimeError(f"{queue!r} runs already")
        if self._at_work:
            self._running.release()
            raise RuntimeError(f"{queue!r} runs already: a hook on another thread has not ended")
        if self._left_behind:
            self._left_behind = self._stopping = False
        workers = [
            threading.Thread(target=self._work_aside, name=f"pyiocp worker {n}", daemon=True)
            for n in range(1, threads)
        ]
        # A second Ctrl-C does not wait for a hook on another thread.
        presses = 2
        try:
            for worker in workers:
                self._at_work.append(worker)
                try:
                    worker.start()
                except BaseException:
                    self._at_work.remove(worker)
                    raise
            self._work()
        except KeyboardInterrupt:  # the second one, in a hook on this thread
            presses = 1
            raise
        finally:
            self._stopping = True
            try:
                # Not by Thread.join: interrupted, CPython 3.11's takes the thread for dead.
                patient_until = time.monotonic() + _PATIENCE_S
                while self._at_work:
                    queue.wake()
                    time.sleep(0.001)
                    if time.monotonic() >= patient_until:
                        interrupt.raise_noted(presses)
                for worker in workers:
                    worker.join()
            finally:
                self._left_behind = self._stopping = bool(self._at_work)
                self._running.release()
            failure, self._failure = self._failure, None
        interrupt.raise_noted()
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """Have all of them end, after the hooks under way."""
        self._stopping = True
        self._queue.wake()

    def _work_aside(self) -> None:
        """Serve in a thread of `run`'s; what goes wrong there ends all of them."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001, run() raises it
            self._failure = error
            self.stop()
        finally:
            self._at_work.remove(threading.current_thread())

    def _work(self) -> None:
        """Serve in this thread."""
        queue = self._queue
        main = interrupt.in_main_thread()
        unclaimed: list[Completion] = []
        while not (self._stopping or queue.closing):
            queue.gather(None)
            try:
                queue.dispatch(unclaimed, sys.maxsize)
            finally:  # also when a hook is interrupted
                if unclaimed:
                    queue.keep_for_wait(unclaimed)
                    unclaimed.clear()
            if main and interrupt.noted():
                self._stopping = True
        queue.wake()


def _default_threads() -> int:
    """One, where a lock lets only one run; else one per processor."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return 1
    return os.cpu_count() or 1
