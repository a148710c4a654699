"""Overlapped: what the three models of overlapped I/O without a port have in common.

They work like a completion port: the program starts a receive, hands over its buffer until that
is done, and is told about the *end*. The operations are pyiocp's own, with its in-flight table
and its rules of memory. There are three ways for a thread to learn of an end without a port,
and each is a model:

- it checks again and again (`overlapped_polled`);
- an event is signalled (`overlapped_events`);
- a function is called (`completion_routines`).

All three share two properties that a completion port does not have. An operation belongs
to the thread that started it: when that thread ends, Windows cancels it. And an operation
that ends on the spot is known to have ended when the call returns: with the first two, nothing
is reported later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bell import select_events
from .channel import Channel
from .loop import Loop

if TYPE_CHECKING:
    from ..engine.operation import Operation


class OverlappedChannel(Channel):
    """A socket for overlapped I/O."""

    ends_on_the_spot = True
    """Whether an operation that was over when its call returned is not reported again."""

    def begin(self) -> None:
        """Untie it from the listening socket's event, which it has inherited."""
        select_events(self.home.kernel, self.number, None, 0)
        self.skips_on_success = self.ends_on_the_spot


class OverlappedLoop(Loop):
    """A loop with operations in flight."""

    channel_class = OverlappedChannel

    def on_end(self, operation: Operation) -> None:
        """Report an operation that has ended, and take it out of the in-flight table."""
        # Lifetime: the kernel has written the result: from here on the memory is ours.
        del self.in_flight[operation.address]
        self.enqueue((operation, operation.transferred, operation.status))

    def operations(self) -> list[Operation]:
        """Return what is in flight; the list is the caller's."""
        return list(self.in_flight.values())  # type: ignore[arg-type] # nobody posts packets here
