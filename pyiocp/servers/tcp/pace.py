"""Pace: how much of a large message, or of a file, the system is given at a time.

The system reports a send when it has taken all of it. Whether a peer goes on reading is seen only
by those reports: so one that is slow gets pieces so small that it takes some in a second.
"""

from __future__ import annotations

_FIRST = 1 << 16
_LEAST = 1 << 12
_MOST = 1 << 18

_FAST_S = 0.25
"""A whole piece that is taken in less is followed by one of twice the size. It is longer than the
way there and back, so that the pieces do not hold up a fast connection that is long."""

_SLOW_S = 1.0
"""A piece that takes longer is followed by one that should take half as long as this."""


class Pace:
    """The size of the next piece, by the time that the last ones took."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = _FIRST
        """Bytes of the next piece."""

    def taken(self, count: int, seconds: float) -> None:
        """The system has taken a piece of so many bytes, in so many seconds."""
        if seconds < _FAST_S:
            if count >= self.size:
                self.size = min(2 * self.size, _MOST)
        elif seconds > _SLOW_S:
            self.size = max(_LEAST, min(self.size, int(count * _SLOW_S / 2 / seconds)))
