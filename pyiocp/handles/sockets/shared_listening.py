"""SharedListening: a listening socket that other processes accept from as well.

Windows puts a socket on one completion port for its whole life, whichever process has it
open: of several processes that share a listening socket only one can have it on its port,
and the packets of all the others' accepts would go there too. So here it is on none. Each
AcceptEx has an event, with the bit set that keeps its packet off any port, and it is the
wait for this event that comes to our port. The connections that are accepted are on it as
ever. The system hands them out in the order in which the accepts were posted, so that the
processes take turns.

One event does for all accepts of a stream: when it is set, or may have been, all of them
are looked at. It may have been when an accept is posted, because that resets it. So whoever
posts looks too, and none is overlooked.

Source: https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import REFUSALS
from ..waits.event import Event
from ..waits.waitable import WaitOperation
from .accept import AcceptOperation
from .stream import Stream

if TYPE_CHECKING:
    from ...engine.queue import CompletionQueue

_NO_PACKET = 1
"""What is added to an event's handle so that no packet is queued."""

_LOOK_EVERY_S = 0.001
"""How often accepts are looked at that have been cancelled, when nobody waits any more."""


class SharedAccept(AcceptOperation):
    """An accept whose end is told by the event of its stream."""

    __slots__ = ("_shared",)

    def __init__(self, listening: SharedListening, room: int) -> None:
        super().__init__(listening, room)
        self._shared = listening
        # Lifetime: the kernel takes a reference to the event when the accept is posted.
        self.overlapped.hEvent = listening.event.number | _NO_PACKET

    def post(self) -> None:
        """Submit the accept, and see which others have ended meanwhile."""
        super().post()
        self._shared.look()


class SharedListening(Stream):
    """A listening stream that is on no completion port. Any thread may call any method."""

    may_skip = False  # the setting would be that of all processes

    def __init__(self, home: CompletionQueue, number: int, *, family: int, key: Any = None) -> None:
        self.event = Event.open(home, False, False, "", None)
        self.event.internal = True
        try:
            super().__init__(home, number, family=family, key=key)
        except BaseException:
            self.event.close()
            raise
        self._accepts: set[SharedAccept] = set()
        wait = WaitOperation(self.event)
        wait.receiver = self._on_event
        try:
            wait.post()
        except BaseException:
            self.home.handles.discard(self)  # the number stays the caller's
            self.event.close()
            raise

    def accept_operation(self, receive: int = 0) -> AcceptOperation:
        """Return an accept that has not been posted yet, to be posted again and again."""
        operation = SharedAccept(self, receive)
        self._accepts.add(operation)
        return operation

    def close(self) -> None:
        """Close the stream, here; the other processes accept on. See `Handle.close`."""
        super().close()
        self._poll()

    def look(self) -> int:
        """Complete the accepts that have ended; return how many are pending."""
        in_flight = self.home.in_flight
        pending = 0
        # Under the lock nobody is between entering an accept in the table and the call that
        # makes the kernel say that it is pending.
        with self.lock:
            for operation in self._accepts:
                if operation.address not in in_flight:
                    continue
                if operation.unwritten:
                    pending += 1
                elif in_flight.pop(operation.address, None) is not None:
                    self.home.enqueue((operation, operation.transferred, operation.status))
        return pending

    def _on_event(self, operation: WaitOperation, count: int, status: int) -> None:
        operation.finish(count, status)
        try:
            operation.post()
        except REFUSALS:  # the port is closing: it drains, and has cancelled the wait
            self._poll()
        else:
            self.look()

    def _poll(self) -> None:
        """Look until none is pending: they have been cancelled. The event goes last."""
        if self.look():
            self.home.call_later(_LOOK_EVERY_S, self._poll)
        elif self.closed:
            self.event.close()

    def _associate(self) -> None:
        """Leave it on the port that it is on, or on none."""

    def _leave_port(self) -> bool:
        return True
