"""Bell: an event of Winsock's, rung by new clients and by the waker.

What belongs here: that one event, for the models that wait for events. A model that can
wait for 64 of them has one place less for its connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import error_of_code
from ..winapi import FD_ACCEPT, FD_READ, SOCKET_ERROR

if TYPE_CHECKING:
    from ..kernel import Kernel
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


class Bell:
    """The event of one loop; in the loop's thread only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.event = make_event(loop.kernel)
        select_events(loop.kernel, loop.waker.number, self.event, FD_READ)
        if loop.listening is not None:
            select_events(loop.kernel, loop.listening.number, self.event, FD_ACCEPT)

    def answer(self) -> None:
        """Do what it rang for. The event is reset first: what comes meanwhile rings again."""
        self._loop.kernel.WSAResetEvent(self.event)
        self._loop.waker.drain()
        self._loop.accept_clients()

    def close(self) -> None:
        """Close the event."""
        self._loop.kernel.WSACloseEvent(self.event)
