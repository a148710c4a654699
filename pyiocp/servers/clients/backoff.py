"""Backoff: how long to wait before trying again.

Each wait is twice the one before, up to a limit, so a server that is down is not hammered; part
of it is random, so clients that were disconnected together do not come back together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """The waits between attempts: a plain value.

    first: seconds before the second attempt, more than 0.
    maximum: the longest wait, at least `first`.
    factor: each wait is this many times the one before, at least 1.
    jitter: what part of each wait is random, 0 to 1: 10 s with 0.5 become 5 s to 10 s.
    attempts: after how many attempts to give up, at least 1; None: never.

    ValueError for other values.
    """

    first: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.maximum:
            raise ValueError(f"{self!r}: needs 0 < first <= maximum, in seconds")
        if not self.factor >= 1:
            raise ValueError(f"{self!r}: factor must be at least 1")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"{self!r}: jitter is a part, from 0 to 1")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"{self!r}: attempts must be at least 1, or None")

    def wait(self, failed: int) -> float | None:
        """Return how many seconds to wait after that many failures in a row.

        None means that it was the last attempt.
        """
        if self.attempts is not None and failed >= self.attempts:
            return None
        seconds = self.first
        for _ in range(failed - 1):  # no power: that overflows after a thousand failures
            if seconds >= self.maximum:
                break
            seconds *= self.factor
        return min(seconds, self.maximum) * (1 - self.jitter * random.random())
