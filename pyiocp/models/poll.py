"""The model "poll": ``select`` without its sets, WSAPoll.

**How it works.** The program has an array with an entry for each socket: the socket, what
it wants to know, and what the system found. WSAPoll waits until one of them
is ready and fills in what it found. What was asked stays, so only changes have to be written
before the next call.

**What a message costs.** WSARecv and WSASend, and a share of a WSAPoll, as with ``select``;
and as there, each call goes through *all* the entries, in the kernel and here.

**Its limit.** None but memory, and patience: a call with 10,000 entries takes its time,
whether one of them is ready or all.

**What to know.** Until Windows 10 2004 a connection attempt that failed was never reported,
which made it of no use to clients
(https://daniel.haxx.se/blog/2012/10/10/wsapoll-is-broken/). A socket that was reset is
reported with POLLHUP, asked for or not: both are taken for "readable" here, and the receive
then says what has happened.

**When to choose it.** Where only the limit of ``select`` is in the way; on Windows Vista and
later. A program for many systems finds the same call, ``poll``, on all of them.

Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsapoll
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from ..errors import error_of_code
from ..winapi import POLLRDNORM, POLLWRNORM, SOCKET_ERROR, WSAPOLLFD
from .readiness import ReadinessChannel, ReadinessLoop

if TYPE_CHECKING:
    from .loop import Server

_ENTRIES_FIRST = 64

_WORDS = ctypes.sizeof(WSAPOLLFD) // 2
_REVENTS = WSAPOLLFD.revents.offset // 2


class PollLoop(ReadinessLoop):
    """A thread in WSAPoll."""

    model = "poll"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._places: dict[ReadinessChannel, int] = {}
        #: What each entry is of: the first is the waker's, the second the listening socket's.
        self._channels: list[ReadinessChannel | None] = [None, None]
        self._entries: Any = (WSAPOLLFD * 0)()
        self._make_room(_ENTRIES_FIRST)

    def open(self) -> None:
        """Make the entries of the waker and of the listening socket."""
        self._entries[0] = WSAPOLLFD(self.waker.number, POLLRDNORM, 0)
        number = _NO_SOCKET if self.listening is None else self.listening.number
        self._entries[1] = WSAPOLLFD(number, POLLRDNORM, 0)

    def _make_room(self, count: int) -> None:
        entries = (WSAPOLLFD * count)()
        ctypes.memmove(entries, self._entries, ctypes.sizeof(self._entries))
        self._entries = entries
        # Only the findings, of all entries at once: reading 1,000 of them as attributes took
        # thirty times as long (74 µs, not 2.4: CPython 3.11, x86-64).
        self._found = memoryview(entries).cast("B").cast("h")[_REVENTS::_WORDS]

    def watch(self, channel: ReadinessChannel) -> None:
        """Write into the socket's entry what it waits for; give it one if it has none."""
        place = self._places.get(channel)
        if place is None:
            place = self._places[channel] = len(self._channels)
            self._channels.append(channel)
            if place == len(self._entries):
                self._make_room(2 * place)
            self._entries[place].fd = channel.number
        events = POLLRDNORM if channel.receiving is not None else 0
        self._entries[place].events = events | (POLLWRNORM if channel.sending is not None else 0)

    def forget(self, channel: ReadinessChannel) -> None:
        """Put the last entry in the place of the socket's."""
        place = self._places.pop(channel, None)
        if place is None:
            return
        last = self._channels.pop()
        assert last is not None, "the first two are never forgotten"
        if last is not channel:
            self._channels[place] = last
            self._places[last] = place
            self._entries[place] = self._entries[len(self._channels)]

    def wait(self, timeout_ms: int) -> None:
        """Ask about all sockets, and deal with those that are ready."""
        count = len(self._channels)
        if self.kernel.WSAPoll(self._entries, count, timeout_ms) == SOCKET_ERROR:
            raise error_of_code("WSAPoll", self.kernel.last_error(), None, self)
        found = [
            (channel, events)
            for channel, events in zip(self._channels, self._found.tolist(), strict=False)
            if events
        ]
        for channel, events in found:
            if channel is not None:
                if events & ~POLLWRNORM:
                    channel.on_readable()
                if events & ~POLLRDNORM:
                    channel.on_writable()
        if self._found[0]:
            self.waker.drain()
        if self._found[1]:
            self.accept_clients()


_NO_SOCKET = WSAPOLLFD(-1).fd
"""What makes WSAPoll skip an entry."""
