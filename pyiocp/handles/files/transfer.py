"""Transfer: operations that belong together, and a caller that waits for them on the port.

Like any thread that waits on a port, the caller serves it meanwhile: hooks are called, and
completions of other operations are kept for ``wait``. Other threads may serve the port at the
same time, and take completions of the transfer.
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

#: Wake up at least this often: another thread may take the packet meant for this one.
_LOOK_AGAIN_S = 0.05


class Transfer:
    """Operations of one caller on a port.

    ``error`` is the first error: the other operations are then cancelled, and no more are
    posted.

    Thread safety: one thread waits; completions may come on any.
    """

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self.error: Exception | None = None
        self._over = False
        self._in_flight: set[Operation] = set()
        #: Held while a completion is handled. Reentrant: its handler posts the next operation.
        self.lock = threading.RLock()
        self._waiter = 0

    @property
    def in_flight(self) -> int:
        """How many operations have not completed yet."""
        return len(self._in_flight)

    def post(self, operation: Operation, then: Callable[[Completion], None]) -> None:
        """Post an operation; `then` is called with its completion, unless that is an error.

        One thread at a time calls it. An exception that it raises ends the transfer.
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
        """Serve the port until `done()`, or until an error, which is raised.

        Raises KeyboardInterrupt on Ctrl-C, `PortClosedError` if the port is closed
        meanwhile, and the error of a completion or of its handler.
        """
        self._serve(lambda: done() or self.error is not None)
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Cancel what is in flight, and wait until the kernel is done with it."""
        self._call_off()
        with contextlib.suppress(PortClosedError):  # whose close has waited for it, or kept it
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
        """Ask while no completion is being handled, as that may post the next operation."""
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
