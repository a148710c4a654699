"""SocketPolls: which sockets are watched, and what they are ready for.

There is one poll for each socket, for reading and writing alike: the driver may answer only one of
two. It is asked anew by the second `update` after its answer: by then whoever was told has read or
written, and a socket that is still ready is reported again. If more is wanted than a poll under way
asks, that is cancelled first.

A socket that is closed while it is watched ends its poll. Its number may be another socket's by
then, which is watched in its place if somebody watches the number.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from ...engine.packet import PENDING
from ...errors import REFUSALS, IocpError
from ...winapi import (
    AFD_POLL_ABORT,
    AFD_POLL_ACCEPT,
    AFD_POLL_CONNECT_FAIL,
    AFD_POLL_DISCONNECT,
    AFD_POLL_LOCAL_CLOSE,
    AFD_POLL_RECEIVE,
    AFD_POLL_SEND,
)
from ...winapi.errorcodes import STATUS_CANCELLED, STATUS_SUCCESS
from .afd_device import SOCKETS_MAX, AfdDevice
from .socket_poll import SocketPoll, base_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.home import Home

READABLE = 1
WRITABLE = 2

_WANTED = {
    READABLE: AFD_POLL_RECEIVE | AFD_POLL_DISCONNECT | AFD_POLL_ACCEPT | AFD_POLL_ABORT,
    WRITABLE: AFD_POLL_SEND | AFD_POLL_CONNECT_FAIL | AFD_POLL_ABORT,
}
_WANTED[READABLE | WRITABLE] = _WANTED[READABLE] | _WANTED[WRITABLE]


class _Watched:
    """One socket that is watched, by its number."""

    __slots__ = ("base", "device", "number", "poll", "polled", "wanted")

    def __init__(self, number: int, base: int, device: AfdDevice, poll: SocketPoll) -> None:
        self.number = number
        self.base = base
        self.device = device
        self.poll = poll
        self.wanted = 0
        """READABLE and WRITABLE; 0 once nobody watches it."""
        self.polled = 0
        """What the poll under way asks."""


class SocketPolls:
    """Polls of many sockets. Only one thread calls it.

    on_ready: called with a socket's number, and READABLE and WRITABLE: what it is ready for, of
        what is wanted. An error of the socket makes it ready for both.
    """

    def __init__(self, home: Home, on_ready: Callable[[int, int], None]) -> None:
        self._home = home
        self._on_ready = on_ready
        self._watched: dict[int, _Watched] = {}
        self._devices: list[AfdDevice] = []
        #: Those whose polls are to be asked by the next update, and by the one after that.
        self._changed: dict[_Watched, None] = {}
        self._answered: dict[_Watched, None] = {}

    def watch(self, number: int, wanted: int) -> None:
        """Watch a socket for this, and nothing else, from the next `update` on.

        wanted: READABLE, WRITABLE or both.

        Raises an `IocpError` (``WSAENOTSOCK`` 10038) for what is no socket.
        """
        watched = self._watched.get(number)
        if watched is None:
            watched = self._new(number)
            self._watched[number] = watched
        watched.wanted = wanted
        self._changed[watched] = None

    def forget(self, number: int) -> None:
        """Watch a socket no more."""
        watched = self._watched.pop(number, None)
        if watched is None:
            return
        watched.wanted = 0
        watched.device.sockets -= 1
        self._changed.pop(watched, None)
        self._answered.pop(watched, None)
        if watched.poll.state is PENDING:
            with contextlib.suppress(IocpError):  # it has ended just now
                watched.poll.cancel()

    @property
    def waits(self) -> bool:
        """Whether there is something to `update`."""
        return bool(self._changed or self._answered)

    def update(self, *, dealt_with: bool) -> None:
        """Ask what has changed since the last time, and what was answered before that.

        dealt_with: also what has been answered since.
        """
        if dealt_with:
            self._changed |= self._answered
            self._answered = {}
        changed, self._changed = self._changed, self._answered
        self._answered = {}
        for watched in changed:
            if watched.poll.state is not PENDING:
                self._ask(watched)
            elif watched.wanted & ~watched.polled:
                with contextlib.suppress(IocpError):
                    watched.poll.cancel()  # its end has it asked anew

    def _new(self, number: int) -> _Watched:
        base = base_socket(self._home.kernel, number)
        device = next((each for each in self._devices if each.sockets < SOCKETS_MAX), None)
        if device is None:
            device = AfdDevice.open(self._home)
            self._devices.append(device)
        poll = SocketPoll(device)
        watched = _Watched(number, base, device, poll)
        device.sockets += 1

        poll.receiver = partial(self._ended, watched)
        return watched

    def _ask(self, watched: _Watched) -> None:
        watched.polled = watched.wanted
        try:
            watched.poll.ask(watched.base, _WANTED[watched.wanted] | AFD_POLL_LOCAL_CLOSE)
        except REFUSALS:
            # It has been closed, or the system has no memory: who reads or writes it is told why.
            if not self._home.closing:
                self._on_ready(watched.number, watched.wanted)

    def _ended(self, watched: _Watched, poll: SocketPoll, _count: int, status: int) -> None:
        """Report what a poll has found: a receiver."""
        if not watched.wanted or self._home.closing:
            return
        if status == STATUS_CANCELLED:
            self._changed[watched] = None
            return
        events = poll.answer() if status == STATUS_SUCCESS else AFD_POLL_ABORT
        if events & AFD_POLL_LOCAL_CLOSE:
            self._closed(watched)
            return
        found = 0
        for kind in (READABLE, WRITABLE):
            if events & _WANTED[kind]:
                found |= kind
        found &= watched.wanted
        if not found:
            self._changed[watched] = None
        else:
            self._answered[watched] = None
            self._on_ready(watched.number, found)

    def _closed(self, watched: _Watched) -> None:
        """Watch the socket that has the number now, if there is one."""
        try:
            watched.base = base_socket(self._home.kernel, watched.number)
        except IocpError:
            self.forget(watched.number)
        else:
            self._changed[watched] = None
