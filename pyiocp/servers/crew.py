"""Crew: the threads that serve a port in one run, and how they end together.

A thread joins its crew itself, when it has begun. What `Thread.start` says is not relied on:
it waits for the thread, and what a signal handler raises meanwhile leaves it although the
thread has been started. So one that comes when the crew has parted goes home without having
served; and those that serve are known, however the crew came to its end.

What belongs here: starting, ending and waiting for them. What they dispatch is not known here.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from ..engine import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.completion import Completion
    from ..engine.queue import CompletionQueue

#: How long a hook on another thread may go on after a Ctrl-C that does not wait for it: most
#: are over by then, and the port may run again at once.
_PATIENCE_S = 0.2


class Crew:
    """The threads of one `Workers.run`, that which calls `serve` among them.

    stopped: tells whether somebody wants all of them to end.
    """

    def __init__(self, queue: CompletionQueue, stopped: Callable[[], bool]) -> None:
        self._queue = queue
        self._stopped = stopped
        #: Whether nobody joins any more, and everybody ends after the hook under way.
        self._parted = False
        #: The other threads that have joined, until their last hook.
        self._others: set[int] = set()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._left = False

    @property
    def serves_elsewhere(self) -> bool:
        """Whether a hook on another thread has yet to end."""
        return bool(self._others)

    def serve(self, threads: int) -> None:
        """Serve with so many threads, and return when all of them have ended.

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
                self._part(presses)
                for thread in others:
                    if thread.is_alive():
                        thread.join()
            finally:
                self._left = True
        interrupt.raise_noted()
        if self._failure is not None:
            raise self._failure

    def _part(self, presses: int) -> None:
        """Have everybody end, and wait until they have, or until so many Ctrl-C."""
        with self._lock:
            self._parted = True
        # Not by Thread.join: interrupted, CPython 3.11's takes the thread for dead.
        patient_until = time.monotonic() + _PATIENCE_S
        while self._others:
            self._queue.wake()
            time.sleep(0.001)
            if time.monotonic() >= patient_until:
                interrupt.raise_noted(presses)

    def _serve_aside(self) -> None:
        """Serve in a thread of its own; what goes wrong there ends all of them."""
        ident = threading.get_ident()
        try:
            with self._lock:
                if self._parted:
                    return
                self._others.add(ident)
            self._serve()
        except BaseException as error:
            self._failure = error
            self._parted = True
            if self._left:  # nobody is there to raise it
                raise
        finally:
            self._others.discard(ident)
            self._queue.wake()

    def _serve(self) -> None:
        """Serve in this thread."""
        queue = self._queue
        main = interrupt.in_main_thread()
        unclaimed: list[Completion] = []
        while not (self._parted or self._stopped() or queue.closing):
            queue.gather(None)
            try:
                queue.dispatch(unclaimed, sys.maxsize)
            finally:  # also when a hook is interrupted
                if unclaimed:
                    queue.keep_for_wait(unclaimed)
                    unclaimed.clear()
            if main and interrupt.noted():
                self._parted = True
        queue.wake()
