"""The model "event-select": every socket signals an event, one wait for up to 64 of them.

**How it works.** WSAEventSelect ties a socket to an event object and names what is to
signal it: FD_READ, FD_WRITE, FD_CLOSE. The thread waits for its events with
WSAWaitForMultipleEvents, asks the socket of the one that was signalled what has happened
(WSAEnumNetworkEvents, which resets the event as well), and does it.

Unlike ``select``, the system reports each thing once. FD_READ comes again only after the
program has received; FD_WRITE only after a send failed with WSAEWOULDBLOCK; FD_CLOSE never
again. So the program has to remember what it was told: see `EventSelectChannel`.

**What a message costs.** Four calls: the wait, WSAEnumNetworkEvents, WSARecv, WSASend. A wait
tells of *one* event, the lowest that is signalled: so busy sockets in front would starve
those behind, and the loop goes on from the one it was told of to the end of the row before
it begins anew. Idle sockets cost little, as long as they are few: the kernel still has to
queue the thread on every event, and take it off again. A client costs three: the wait,
WSAEnumNetworkEvents, accept; one that waits behind it has FD_ACCEPT come again.

**Its limit.** 64 events a wait, WSA_MAXIMUM_WAIT_EVENTS (the same number as
MAXIMUM_WAIT_OBJECTS: it is how many wait blocks a thread has in Windows). A 65th makes the
call fail with WSA_INVALID_PARAMETER. One event is the bell's, for new clients and the
waker, so that a thread serves 63 connections. The usual way out is more threads, each with 63
of its own: ``serve(…, threads=16)`` lets so many be started, each when those before it are
full. An accepted socket is then handed to the thread that is to wait for it. Hooks of
*different* sessions run at the same time, those of one never.

**When to choose it.** To wait for a few sockets and for other objects (a process, a timer)
in one place. For programs with windows there was its sister WSAAsyncSelect, which sends messages.

Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaeventselect
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, cast

from ..errors import error_of_code
from ..winapi import (
    FD_CLOSE,
    FD_READ,
    FD_WRITE,
    WSA_MAXIMUM_WAIT_EVENTS,
    WSA_WAIT_FAILED,
    WSA_WAIT_TIMEOUT,
    WSAEVENT,
)
from .bell import Bell, happened_to, make_event, select_events
from .readiness import ReadinessChannel, ReadinessLoop, ReadinessOperation

if TYPE_CHECKING:
    from .loop import Server


class EventSelectChannel(ReadinessChannel):
    """A socket with its event, and what has been reported about it and not used yet."""

    event: int = 0
    readable = False
    writable = False
    ended = False
    """Whether FD_CLOSE has come, after which no receive has to wait."""

    def begin(self) -> None:
        """Tie the socket to an event of its own, which also makes it non-blocking."""
        kernel = self.home.kernel
        self.event = make_event(kernel)
        # An accepted socket is tied to the listening one's event until this.
        select_events(kernel, self.number, self.event, FD_READ | FD_WRITE | FD_CLOSE)
        cast("EventSelectLoop", self.loop).add(self)

    def wait_for(self, operation: ReadinessOperation) -> None:
        """Try it when the socket is ready: now, if that has been reported already."""
        super().wait_for(operation)
        if operation.kind == "receive":
            if self.readable or self.ended:
                self.loop.call_soon(self.on_readable)
        elif self.writable:
            self.writable = False
            self.loop.call_soon(self.on_writable)

    def on_readable(self) -> None:
        """Try the receive; after a receive, FD_READ can come again."""
        if self.receiving is not None:
            self.readable = False
            super().on_readable()
        else:
            self.readable = True

    def learn(self, happened: int) -> None:
        """Remember what has happened, and do what can be done now."""
        self.ended = self.ended or bool(happened & FD_CLOSE)
        if happened & (FD_READ | FD_CLOSE):
            self.on_readable()
        if happened & FD_WRITE:
            if self.sending is not None:
                self.on_writable()
            else:
                self.writable = True


class EventSelectLoop(ReadinessLoop):
    """A thread that waits for the events of its sockets."""

    model = "event-select"
    channel_class = EventSelectChannel
    connections_max = WSA_MAXIMUM_WAIT_EVENTS - 1
    limit = (
        "WSA_MAXIMUM_WAIT_EVENTS",
        "WSAWaitForMultipleEvents takes 64 events, one of which the server needs itself; "
        "serve(…, threads=16) lets it start more threads with 63 each",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._channels: dict[int, EventSelectChannel] = {}

    def open(self) -> None:
        """Create the bell."""
        self._bell = Bell(self)
        self._row_up()

    def release(self) -> None:
        """Close the bell."""
        self._bell.close()

    def add(self, channel: EventSelectChannel) -> None:
        """Include a socket's event from the next wait on."""
        self._channels[channel.event] = channel
        self._row_up()

    def watch(self, channel: ReadinessChannel) -> None:
        """Do nothing: the event is signalled whatever the operations wait for."""

    def forget(self, channel: ReadinessChannel) -> None:
        """Untie the socket, and close its event."""
        assert isinstance(channel, EventSelectChannel)
        if self._channels.pop(channel.event, None) is not None:
            self._row_up()
            self.kernel.WSAEventSelect(channel.number, None, 0)
            self.kernel.WSACloseEvent(channel.event)

    def _row_up(self) -> None:
        """Make the array of events that the wait takes."""
        row = (self._bell.event, *self._channels)
        self._row: Any = (WSAEVENT * len(row))(*row)

    def wait(self, timeout_ms: int) -> None:
        """Wait for an event; then look, without waiting, for others behind it in the row."""
        row, at = self._row, 0
        while at < len(row):
            # The rest of the same array, after the last event reported.
            rest = (WSAEVENT * (len(row) - at)).from_buffer(row, at * ctypes.sizeof(WSAEVENT))
            index = self.kernel.WSAWaitForMultipleEvents(len(rest), rest, False, timeout_ms, False)
            if index == WSA_WAIT_TIMEOUT:
                return
            if index == WSA_WAIT_FAILED:
                code = self.kernel.last_error()
                raise error_of_code("WSAWaitForMultipleEvents", code, None, self)
            self._on_signal(row[at + index])
            at += index + 1
            timeout_ms = 0
            if row is not self._row:
                return  # a client has come or gone: the array has changed

    def _on_signal(self, event: int) -> None:
        if event == self._bell.event:
            self._bell.answer()
            return
        channel = self._channels[event]
        channel.learn(happened_to(self.kernel, channel, event))
