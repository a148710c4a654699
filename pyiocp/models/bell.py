"""Bell: one event that new clients and the waker set, for the models that wait for events.

It takes one of the 64 places of a wait, so such a model has one connection less.
"""

from __future__ import annotations

from ctypes import byref
from typing import TYPE_CHECKING

from ..errors import error_of_code
from ..winapi import (
    FD_ACCEPT,
    FD_READ,
    SOCKET,
    SOCKET_ERROR,
    WSAEVENT,
    WSANETWORKEVENTS,
)

if TYPE_CHECKING:
    from ..engine.kernel import Kernel
    from .channel import Channel
    from .loop import Loop


def make_event(kernel: Kernel) -> int:
    """Return a new event: manual-reset, not signalled.

    Raises an `IocpError` (``WSA_NOT_ENOUGH_MEMORY`` 8).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsacreateevent
    """
    event = kernel.WSACreateEvent()
    if event is None:
        raise error_of_code("WSACreateEvent", kernel.last_error())
    return event


def select_events(kernel: Kernel, number: int, event: int | None, bits: int) -> None:
    """Have an event signalled by what happens to a socket; None and 0 end that.

    Raises an `IocpError` (``WSAENOTSOCK`` 10038, ``WSAEINVAL`` 10022).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaeventselect
    """
    if kernel.WSAEventSelect(number, event, bits) == SOCKET_ERROR:
        raise error_of_code("WSAEventSelect", kernel.last_error())


def happened_to(kernel: Kernel, channel: Channel, event: int) -> int:
    """Return the FD_ bits of what has happened to a socket; forget them, and reset its event.

    Raises an `IocpError` (``WSAENOTSOCK`` 10038, ``WSAEINVAL`` 10022).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaenumnetworkevents
    """
    happened = WSANETWORKEVENTS()
    if kernel.WSAEnumNetworkEvents(SOCKET(channel.number), WSAEVENT(event), byref(happened)):
        raise error_of_code("WSAEnumNetworkEvents", kernel.last_error(), None, channel)
    return int(happened.lNetworkEvents)


class Bell:
    """The event of one loop; in the loop's thread only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.event = make_event(loop.kernel)
        try:
            select_events(loop.kernel, loop.waker.number, self.event, FD_READ)
            if loop.listening is not None:
                select_events(loop.kernel, loop.listening.number, self.event, FD_ACCEPT)
        except BaseException:
            self.close()
            raise

    def answer(self) -> None:
        """Do what it rang for. The event is reset first: what comes meanwhile rings again.

        One client is accepted for each FD_ACCEPT, never without one: accepting records the
        next client, if one waits, at once. Accepting in vain may lose a client: an FD_ACCEPT
        recorded for a client that has been accepted meanwhile is not recorded again before
        the next successful accept (Wine 8; on Windows a failing one is enough).
        """
        loop = self._loop
        if loop.listening is None:
            loop.kernel.WSAResetEvent(self.event)
        elif happened_to(loop.kernel, loop.listening, self.event) & FD_ACCEPT:
            loop.accept_client()
        loop.waker.drain()

    def close(self) -> None:
        """Close the event."""
        self._loop.kernel.WSACloseEvent(self.event)
