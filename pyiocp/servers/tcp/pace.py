"""Pace: how much of a large message, or of a file, the system is given at a time.

The system reports a send when it has taken all of it. Whether a peer goes on reading is seen only
by those reports: so one that is slow gets pieces so small that it takes some in a second.
"""

from __future__ import annotations

_MOST = 1 << 16
"""More would save nothing: a call for 64 KB costs less than copying them."""

_LEAST = 1 << 12

_FAST_S = 0.05
"""A piece that is taken in less may be followed by one of twice the size."""

_SLOW_S = 0.25
"""A piece that takes longer is followed by one that should take as long as this."""


class Pace:
    """The size of the next piece, by the time that the last ones took."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = _MOST
        """Bytes of the next piece."""

    def taken(self, count: int, seconds: float) -> None:
        """The system has taken a piece of so many bytes, in so many seconds."""
        if seconds < _FAST_S:
            if count >= self.size:
                self.size = min(2 * self.size, _MOST)
        elif seconds > _SLOW_S:
            self.size = max(_LEAST, min(self.size, int(count * _SLOW_S / seconds)))
