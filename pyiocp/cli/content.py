"""Content: what a client sends, made from a seed, and whether it came back as it was sent.

Each connection has its own stream of messages, determined by the seed and the connection's number
alone. `Echo.take` compares every byte with the one expected in its place, so anything that is
lost, changed or moved, even within a message, shows.
"""

from __future__ import annotations

import random
from collections import Counter, deque


class Messages:
    """The messages of one connection, without end.

    The first has one byte, the second `size_max` bytes. The sizes of the others are
    distributed evenly over the orders of magnitude, so that there are as many of 1 to 10
    bytes as of 1,000 to 10,000.
    """

    def __init__(self, seed: int, connection: int, size_max: int) -> None:
        self._random = random.Random(f"{seed}/{connection}")
        self._size_max = size_max
        self._first = deque([1, size_max])

    def next(self) -> bytes:
        """Return the next message."""
        if self._first:
            size = self._first.popleft()
        else:
            size = round(self._size_max ** self._random.random())
        return self._random.randbytes(size)


class SameSize:
    """The messages of one connection, all of the same size: a few, over and over."""

    _DIFFERENT = 8

    def __init__(self, seed: int, connection: int, size: int) -> None:
        source = random.Random(f"{seed}/{connection}")
        self._messages = deque(source.randbytes(size) for _ in range(self._DIFFERENT))

    def next(self) -> bytes:
        """Return the next message."""
        self._messages.rotate()
        return self._messages[0]


class Echo:
    """Compares what comes back on one connection with what should."""

    def __init__(self) -> None:
        self.outstanding: deque[bytes] = deque()
        """Messages that were sent and are not back."""
        self.checked_bytes = 0
        """Bytes that came back as they should."""
        self._matched = 0
        """Bytes of the first outstanding message that came back."""
        self._wrong: bytearray | None = None
        """Everything received since the beginning of the first wrong message."""

    @property
    def is_wrong(self) -> bool:
        """Whether something wrong has come."""
        return self._wrong is not None

    def send(self, message: bytes) -> None:
        """Note that a message was sent."""
        self.outstanding.append(message)

    def take(self, data: bytes) -> int:
        """Check what came; return how many messages it completed."""
        if self._wrong is not None:
            self._wrong += data
            return 0
        completed = 0
        at = 0
        while at < len(data):
            message = self.outstanding[0] if self.outstanding else b""
            count = min(len(message) - self._matched, len(data) - at)
            # Slices of bytes, because comparing memoryviews takes ten times as long.
            end = self._matched + count
            if not count or data[at : at + count] != message[self._matched : end]:
                self._wrong = bytearray(message[: self._matched] + data[at:])
                break
            at += count
            self._matched = end
            self.checked_bytes += count
            if self._matched == len(message):
                self.outstanding.popleft()
                self._matched = 0
                completed += 1
        return completed

    def all_came(self) -> bool:
        """Return whether as many bytes came as were sent, or more."""
        expected = sum(map(len, self.outstanding))
        return (self._matched if self._wrong is None else len(self._wrong)) >= expected

    def fault(self) -> str | None:
        """Return what is wrong, now that nothing more will come; None if all came back."""
        expected = b"".join(self.outstanding)
        if self._wrong is None:
            if not expected:
                return None
            missing = len(expected) - self._matched
            return (
                f"lost: the last {missing:,} bytes of {len(self.outstanding)} messages did not"
                f" come back, from byte {self.checked_bytes:,} on"
            )
        return describe(expected, bytes(self._wrong), self.checked_bytes - self._matched)


def describe(expected: bytes, came: bytes, offset: int) -> str:
    """Return how what came differs from what was expected, from byte `offset` of the stream on."""
    first = next(
        (at for at, (a, b) in enumerate(zip(expected, came, strict=False)) if a != b),
        min(len(expected), len(came)),
    )
    where = f"byte {offset + first:,}"
    if len(came) < len(expected):
        return f"lost: {len(expected) - len(came):,} bytes did not come back, the first at {where}"
    if len(came) > len(expected):
        return f"extra: {len(came) - len(expected):,} bytes too many came, the first at {where}"
    if Counter(expected) == Counter(came):
        return f"reordered: the right bytes came in another order, from {where} on"
    different = sum(a != b for a, b in zip(expected, came, strict=True))
    return (
        f"changed: {different:,} of {len(expected):,} bytes came back different, the first at"
        f" {where}: {came[first]:#04x} instead of {expected[first]:#04x}"
    )
