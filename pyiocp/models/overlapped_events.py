"""The model "overlapped-events": every operation in flight has an event.

**How it works.** An OVERLAPPED has a place for an event, hEvent. The system resets it when
the operation starts and signals it when it ends; the thread waits for the events of all
that is in flight with WSAWaitForMultipleEvents, and reads how each has ended from its
OVERLAPPED.

**What a message costs.** WSARecv and WSASend, and a share of a wait. A send is mostly over when
its call returns, and needs none. A wait tells of one event; but as the results are in the
OVERLAPPEDs, the thread checks all of them after each wait, without another call: on a busy
server one wait serves many messages.

**Its limit.** 64 events a wait, WSA_MAXIMUM_WAIT_EVENTS, and here it bites twice: a connection
that receives *and* sends has two operations in flight, with an event each. (One event for
both would lose ends: starting the one resets what the other has signalled.) One event is
the bell's, for new clients and the waker: that leaves 31 connections for a thread.

**When to choose it.** For a handful of handles, most of all for files and devices: an event for
each operation in flight is the simplest form of overlapped I/O, as long as 64 are enough.

Source: https://learn.microsoft.com/windows/win32/winsock/overlapped-i-o-and-event-objects-2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..engine.operation import Operation
from ..errors import error_of_code
from ..winapi import WSA_MAXIMUM_WAIT_EVENTS, WSA_WAIT_FAILED, WSAEVENT
from .bell import Bell, make_event
from .overlapped import OverlappedChannel, OverlappedLoop

if TYPE_CHECKING:
    from .loop import Server


class EventOperation(Operation):
    """An operation that has an event while it is in flight."""

    def _submit(self, announce: bool) -> bool:
        """Borrow an event for it, and return the event if nothing is in flight after all."""
        loop = cast("OverlappedEventsLoop", self.handle.home)
        # Lifetime: the kernel keeps the event itself; its number is not reused before
        # the operation has ended.
        self.overlapped.hEvent = loop.borrow()
        on_the_spot = True
        try:
            on_the_spot = super()._submit(announce)
        finally:
            if on_the_spot:  # or refused
                loop.give_back(self)
        return on_the_spot


class EventChannel(OverlappedChannel):
    """A socket whose operations have events."""

    operation_class = EventOperation


class OverlappedEventsLoop(OverlappedLoop):
    """A thread that waits for the events of its operations."""

    model = "overlapped-events"
    channel_class = EventChannel
    connections_max = (WSA_MAXIMUM_WAIT_EVENTS - 1) // 2
    limit = (
        "WSA_MAXIMUM_WAIT_EVENTS",
        "WSAWaitForMultipleEvents takes 64 events; a receive and a send of each connection "
        "need one each, and the server one itself",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._events: list[int] = []
        """Events that no operation uses."""

    def open(self) -> None:
        """Create the bell."""
        self._bell = Bell(self)

    def release(self) -> None:
        """Close the bell and the events that are not in flight."""
        self._bell.close()
        for event in self._events:
            self.kernel.WSACloseEvent(event)

    def borrow(self) -> int:
        """Return an event for an operation."""
        return self._events.pop() if self._events else make_event(self.kernel)

    def give_back(self, operation: Operation) -> None:
        """Take back the event of an operation that is not in flight, or no longer."""
        self._events.append(operation.overlapped.hEvent)
        operation.overlapped.hEvent = None

    def wait(self, timeout_ms: int) -> None:
        """Wait for an event; then look at everything that is in flight."""
        operations = self.operations()
        row = (self._bell.event, *[operation.overlapped.hEvent for operation in operations])
        index = self.kernel.WSAWaitForMultipleEvents(
            len(row), (WSAEVENT * len(row))(*row), False, timeout_ms, False
        )
        if index == WSA_WAIT_FAILED:
            code = self.kernel.last_error()
            raise error_of_code("WSAWaitForMultipleEvents", code, None, self)
        for operation in operations:
            if not operation.unwritten:
                self.give_back(operation)
                self.on_end(operation)
        if index == 0:
            self._bell.answer()
