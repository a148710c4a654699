"""SharedListening: a listening socket that other processes accept from as well.

Windows associates a socket with one completion port for its whole life, in whatever process it
is open. Of several processes that share a listening socket, only one could have it on its port,
and the packets of the other processes' accepts would go there too. So this socket is on no port.
Each AcceptEx has an event, with the bit set that keeps its packet off any port; what comes to the
port is a wait for this event. Accepted connections are on the port as usual. The system completes
accepts in the order in which they were posted, so that the processes take turns.

All accepts of a stream share one event: when it is set, or may have been set, all of them are
checked. Posting an accept resets the event, which may have been set just before; so the accepts
are checked after each post too, and none is missed.

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
"""The bit of an event's handle that has no packet queued."""

_LOOK_EVERY_S = 0.001
"""How often cancelled accepts are checked after the wait for the event has ended."""


class SharedAccept(AcceptOperation):
    """An accept whose completion is signalled by the event of its stream."""

    __slots__ = ("_shared",)

    def __init__(self, listening: SharedListening, room: int) -> None:
        super().__init__(listening, room)
        self._shared = listening
        # Lifetime: the kernel takes a reference to the event when the accept is posted.
        self.overlapped.hEvent = listening.event.number | _NO_PACKET

    def post(self) -> None:
        """Submit the accept, and complete others that have ended meanwhile."""
        super().post()
        self._shared.look()


class SharedListening(Stream):
    """A listening stream that is on no completion port. Any thread may call any method."""

    may_skip = False  # it would be set for all processes

    def __init__(self, home: CompletionQueue, number: int, *, family: int, key: Any = None) -> None:
        self.event = Event.open(home, False, False, "", None)
        self.event.internal = True
        try:
            super().__init__(home, number, family=family, key=key)
        except BaseException:
            self.event.close()
            raise
        self._accepts: set[SharedAccept] = set()
        self._complete = home.complete
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
        """Close the stream in this process; the others go on accepting. See `Handle.close`."""
        super().close()
        self._poll()

    def look(self) -> int:
        """Complete the accepts that have ended; return how many are pending."""
        in_flight = self.home.in_flight
        pending = 0
        # With the lock, no thread is between entering an accept in the table and the call that
        # makes the kernel mark it as pending.
        with self.lock:
            for operation in self._accepts:
                if operation.address not in in_flight:
                    continue
                if operation.unwritten:
                    pending += 1
                else:
                    event = operation, operation.transferred, operation.status
                    self._complete(operation.address, event)
        return pending

    def _on_event(self, operation: WaitOperation, count: int, status: int) -> None:
        try:
            operation.finish(count, status)
            operation.post()
        except REFUSALS:  # the port is closing, and has cancelled the wait
            self._poll()
        except BaseException:
            self._poll()
            raise
        else:
            self.look()

    def _poll(self) -> None:
        """Check the cancelled accepts until none is pending, then close the event."""
        if self.look():
            self.home.call_later(_LOOK_EVERY_S, self._poll)
        elif self.closed:
            self.event.close()

    def _associate(self) -> None:
        """Do nothing: it stays on no port, or on another process's."""

    def _leave_port(self) -> bool:
        return True
