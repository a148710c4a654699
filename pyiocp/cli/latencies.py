"""Latencies: many durations, kept as counts per size, so a long run needs no more memory.

Each size is one per cent above the one before, so a quantile is off by at most that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

_GROWTH = math.log(1.01)
_SHORTEST_S = 1e-6


class Latencies:
    """Durations in seconds, and their quantiles."""

    def __init__(self, durations_s: Iterable[float] = ()) -> None:
        self._counts: Counter[int] = Counter()
        self.longest_s = 0.0
        for duration_s in durations_s:
            self.add(duration_s)

    def add(self, duration_s: float) -> None:
        """Count one duration; below a microsecond it counts as one."""
        size = max(duration_s, _SHORTEST_S) / _SHORTEST_S
        self._counts[round(math.log(size) / _GROWTH)] += 1
        self.longest_s = max(self.longest_s, duration_s)

    def merge(self, other: Latencies) -> None:
        """Add the durations of another object."""
        self._counts.update(other._counts)
        self.longest_s = max(self.longest_s, other.longest_s)

    def __len__(self) -> int:
        return self._counts.total()

    def quantile_s(self, share: float) -> float:
        """Return the duration that `share` (0 to 1) of all do not exceed; 0.0 if there are none."""
        wanted = share * len(self)
        seen = 0
        for size in sorted(self._counts):
            seen += self._counts[size]
            if seen >= wanted:
                return min(math.exp(size * _GROWTH) * _SHORTEST_S, self.longest_s)
        return 0.0
