"""Arrival: a client that has been accepted, until it has a session or is closed.

On its way it may have to wait: for its turn, if too many begin in a second, or for its first data.
It knows all that has been taken for the client, so whatever is raised meanwhile, everything can be
given back: the accept, the slot of the limits, the socket.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ...engine.packet import IDLE
from ..layer import connection_of
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.timers import ScheduledCall
    from ...handles.sockets.accept import AcceptOperation
    from ...handles.sockets.stream import Stream
    from ..admission import Slot
    from .acceptor import Acceptor

logger = logging.getLogger("pyiocp")


class Arrival:
    """One client. One thread at a time, which has claimed it.

    acceptor: whose accept it was.
    operation: that accept.
    """

    stream: Stream | None = None
    peer: Any = None
    first = b""
    """What came with the accept."""
    slot: Slot | None = None
    session: Session | None = None
    then: Callable[[Arrival], None] | None = None
    """What is to be done when it has waited long enough."""
    timer: ScheduledCall | None = None
    lost = False
    """Whether something was raised, so that nobody goes on with it."""

    def __init__(self, acceptor: Acceptor, operation: AcceptOperation) -> None:
        self.acceptor = acceptor
        self.operation = operation
        #: One item while it has the accept. Who removes it frees the accept; only one thread can.
        self._held = [True]

    def wait(self, seconds: float, then: Callable[[Arrival], None]) -> None:
        """Have a function called later, unless something else is to go on with it before."""
        acceptor = self.acceptor
        self.then = then
        acceptor.waiting[self] = None
        self.timer = acceptor.home.call_later(seconds, acceptor.go_on, self)

    def fail(self, error: BaseException) -> None:
        """Give everything back. An Exception is logged; anything else is raised on."""
        self.drop()
        if not isinstance(error, Exception):
            raise error
        logger.error("%r: a client was dropped", self.acceptor.owner, exc_info=error)

    def free_operation(self) -> None:
        """Have the accept posted again."""
        acceptor = self.acceptor
        try:
            # No call until it is among those that rest: see `acceptor`.
            del self._held[0]
        except IndexError:
            return
        # Lifetime: only by who has taken it from here. One that is pending must not look idle, or
        # it could be posted again while the kernel has its OVERLAPPED.
        self.operation.state = IDLE
        acceptor.resting += (self.operation,)
        acceptor.post_resting()

    def end(self) -> None:
        """Forget it: what it had is given back, or another's."""
        if self._held:
            self.free_operation()
        acceptor = self.acceptor
        if acceptor.waiting:
            acceptor.waiting.pop(self, None)
        acceptor.arrivals.pop(self, None)

    def drop(self) -> None:
        """Close it, and give everything back. Called again, this goes on with what is left."""
        if self.timer is not None:
            self.timer.cancel()
        accepted = self.operation.accepted
        stream = self.stream
        if stream is None and self._held:  # so that was its own
            stream = accepted
        if self.slot is not None:
            self.slot.leave()
        session = self.session
        if session is not None and session._pyiocp is not Session._pyiocp:
            connection = connection_of(session)
            connection.abort()
            if connection.stream is stream:
                stream = None  # it sees to that
        if stream is not None:
            stream.close()
        self.end()
