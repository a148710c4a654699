"""Admission: which connections a listener lets in, and when.

There are limits of how many sessions may be open, how many of them may be in their TLS handshake,
and how many may begin in a second: each in all and from one address. If an address is over its
limit, or the server is full, waiting would not help: the connection is reset. If too many begin
in a second, the rest wait in the system's backlog.

What a connection takes is its `Slot`. Counts must come back whatever is raised, by a signal
handler too (see `queue`): so a slot and the counts change together, without a call in between,
and giving a slot back twice does nothing.
"""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("pyiocp")

_MAPPED = b"\0" * 10 + b"\xff\xff"
"""The prefix of an IPv4 address on a dual-stack socket: ``::ffff:192.0.2.1``."""

_SOON_S = 1e-6
"""Waits shorter than that are rounding errors."""

_NETWORK_BYTES = 8
"""The part of an IPv6 address that belongs to one household or host."""

_SWEEP_FIRST = 1024
"""Number of addresses from which on those that no longer matter are removed."""

_REFUSALS_LOGGED_EVERY_S = 10.0
"""How often a server logs that it refuses clients."""


_NUMBERS = (
    "sessions",
    "sessions_per_address",
    "handshakes",
    "handshakes_per_address",
    "send_queue_bytes",
)


@dataclass(frozen=True)
class Limits:
    """What a listener lets in: a plain value; None, the default of each, is no limit.

    sessions: how many sessions may be open at a time. More are reset.
    sessions_per_address: how many of them may be of one peer address. More are reset.
    per_second: how many sessions may begin in a second. As many may come at once; then
        accepting pauses, so that the others wait in the backlog for their turn. A
        `DatagramServer` has no backlog: it drops what would begin more.
    per_second_per_address: how many may begin in a second from one peer address. As many
        may come at once (but always one); more are reset.
    handshakes: how many of the open sessions may be in their TLS handshake at a time. More
        are reset. Only a listener with TLS has any.
    handshakes_per_address: how many of them may be of one peer address. More are reset.
    send_queue_bytes: how many bytes may wait to be sent on all sessions together. Over that
        the sessions with the most are aborted, the largest first, with a
        `SendQueueOverflowError`. Only a listener has it; a `DatagramServer` has ``sends``.

    A session counts from when its connection is accepted: during its TLS handshake, and while
    a listener with ``first_data`` waits for that. (What such a listener's own accepts wait for,
    ``accepts`` connections at most, has no address yet and is not counted.)

    An IPv6 address counts by its first 64 bits; an IPv4 address of a dual-stack listener
    counts as an IPv4 address. The numbers of sessions and handshakes are at least 1, the rates
    more than 0; ValueError if not.
    """

    sessions: int | None = None
    sessions_per_address: int | None = None
    per_second: float | None = None
    per_second_per_address: float | None = None
    handshakes: int | None = None
    handshakes_per_address: int | None = None
    send_queue_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name} must be at least 1, not {value}: close the listener")
        for name in ("per_second", "per_second_per_address"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, not {value}: pause the listener")


class _Rate:
    """A rate of events, of which a second's worth, but at least one, may come at once.

    ``due`` is when the next one would come if all were evenly spaced.
    """

    def __init__(self, per_second: float) -> None:
        self.distance_s = 1.0 / per_second
        self.ahead_s = max(1.0, self.distance_s) - self.distance_s
        """How far ahead of an even spacing events may be."""

    def wait(self, due: float, now: float) -> float:
        """Return how many seconds the next event has to wait."""
        seconds = due - self.ahead_s - now
        return seconds if seconds > _SOON_S else 0.0

    def next(self, due: float, now: float) -> float:
        """Return when the one after the next is due."""
        return max(due, now) + self.distance_s


class _Address:
    """What is known of one peer address."""

    __slots__ = ("due", "handshakes", "network", "sessions")

    def __init__(self, network: Any) -> None:
        self.network = network
        self.sessions = 0
        self.handshakes = 0
        self.due = 0.0


class Slot:
    """What one connection takes of the limits. Any thread may call any method.

    handshaking: whether it is in its TLS handshake.
    """

    __slots__ = ("_admission", "address", "handshaking", "held")

    def __init__(self, admission: Admission, handshaking: bool) -> None:
        self._admission = admission
        self.handshaking = handshaking
        self.held = False
        """Whether it is counted."""
        self.address: _Address | None = None
        """Where it is counted as well."""

    def established(self) -> None:
        """No longer count it as a handshake."""
        self._admission.end_handshake(self)

    def leave(self) -> None:
        """Stop counting it. Calling this twice does nothing."""
        self._admission.give_back(self)


class Admission:
    """The sessions of one server, counted against its `Limits`. Any thread may call it.

    waits: whether a connection can wait to begin; if not, ``per_second`` refuses it.
    """

    def __init__(
        self, limits: Limits, monotonic: Callable[[], float], *, waits: bool = True
    ) -> None:
        self._limits = limits
        self._waits = waits
        self._monotonic = monotonic
        #: Reentrant: the user's signal handler may shut down, and interrupts the main thread
        #: wherever it is.
        self._lock = threading.RLock()
        self._sessions = 0
        self._handshakes = 0
        self._due = 0.0
        self._rate = _Rate(limits.per_second) if limits.per_second else None
        each = limits.per_second_per_address
        self._address_rate = _Rate(each) if each else None
        self._by_address = bool(
            each or limits.sessions_per_address or limits.handshakes_per_address
        )
        self._addresses: dict[Any, _Address] = {}
        self._sweep_at = _SWEEP_FIRST

    def enter(self, peer: Any, slot: Slot | None = None) -> str | None:
        """Count a connection; or return the limit that refuses it, and count nothing.

        slot: what gives it back; without one, `leave` does.
        """
        limits = self._limits
        handshaking = slot is not None and slot.handshaking
        with self._lock:
            if limits.sessions is not None and self._sessions >= limits.sessions:
                return "sessions"
            if (
                handshaking
                and limits.handshakes is not None
                and self._handshakes >= limits.handshakes
            ):
                return "handshakes"
            now = self._monotonic()
            rate = None if self._waits else self._rate
            if rate is not None and rate.wait(self._due, now):
                return "per_second"
            address = None
            if self._by_address:
                address = self._known(network_of(peer), now)
                limit = self._limit_of(address, now, handshaking)
                if limit is not None:
                    return limit
            if rate is not None:
                self._due = rate.next(self._due, now)
            # No call from here on: all of it is counted, or nothing.
            if address is not None:
                address.sessions += 1
                address.handshakes += handshaking
            self._sessions += 1
            self._handshakes += handshaking
            if slot is not None:
                slot.address = address
                slot.held = True
        return None

    def _limit_of(self, address: _Address, now: float, handshaking: bool) -> str | None:
        """Return the limit that one more of this address is over; else it may begin now."""
        limits = self._limits
        most = limits.sessions_per_address
        if most is not None and address.sessions >= most:
            return "sessions_per_address"
        most = limits.handshakes_per_address
        if handshaking and most is not None and address.handshakes >= most:
            return "handshakes_per_address"
        if self._address_rate is not None:
            if self._address_rate.wait(address.due, now):
                return "per_second_per_address"
            address.due = self._address_rate.next(address.due, now)
        return None

    def refusing(self, peer: Any) -> str | None:
        """Return the limit that would refuse a connection, counting nothing.

        Of several it is the one that somebody else's end would help least: a rate, then the
        address's sessions, then all sessions.
        """
        limits = self._limits
        with self._lock:
            now = self._monotonic()
            if not self._waits and self._rate is not None and self._rate.wait(self._due, now):
                return "per_second"
            address = self._addresses.get(network_of(peer)) if self._by_address else None
            if address is not None:
                if self._address_rate is not None and self._address_rate.wait(address.due, now):
                    return "per_second_per_address"
                most = limits.sessions_per_address
                if most is not None and address.sessions >= most:
                    return "sessions_per_address"
            full = limits.sessions is not None and self._sessions >= limits.sessions
        return "sessions" if full else None

    def leave(self, peer: Any) -> None:
        """Stop counting a connection that has no slot."""
        with self._lock:
            address = self._addresses[network_of(peer)] if self._by_address else None
            self._sessions -= 1
            if address is not None:
                address.sessions -= 1
            self._forget(address)

    def end_handshake(self, slot: Slot) -> None:
        """Stop counting it as a handshake."""
        with self._lock:
            if slot.held and slot.handshaking:
                slot.handshaking = False
                self._handshakes -= 1
                if slot.address is not None:
                    slot.address.handshakes -= 1

    def give_back(self, slot: Slot) -> None:
        """Stop counting a connection."""
        with self._lock:
            if slot.held:
                slot.held = False
                self._sessions -= 1
                self._handshakes -= slot.handshaking
                if slot.address is not None:
                    slot.address.sessions -= 1
                    slot.address.handshakes -= slot.handshaking
            self._forget(slot.address)

    def _forget(self, address: _Address | None) -> None:
        """Remove an address, if nothing is to be known of it any more. Called with the lock."""
        if (
            address is not None
            and not address.sessions
            and address.due <= self._monotonic()
            and self._addresses.get(address.network) is address
        ):
            del self._addresses[address.network]

    def wait(self) -> float:
        """Return how many seconds an admitted connection has to wait to begin."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._monotonic()
            seconds = self._rate.wait(self._due, now)
            self._due = self._rate.next(self._due, now)
        return seconds

    def _known(self, network: Any, now: float) -> _Address:
        """Return the entry of an address; the number of entries stays bounded."""
        if len(self._addresses) >= self._sweep_at:
            # One by one: a signal handler may change them meanwhile.
            for key, address in list(self._addresses.items()):
                if not address.sessions and address.due <= now:
                    self._addresses.pop(key, None)
            self._sweep_at = max(_SWEEP_FIRST, 2 * len(self._addresses))
        return self._addresses.setdefault(network, _Address(network))


class RefusalLog:
    """Logs that clients are refused, but not each of them: they may be many.

    Any thread may call it.
    """

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._logged_at = -_REFUSALS_LOGGED_EVERY_S

    def refused(self, owner: Any, count: int, limit: str) -> None:
        """Log, if it is time, that `limit` has refused a client of `owner`'s, `count` so far."""
        now = self._monotonic()
        with self._lock:
            if now - self._logged_at < _REFUSALS_LOGGED_EVERY_S:
                return
            self._logged_at = now
        text = "%r: %d refused by now, the last one because of %s=%s"
        logger.warning(text, owner, count, limit, getattr(self._limits, limit))


def network_of(peer: Any) -> Any:
    """Return what a peer address counts as: an IPv4 address, or 64 bits of an IPv6 one."""
    host: str = peer[0]
    if len(peer) == 2:
        return socket.inet_aton(host)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(_MAPPED):
        return packed[len(_MAPPED) :]
    return packed[:_NETWORK_BYTES]
