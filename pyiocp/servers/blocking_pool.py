"""BlockingPool: threads for functions that would block a worker; results come back on the port.

A thread is started when there is work and no thread is free, up to a limit, and ends with the
port. They are daemons: a function that never returns does not keep the process from ending.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import PortClosedError, closed_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.queue import CompletionQueue

_T = TypeVar("_T")

THREADS_MAX = min(32, (os.cpu_count() or 1) + 4)
"""How many threads a port has for this, at most; the same number as `concurrent.futures`."""


class Work(Future[_T]):
    """The future of a function given to ``CompletionPort.submit``.

    It is a `concurrent.futures.Future`, but the functions given to `add_done_callback` are
    called on the port, like those given to ``call_soon``. Do not wait for ``result()`` in a
    worker: it would serve no session meanwhile. Any thread may
    call any method.
    """

    def __init__(
        self, home: CompletionQueue, function: Callable[..., _T], arguments: tuple[Any, ...]
    ) -> None:
        super().__init__()
        self._home = home
        self._function = function
        self._arguments = arguments

    def add_done_callback(self, fn: Callable[[Future[_T]], object]) -> None:
        """Have the port call `fn` with this when it is done, or cancelled."""
        super().add_done_callback(lambda _: self._call(fn))

    def _call(self, fn: Callable[[Future[_T]], object]) -> None:
        with contextlib.suppress(PortClosedError):  # the function outlived the port
            self._home.call_soon(fn, self)

    def run(self) -> None:
        """Call the function, in this thread, unless it has been cancelled."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            result = self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001, `result` raises it
            self.set_exception(error)
        else:
            self.set_result(result)


class BlockingPool:
    """The threads of one port. Any thread may call any method."""

    def __init__(self, home: CompletionQueue) -> None:
        self._home = home
        self._waiting: deque[Work[Any]] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._free = 0
        #: The threads that are in a function.
        self._at_work: set[int] = set()
        self._closed = False

    def submit(self, function: Callable[..., _T], arguments: tuple[Any, ...]) -> Work[_T]:
        """Have a thread call the function; see `CompletionPort.submit`."""
        if not callable(function):
            raise TypeError(f"a function is needed, not {function!r}")
        work = Work(self._home, function, arguments)
        with self._changed:
            if self._closed:
                raise closed_error(self._home, "it does no work")
            self._waiting.append(work)
            if len(self._waiting) <= self._free:
                self._changed.notify()
            elif len(self._threads) < THREADS_MAX:
                name = f"pyiocp work {len(self._threads) + 1}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads
                    if not self._threads:
                        self._waiting.remove(work)  # no thread would ever do it
                        raise
                else:
                    self._threads.append(thread)
        return work

    def _serve(self) -> None:
        ident = threading.get_ident()
        while True:
            with self._changed:
                self._free += 1
                while not self._waiting and not self._closed:
                    self._changed.wait()
                self._free -= 1
                if not self._waiting:
                    return
                work = self._waiting.popleft()
                self._at_work.add(ident)
            work.run()
            del work  # or its function, and what that refers to, would live until the next one
            with self._changed:
                self._at_work.discard(ident)
            if self._closed:
                self._home.wake()  # close() waits for the last one

    @property
    def busy(self) -> bool:
        """Whether a function is running in another thread than this."""
        return bool(self._at_work - {threading.get_ident()})

    def stop(self) -> None:
        """Take nothing more, cancel what has not begun, and let the threads end."""
        with self._changed:
            self._closed = True
            cancelled = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for work in cancelled:
            if work.cancel():
                work.set_running_or_notify_cancel()

    def join(self) -> None:
        """Wait for the threads that run no function; one that never returns is left alone."""
        for thread in self._threads:
            if thread.ident not in self._at_work:
                thread.join()
