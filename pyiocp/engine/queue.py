"""The completion queue: a kernel port, the in-flight table and the ready queue.

How a completion travels. An operation is entered in the in-flight table, keyed by the
address of its OVERLAPPED, and submitted. It ends in one of two ways:

- the kernel queues a packet. `CompletionQueue.gather` dequeues packets in batches
  (GetQueuedCompletionStatusEx), takes each operation out of the table by the address in
  its packet, and appends it to the ready queue;
- it finishes on the spot and the kernel, told to skip the packet, queues nothing. The
  submitter itself appends it to the ready queue.

Both end up in one queue, first in, first out, and the kernel is asked again after each
round through it. So a connection whose data is always there comes after the packets that
were there before it, and cannot starve the others.

Several threads may wait at once. A thread that is about to block says so in `waiting`
and then looks at the ready queue again; whoever appends to the ready queue looks at
`waiting` afterwards. So one of the two sees the other, and nobody sleeps while there is
work. A thread is woken by an empty packet, at most one of which is under way.

What gets in without a packet is in `intake`, the way of a packet in `delivery`.

What belongs here: waiting for completions, and the end. Which kinds of handles and operations
there are, and what servers do with them, is not known here.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
import warnings
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import PortClosedError
from ..memory.kept_memory import keep_for_ever
from . import interrupt
from .delivery import Delivery

if TYPE_CHECKING:
    from .completion import Completion
    from .port_settings import PortSettings

#: After how long close() asks again for what is in flight to be cancelled.
_CANCEL_AGAIN_S = 0.2

#: How long close() sleeps before it looks at what is left.
_LOOK_ROUND_S = 0.02

#: How long close() waits for threads to return that it has woken.
_RELEASE_MAX_S = 5.0


class CompletionQueue(Delivery):
    """An I/O completion port and the memory of everything in flight on it.

    This is ring 2 without its kinds of handle; users make a `CompletionPort`. What is put on
    it is set before `_open` makes the kernel port: one that a signal cuts short is none.
    """

    def __init__(self, settings: PortSettings) -> None:
        super().__init__(settings)
        self._unclaimed: deque[Completion] = deque()
        # As in `Delivery`: a loop takes from it without a call.
        self._next_unclaimed = iter(self._unclaimed.popleft, None)
        self._close_lock = threading.Lock()

    def wait(self, timeout: float | None = None, limit: int = 64) -> list[Completion]:
        """Wait until at least one operation has ended; return the completions there are.

        timeout: seconds; None waits for ever, 0 only looks. Below a millisecond it is
            rounded up, not down to a busy loop.
        limit: the most completions to return.

        Returns an empty list when the time is over, or when the port was closed meanwhile.
        The order is that in which the kernel, or the submitter, reported the ends.

        Raises KeyboardInterrupt on Ctrl-C (in the main thread), without losing a
        completion; `PortClosedError` on a closed port; ValueError for a negative timeout
        or a limit below 1. Several threads may wait at once: each completion goes to one.

        Source: https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout}")
        if self.closed or (self.closing and self._closer != threading.get_ident()):
            raise PortClosedError(f"{self!r} is closed: nothing can be waited for")
        deadline = None if timeout is None else self.kernel.monotonic() + timeout
        completions: list[Completion] = []
        while True:
            try:
                if self._unclaimed:
                    with contextlib.suppress(IndexError):  # no more
                        completions.extend(islice(self._next_unclaimed, limit))
                if completions:
                    deadline = 0.0
                over = self.gather(deadline)
                self.dispatch(completions, limit)
                interrupt.raise_noted()
            except BaseException:
                # Raised with nothing in hand: what was dequeued waits for the next call.
                self._unclaimed.extendleft(reversed(completions))
                if completions and self.waiting:
                    self.wake()
                raise
            if completions:
                return completions
            # Sessions and calls may leave the ready queue never empty: the time is over then too.
            over = over or (deadline is not None and self.kernel.monotonic() >= deadline)
            if (over or self.closing) and not self._unclaimed:
                return completions

    def keep_for_wait(self, completions: list[Completion]) -> None:
        """Have `wait` return these, on this or another thread."""
        self._unclaimed.extend(completions)
        if self.waiting:
            self.wake()

    # The end

    def close(self, timeout: float = 5.0) -> list[Completion]:
        """Cancel what is in flight, dequeue it all, then close every handle and the port.

        timeout: how many seconds to wait for the kernel to give back what it holds.

        Returns the completions that nobody had waited for. What is still in flight when
        the time is over is kept alive for the life of the process, on purpose, because
        the kernel may yet write to it, and named in a ResourceWarning.

        Closing twice does nothing. Threads that wait return. Any thread may call it.
        """
        completions: list[Completion] = []
        if self._closer == threading.get_ident():
            return completions  # called by a hook that the draining below calls
        with self._close_lock:
            if self.closed:
                return completions
            self._closer = threading.get_ident()
            try:
                self._drain(completions, self.kernel.monotonic() + timeout)
            except BaseException:
                # A hook has ended it. The port is not closed yet: close() may be called again.
                self._unclaimed.extendleft(reversed(completions))
                raise
            finally:
                self._closer = None
        completions.extend(self._unclaimed)
        self._unclaimed.clear()
        if self.in_flight:
            keep_for_ever(self.in_flight)
            kinds = ", ".join(f"{n} {kind}" for kind, n in self.in_flight_by_kind().items())
            warnings.warn(
                f"{self!r} closed with operations in flight after {timeout} s:"
                f" {kinds or 'the port itself has some'}."
                " Their memory is kept for the life of the process.",
                ResourceWarning,
                stacklevel=2,
            )
        interrupt.raise_noted()
        return completions

    def _drain(self, completions: list[Completion], deadline: float) -> None:
        """Take back what is in flight, send every thread away, close handles and port."""
        with self.door:
            self.closing = True
        if self._signals is not None:
            self._signals.cancel()
        cancel_at = 0.0
        while self.in_flight or self.ready or self._hooks_elsewhere():
            now = self.kernel.monotonic()
            # Again and again: Wine forgets to cancel a send that is moving bytes just then.
            if now >= cancel_at:
                cancel_at = now + _CANCEL_AGAIN_S
                for handle in list(self.handles):
                    handle.cancel()
            # Not for long: a hook or a function elsewhere may end without a word.
            self.gather(min(deadline, cancel_at, now + _LOOK_ROUND_S))
            self.dispatch(completions, sys.maxsize)
            # Calls may beget calls: the time is over then, too, however full the queue is.
            if self.kernel.monotonic() >= deadline:
                break
        with self.door:
            for handle in list(self.handles):
                handle.close()
            if self._signals is not None:
                self._signals.release()
            self.closed = True
        self._release_pollers()
        number, self.handle = self.handle, 0
        self.kernel.CloseHandle(number)

    def _hooks_elsewhere(self) -> bool:
        """Whether a hook on another thread has yet to end; of servers, see `CompletionPort`."""
        return False

    def _release_pollers(self) -> None:
        """Wake the threads that still ask the kernel, one after the other, until none does.

        One that came later would ask whatever port gets the number next.
        """
        deadline = self.kernel.monotonic() + _RELEASE_MAX_S
        own = threading.get_ident()  # of a signal handler that has interrupted it, perhaps
        while any(batch.ident != own for batch in list(self.polling)):
            if self.kernel.monotonic() >= deadline:
                return
            self.wake()
            time.sleep(0.001)

    def in_flight_by_kind(self) -> dict[str, int]:
        """Return how many operations are in flight, by kind: ``{"receive": 3, "send": 1}``.

        What the port itself has pending, to hear of signals, is not counted.
        """
        counts: Counter[str] = Counter()
        for packet in list(self.in_flight.values()):
            if not packet.internal:
                counts[packet.kind] += 1
        return dict(counts)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.handle:
            message = f"unclosed {self!r}"
            # A collection may come between somebody's call and their last_error().
            code = ctypes.get_last_error()
            # The kernel may be writing to what is in flight: it is drained, or kept, before
            # the warning, which may be an exception.
            with contextlib.suppress(OSError):
                self.close(timeout=1.0)
            ctypes.set_last_error(code)
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        if self.closed:
            return f"<{type(self).__name__} closed>"
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.in_flight_by_kind().items())
        return f"<{type(self).__name__} {self.handle:#x}: {kinds or 'nothing'} in flight>"
