"""The model "select": one thread asks about all sockets, every time.

**How it works.** The program puts its sockets into sets, one for "can I receive?", one for
"can I send?", and calls ``select``. The call waits until one of them is ready, and leaves
in the sets those that are. The program then receives and sends on these, without having to
wait, and begins again: the sets have been overwritten, and have to be filled anew.

A new client makes the listening socket readable; so does what another thread sends to the
loop's waker.

**What a message costs.** WSARecv and WSASend, and a share of a ``select``: one call of it
serves all the sockets that are ready at that moment, few on a quiet server, many on a busy
one. But each call looks at *every* socket of the sets: filling, checking and reading them
grows with the number of connections, not with the number of those that do something. That
is why it gets slow with thousands of connections that are mostly idle.

**Its limit.** An ``fd_set`` is an array of sockets and their number, of a size that is
compiled into the program: ``FD_SETSIZE``, 64 in Windows' header, 512 in CPython's own
``select`` module. C's macro FD_SET leaves a socket that does not fit out *without a word*;
a server then never hears of it again. Here the client is refused, with a `ModelLimitError`.
Winsock itself reads the number from the set, so that a larger set is welcome: give
``fd_setsize=1024``. (Unlike on Unix, where FD_SETSIZE bounds the *number* of a descriptor,
and a larger one overwrites memory.) Two places are the listening socket's and the waker's.

A connection attempt that fails is reported in the third set. This server makes none.

**When to choose it.** For a program that runs everywhere and has a few connections. It is
the oldest model: the sockets of 4.2BSD, which Winsock's were made after, had no other.

Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-select
"""

from __future__ import annotations

from ctypes import byref
from typing import TYPE_CHECKING

from ..errors import error_of_code
from ..winapi import FD_SET, FD_SETSIZE, SOCKET_ERROR, TIMEVAL
from .readiness import ReadinessChannel, ReadinessLoop

if TYPE_CHECKING:
    from .loop import Server

FD_SETSIZE_MAX = 65536
"""The largest set that can be asked for."""

_PLACES_OF_OUR_OWN = 2
"""In each set: the listening socket, and the waker."""


class SelectLoop(ReadinessLoop):
    """A thread in ``select``."""

    model = "select"
    limit = (
        "FD_SETSIZE",
        "an fd_set has room for so many sockets, two of which the server needs itself; "
        "serve(…, fd_setsize=1024) makes larger ones",
    )

    def __init__(self, server: Server, fd_setsize: int = FD_SETSIZE) -> None:
        if not FD_SETSIZE <= fd_setsize <= FD_SETSIZE_MAX:
            raise ValueError(
                f"fd_setsize must be from {FD_SETSIZE} to {FD_SETSIZE_MAX:,}, not {fd_setsize}"
            )
        super().__init__(server)
        self.connections_max = fd_setsize - _PLACES_OF_OUR_OWN
        self._readable = FD_SET.with_room(fd_setsize)
        self._writable = FD_SET.with_room(fd_setsize)
        self._receiving: dict[int, ReadinessChannel] = {}
        self._sending: dict[int, ReadinessChannel] = {}

    def watch(self, channel: ReadinessChannel) -> None:
        """Have the socket in the sets that it waits in, from the next call on."""
        for waiting, channels in (
            (channel.receiving, self._receiving),
            (channel.sending, self._sending),
        ):
            if waiting is None:
                channels.pop(channel.number, None)
            else:
                channels[channel.number] = channel

    def wait(self, timeout_ms: int) -> None:
        """Ask about all sockets, and deal with those that are ready."""
        readable, writable = self._readable, self._writable
        readable.replace(self._receiving)
        readable.add(self.waker.number)
        listening = self.listening
        if listening is not None:
            readable.add(listening.number)
        writable.replace(self._sending)
        timeout = TIMEVAL.of(timeout_ms / 1000)
        if (
            self.kernel.select(
                0, byref(readable), byref(writable) if self._sending else None, None, byref(timeout)
            )
            == SOCKET_ERROR
        ):
            raise error_of_code("select", self.kernel.last_error(), None, self)
        for number in list(readable):
            if number == self.waker.number:
                self.waker.drain()
            elif listening is not None and number == listening.number:
                self.accept_clients()
            elif number in self._receiving:
                self._receiving[number].on_readable()
        for number in list(writable):
            if number in self._sending:
                self._sending[number].on_writable()
