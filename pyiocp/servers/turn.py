"""A turn: how much of what one receive brought is handed over before others have theirs.

64 KB can hold 30,000 messages. A layer hands over a few of them, and then goes on at the end of
the port's queue, behind all that waits there; meanwhile the session receives nothing. What is
sent within a turn goes in one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from .tcp.connection import Connection

_STEPS = (7, 8, 8, 8, 8, 8, 8, 8)
"""After the first message: how many are handed over between two looks at the clock."""

_SECONDS = 0.01
"""What a turn may take, unless a single step takes longer."""


def turn(connection: Connection) -> Generator[int, None, None]:
    """Yield how many messages to hand over next, as long as the turn lasts.

    A single one, as most receives bring, is sent at once. From the second on what is sent is held
    until the iterator is closed. Within the inbox.
    """
    yield 1
    monotonic = connection.open_stream.home.kernel.monotonic
    ends_at = monotonic() + _SECONDS
    sends = connection.sends
    sends.hold()
    try:
        for step in _STEPS:
            yield step
            if monotonic() >= ends_at:
                return
    finally:
        sends.release()
