"""Transfer: operations that belong together, and a caller who waits for them on the port.

The caller serves the port meanwhile, as any thread does that waits on it: hooks are called,
and completions that are others' are kept for ``wait``. Other threads may serve it at the
same time; one of them may then be the one that takes the transfer's completions.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from ...engine import interrupt
from ...errors import PortClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.completion import Completion
    from ...engine.operation import Operation
    from ...engine.queue import CompletionQueue

#: A wake-up packet may reach another thread than the one that it was meant for.
_LOOK_AGAIN_S = 0.05


class Transfer:
    """Operations of one caller on a port.

    ``error`` is the first that went wrong: the others are cancelled then, and nothing more
    is posted.

    Thread safety: one thread waits; completions may come on any.
    """

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self.error: Exception | None = None
        self._over = False
        self._in_flight: set[Operation] = set()
        #: Held while a completion is taken. Reentrant: what takes it posts the next operation.
        self.lock = threading.RLock()
        self._waiter = 0

    @property
    def in_flight(self) -> int:
        """How many operations have not completed yet."""
        return len(self._in_flight)

    def post(self, operation: Operation, then: Callable[[Completion], None]) -> None:
        """Post an operation; `then` takes its completion, if that is no error.

        It is called by one thread at a time. What it raises ends the transfer.
        """
        operation.receiver = partial(self._receive, then)
        with self.lock:
            self._in_flight.add(operation)
            try:
                operation.post()
            except BaseException:
                self._in_flight.discard(operation)
                raise

    def wait(self, done: Callable[[], bool]) -> None:
        """Serve the port until `done()`, or until something goes wrong, which is raised.

        Raises KeyboardInterrupt on Ctrl-C, `PortClosedError` if the port is closed
        meanwhile, and what a completion or its taker has failed with.
        """
        self._serve(lambda: done() or self.error is not None)
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Call off what is in flight, and wait until the kernel has given it back."""
        self._call_off()
        with contextlib.suppress(PortClosedError):  # which has given it back, or kept it
            self._serve(lambda: not self._in_flight)

    def _serve(self, done: Callable[[], bool]) -> None:
        queue = self._queue
        poller = queue.poller()
        self._waiter = threading.get_ident()
        interrupt.raise_noted()
        while not self._is(done):
            if queue.closed:
                raise PortClosedError(f"{queue!r} was closed during the transfer")
            others: list[Completion] = []
            poller.gather(queue.kernel.monotonic() + _LOOK_AGAIN_S)
            try:
                queue.dispatch(others, sys.maxsize)
            finally:
                if others:
                    queue.keep_for_wait(others)
            interrupt.raise_noted()

    def _is(self, done: Callable[[], bool]) -> bool:
        """Ask while no completion is being taken: it may be about to post the next operation."""
        with self.lock:
            return done()

    def _receive(
        self, then: Callable[[Completion], None], packet: Operation, count: int, status: int
    ) -> None:
        completion = packet.finish(count, status)
        with self.lock:
            self._in_flight.discard(packet)
            if not self._over:
                try:
                    if completion.error is not None:
                        raise completion.error
                    then(completion)
                except Exception as error:  # noqa: BLE001, raised by wait()
                    self.error = error
                    self._call_off()
        if threading.get_ident() != self._waiter:
            self._queue.wake()

    def _call_off(self) -> None:
        with self.lock:
            self._over = True
            for operation in self._in_flight:
                operation.cancel()
