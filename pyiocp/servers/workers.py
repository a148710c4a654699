"""Workers: the threads that serve a port, one run at a time.

They all dequeue from the same port, and the kernel decides how many of them run: the
port's concurrency value, and one more whenever one of them blocks.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from ..engine import interrupt
from ..errors import closed_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.completion import Completion
    from ..engine.queue import CompletionQueue

#: How long to wait for a hook on another thread after a second Ctrl-C: most are over by then, and
#: the port may run again at once.
_PATIENCE_S = 0.2


class Workers:
    """The workers of one port. Any thread may call any method."""

    def __init__(self, home: CompletionQueue) -> None:
        self._home = home
        self._stopping = False
        #: The current run, or one whose hooks still run after a Ctrl-C.
        self._last_run: _Run | None = None
        self._running = False
        self._lock = threading.Lock()

    def run(self, threads: int | None) -> None:
        """Serve with that many threads, including this one; see `CompletionPort.run`."""
        threads = _default_threads() if threads is None else threads
        if not 1 <= threads <= 1024:
            raise ValueError(f"threads must be between 1 and 1024, not {threads}")
        home = self._home
        if home.closed:
            raise closed_error(home, "it cannot run")
        # Before there are threads: until then Python's own Ctrl-C handling is enough.
        home.poller()  # finds out whether this is the main thread
        home.signals.hold()
        run = _Run(home, lambda: self._stopping)
        try:
            with self._lock:
                if self._running:
                    raise RuntimeError(f"{home!r} runs already")
                if self._last_run is not None and self._last_run.serves_elsewhere:
                    raise RuntimeError(
                        f"{home!r} runs already: a hook on another thread has not ended"
                    )
                self._last_run, self._running = run, True
            run.serve(threads)
        finally:
            if self._last_run is run:
                self._running = self._stopping = False

    def stop(self) -> None:
        """End all of them, after the hooks under way."""
        self._stopping = True
        self._home.wake()


class _Run:
    """The threads of one run, including the one that calls `serve`.

    stopped: returns whether all of them are to end.

    A thread joins the run itself, once it has begun. `Thread.start` cannot be relied on: it
    waits for the thread, and a signal handler may raise out of it although the thread has been
    started. So a thread that comes when the run is over ends without serving, and those that
    serve are known, in whatever way the run ended.
    """

    def __init__(self, home: CompletionQueue, stopped: Callable[[], bool]) -> None:
        self._home = home
        self._stopped = stopped
        #: Whether no thread joins any more, and all of them end after the hook under way.
        self._over = False
        #: The other threads that have joined, until their last hook.
        self._others: set[int] = set()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._left = False

    @property
    def serves_elsewhere(self) -> bool:
        """Whether a hook still runs on another thread."""
        return bool(self._others)

    def serve(self, threads: int) -> None:
        """Serve with that many threads, and return when all of them have ended.

        Raises what one of them has raised, and KeyboardInterrupt as ``run`` does.
        """
        others = [
            threading.Thread(target=self._serve_aside, name=f"pyiocp worker {n}", daemon=True)
            for n in range(1, threads)
        ]
        # A second Ctrl-C does not wait for a hook on another thread.
        presses = 2
        try:
            for thread in others:
                thread.start()
            self._serve()
        except KeyboardInterrupt:  # the second one, in a hook on this thread
            presses = 1
            raise
        finally:
            try:
                self._end(presses)
                for thread in others:
                    if thread.is_alive():
                        thread.join()
            finally:
                self._left = True
        interrupt.raise_noted()
        if self._failure is not None:
            raise self._failure

    def _end(self, presses: int) -> None:
        """End all threads, and wait for them, or until that many Ctrl-C."""
        with self._lock:
            self._over = True
        # Not by Thread.join: when interrupted, CPython 3.11's takes the thread for dead.
        patient_until = time.monotonic() + _PATIENCE_S
        while self._others:
            self._home.wake()
            time.sleep(0.001)
            if time.monotonic() >= patient_until:
                interrupt.raise_noted(presses)

    def _serve_aside(self) -> None:
        """Serve in another thread; an error there ends all of them."""
        ident = threading.get_ident()
        try:
            with self._lock:
                if self._over:
                    return
                self._others.add(ident)
            self._serve()
        except BaseException as error:
            self._failure = error
            self._over = True
            if self._left:  # `serve` has returned, and cannot raise it
                raise
        finally:
            self._others.discard(ident)
            self._home.wake()

    def _serve(self) -> None:
        """Serve in this thread."""
        home = self._home
        main = interrupt.in_main_thread()
        unclaimed: list[Completion] = []
        poller = home.poller()
        while not (self._over or self._stopped() or home.closing):
            poller.gather(None)
            try:
                home.dispatch(unclaimed, sys.maxsize)
            finally:  # also when a hook is interrupted
                if unclaimed:
                    home.keep_for_wait(unclaimed)
                    unclaimed.clear()
            if main and interrupt.noted():
                self._over = True
        home.wake()


def _default_threads() -> int:
    """Return 1 with a GIL, where only one can run; otherwise one per processor."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return 1
    return os.cpu_count() or 1
