"""The in-flight table: every packet that the kernel may still write to.

Everything that the kernel gets goes in here first, and comes out when it is the caller's
again, so it is also the place to look on from: what watches is told of both. A table that
nobody watches is a plain dict, with a dict's own methods; it changes its class when somebody
does. So watching costs nothing while it is off.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from .interrupt import trust

if TYPE_CHECKING:
    from .packet import Packet

    _Table = dict[int, Packet]
else:
    _Table = dict

logger = logging.getLogger("pyiocp")


class Observer(Protocol):
    """What is told of each packet; by any thread, several at once. What it raises is logged."""

    def taken(self, packet: Packet) -> None:
        """The kernel is about to get the packet and its buffers."""

    def given_back(self, packet: Packet) -> None:
        """The kernel has them no more; the packet is IDLE if it had refused them."""

    def cancel_asked(self, packet: Packet) -> None:
        """Somebody has asked for the operation to be cancelled."""


class Watcher(Protocol):
    """What counts the system calls that bring packets."""

    def batch(self, packets: int) -> None:
        """Count one that brought so many packets."""


class Tracer(Protocol):
    """What writes down who does what, and when."""

    def now(self) -> int:
        """Return the time, in nanoseconds."""

    def slept(self, since_ns: int) -> None:
        """Take note that this thread was asleep in the kernel, until now."""

    def worked(self, on: Any, since_ns: int) -> None:
        """Take note that this thread was at work on a completion or a call, until now."""


class InFlightTable(_Table):
    """Packets by the address of their OVERLAPPED; see the module."""

    __slots__ = ("_observers",)

    def __init__(self) -> None:
        super().__init__()
        self._observers: tuple[Observer, ...] = ()

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every packet from now on."""
        trust(observer.taken, observer.given_back, observer.cancel_asked)
        self._observers = (*self._observers, observer)
        self.__class__ = _ObservedTable

    def ignore(self, observer: Observer) -> None:
        """Tell `observer` nothing more."""
        self._observers = tuple(other for other in self._observers if other is not observer)
        if not self._observers:
            self.__class__ = InFlightTable

    def cancel_asked(self, packet: Packet) -> None:
        """Hear that the packet's operation is to be cancelled."""


class _ObservedTable(InFlightTable):
    """An in-flight table with observers."""

    __slots__ = ()

    def __setitem__(self, address: int, packet: Packet) -> None:
        for observer in self._observers:
            try:
                observer.taken(packet)
            except Exception:
                logger.exception("%r could not be looked at", packet)
        super().__setitem__(address, packet)

    def __delitem__(self, address: int) -> None:
        packet = self[address]
        super().__delitem__(address)
        self._tell_given_back(packet)

    def pop(self, address: int, default: None = None) -> Packet | None:  # type: ignore[override]
        packet = super().pop(address, default)
        if packet is not None:
            self._tell_given_back(packet)
        return packet

    def cancel_asked(self, packet: Packet) -> None:
        for observer in self._observers:
            try:
                observer.cancel_asked(packet)
            except Exception:
                logger.exception("%r could not be looked at", packet)

    def _tell_given_back(self, packet: Packet) -> None:
        for observer in self._observers:
            try:
                observer.given_back(packet)
            except Exception:
                logger.exception("%r could not be looked at", packet)
