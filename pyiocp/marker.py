"""Marker: a packet that tells whether another one came before it.

Some operations end without the packet that the system's rules promise, or with one that
they exclude. The port's queue is first in, first out: so a packet of our own is queued
behind, and if the operation is still in flight when that comes back, there was none.

What belongs here: that packet. Which operations are in doubt is known where they are
submitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import IocpError
from .operation import PostedPacket

if TYPE_CHECKING:
    from .completion_queue import CompletionQueue
    from .operation import Operation

#: How long a thread may need from dequeuing a packet to looking up its operation.
_ROUTED_S = 0.05

#: After how long a marker that the system refused is tried again.
_AGAIN_S = 0.02


class Marker(PostedPacket):
    """Stands in the port's queue for one submission of an operation that has ended."""

    __slots__ = ("_operation", "_queue")

    internal = True

    def __init__(self, queue: CompletionQueue, operation: Operation) -> None:
        super().__init__(None)
        self._queue = queue
        self._operation = operation
        # Not a bound method, which would keep itself, and the operation, in a cycle.
        self.receiver = Marker._on_return
        operation.marker = self

    def send(self) -> None:
        """Queue it."""
        try:
            self._queue.post_packet(self, 0)
        except IocpError:  # the system has no room for it now
            self._queue.call_later(_AGAIN_S, self.send)

    def _on_return(self, _count: int, _status: int) -> None:
        if self._queue.polling:
            # Another thread may have dequeued the real packet just before, and not yet have
            # looked it up. No lock can tell: it may as well be asleep in the kernel.
            self._queue.call_later(_ROUTED_S, self._settle_locked)
        else:
            self._settle_locked()

    def _settle_locked(self) -> None:
        with self._operation.handle.lock:
            self._settle()

    def _settle(self) -> None:
        """Complete the operation; called with the lock of its handle."""
        operation = self._operation
        # Lifetime: if its packet came, and it has been posted again since, the kernel has it.
        if operation.marker is not self or operation.unwritten:
            return
        operation.marker = None
        if self._queue.in_flight.pop(operation.address, None) is not None:
            self._queue.enqueue((operation, operation.transferred, operation.status))
