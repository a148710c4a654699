"""Closing: cancels what is in flight, dequeues it all, and only then closes the kernel port."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING

from ..memory.kept_memory import keep_for_ever
from . import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from .completion import Completion
    from .queue import CompletionQueue

#: After how long close() asks again for what is in flight to be cancelled.
_CANCEL_AGAIN_S = 0.2

#: How long close() sleeps before it looks at what is left.
_LOOK_ROUND_S = 0.02

#: How long close() waits for threads to return that it has woken.
_RELEASE_MAX_S = 5.0


def close(
    queue: CompletionQueue, timeout: float, hooks_elsewhere: Callable[[], bool]
) -> list[Completion]:
    """Close a queue; see `CompletionPort.close`.

    hooks_elsewhere: tells whether a hook on another thread has yet to end.
    """
    completions: list[Completion] = []
    if queue.closer == threading.get_ident():
        return completions  # called by a hook that the draining below calls
    with queue.close_lock:
        queue.closer = threading.get_ident()
        try:
            if queue.closed:  # perhaps just now, by a signal handler
                return completions
            _drain(queue, completions, queue.kernel.monotonic() + timeout, hooks_elsewhere)
        except BaseException:
            # A hook raised. The port is still open: close() may be called again.
            queue.unclaimed.extendleft(reversed(completions))
            raise
        finally:
            queue.closer = None
    completions.extend(queue.unclaimed)
    queue.unclaimed.clear()
    if queue.in_flight:
        # Lifetime: the kernel may yet write there, so nobody ever frees it.
        keep_for_ever(queue.in_flight)
        kinds = ", ".join(f"{n} {kind}" for kind, n in queue.in_flight_by_kind().items())
        warnings.warn(
            f"{queue!r} closed with operations in flight after {timeout} s:"
            f" {kinds or 'the port itself has some'}."
            " Their memory is kept for the life of the process.",
            ResourceWarning,
            stacklevel=3,
        )
    interrupt.raise_noted()
    return completions


def _drain(
    queue: CompletionQueue,
    completions: list[Completion],
    deadline: float,
    hooks_elsewhere: Callable[[], bool],
) -> None:
    """Take back what is in flight, send every thread away, close handles and port."""
    with queue.entry_lock:
        queue.closing = True
    queue.signals.cancel()
    monotonic = queue.kernel.monotonic
    poller = queue.poller()
    cancel_at = 0.0
    while queue.in_flight or queue.ready or hooks_elsewhere():
        now = monotonic()
        # Again and again: Wine forgets to cancel a send that is moving bytes just then.
        if now >= cancel_at:
            cancel_at = now + _CANCEL_AGAIN_S
            for handle in list(queue.handles):
                handle.cancel()
        # Not for long: a hook or a function elsewhere may end without a word.
        poller.gather(min(deadline, cancel_at, now + _LOOK_ROUND_S))
        queue.dispatch(completions, sys.maxsize)
        # Calls can queue more calls: stop at the deadline even so.
        if monotonic() >= deadline:
            break
    with queue.entry_lock:
        for handle in list(queue.handles):
            handle.close()
        queue.signals.release()
        queue.closed = True
    queue.timers.clear()  # they have what they would have called, and that has sessions
    _release_pollers(queue)
    number, queue.handle = queue.handle, 0
    queue.kernel.CloseHandle(number)
    # A poller knows its queue, and CPython collects no thread-local object that a value of its own
    # refers to, as long as the thread lives.
    queue.pollers = threading.local()


def _release_pollers(queue: CompletionQueue) -> None:
    """Wake the threads that still ask the kernel, one after the other, until none does.

    One that came later would ask whatever port gets the number next.
    """
    deadline = queue.kernel.monotonic() + _RELEASE_MAX_S
    own = threading.get_ident()  # of a signal handler that has interrupted it, perhaps
    while any(poller.ident != own for poller in list(queue.polling)):
        if queue.kernel.monotonic() >= deadline:
            return
        queue.wake()
        time.sleep(0.001)
