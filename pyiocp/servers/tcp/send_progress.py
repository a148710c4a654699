"""SendProgress: watches that a peer goes on taking what is sent to it.

It looks at a counter now and then, so sending costs nothing more. There is one only while
something depends on it: while a session closes with bytes that wait, or receives nothing because
too many do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.home import Home
    from ...engine.timers import ScheduledCall

_LOOKS = 8
"""How many times it looks within the time that is allowed."""

_GRACE_S = 5.0
"""Seconds before the least rate counts."""

_PIECE_RATE = 1 << 14
"""Bytes a second. The system reports a send when all of it is taken: a piece of 64 KB may take
three seconds more, and the next one is smaller."""


class SendCounter(Protocol):
    """What is watched: `Sending`."""

    @property
    def progress(self) -> int:
        """A number that grows by the bytes that the peer's side has taken."""

    @property
    def piece_bytes(self) -> int:
        """Bytes of the piece under way, of which nothing is known yet."""


class SendProgress:
    """Calls a function once, when nothing has been taken for too long, or too little.

    deliver: calls a function within the session's inbox.
    seconds: without progress.
    rate: bytes a second that have to be taken on average, after five seconds; 0 for no such rule.
    on_stall: called within the inbox.
    """

    __slots__ = (
        "_at_first",
        "_begun_at",
        "_deliver",
        "_home",
        "_on_stall",
        "_rate",
        "_seconds",
        "_seen",
        "_seen_at",
        "_sends",
        "_timer",
    )

    def __init__(
        self,
        home: Home,
        deliver: Callable[[Callable[[], None]], None],
        sends: SendCounter,
        seconds: float,
        on_stall: Callable[[], None],
        rate: float = 0.0,
    ) -> None:
        self._home = home
        self._deliver = deliver
        self._sends = sends
        self._seconds = seconds
        self._rate = rate
        self._on_stall: Callable[[], None] | None = on_stall
        self._begun_at = self._seen_at = home.kernel.monotonic()
        self._at_first = self._seen = sends.progress
        self._timer: ScheduledCall | None = None
        self._set()

    def stop(self) -> None:
        """Watch no longer. Any thread may call it."""
        self._on_stall = None
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self._timer = self._home.call_later(self._seconds / _LOOKS, self._deliver, self._look)

    def _look(self) -> None:
        """Look whether something has been taken since the last time. Within the inbox."""
        on_stall = self._on_stall
        if on_stall is None:
            return
        now = self._home.kernel.monotonic()
        progress = self._sends.progress
        if progress != self._seen:
            self._seen, self._seen_at = progress, now
        quiet = now - self._seen_at
        due = self._rate * (now - self._begun_at - _GRACE_S)
        blind = self._sends.piece_bytes
        allowed = self._seconds + max(0, blind - _PIECE_RATE) / _PIECE_RATE
        if quiet >= allowed or progress + blind - self._at_first < due:
            self._on_stall = None
            on_stall()
        else:
            self._set()
