"""Turns: how much of what one receive brought is handed over before others have theirs.

64 KB can hold 30,000 messages. A layer hands over a few of them, and then goes on at the end of
the port's queue, behind all that waits there; meanwhile the session receives nothing. What is
sent within a turn goes in one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .layer import Layer
from .session_state import OPEN

if TYPE_CHECKING:
    from collections.abc import Generator

    from .tcp.connection import Connection
    from .tcp.session import Session
    from .transport import Hooks

_STEPS = (1, 2, 4, 8, 8, 8, 8, 8, 8, 8)
"""After the first message: how many are handed over between two looks at the clock. Few at first,
because their hooks may be slow; 64 in all."""

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


class TurnLayer(Layer):
    """A layer that hands over many things of one receive, and can be paused between any two."""

    def __init__(self, session: Session, hooks: Hooks) -> None:
        super().__init__(session, hooks)
        #: Whether nothing may be handed over; `abort` sets it too, for good.
        self._paused = False
        self._aborted = False
        #: Whether `_go_on` will come.
        self._due = False

    def pause(self) -> None:
        """Hand over nothing more; see `Session.pause_receiving`."""
        self._paused = True
        self.below.pause()

    def resume(self) -> None:
        """Hand over what waits, then receive again; see `Session.resume_receiving`."""
        if not self._aborted:
            self._paused = False
            self._go_on_later()

    def abort(self) -> None:
        """Reset, and hand over nothing more; see `Session.abort`."""
        self._aborted = self._paused = True
        self.below.abort()

    def _go_on_later(self) -> None:
        if not self._due:
            self._due = True
            self.connection.submit(self._go_on)

    def _end_turn(self) -> None:
        """Leave the rest to the next turn."""
        self.below.pause()
        self._go_on_later()

    def _keeps_back(self) -> bool:
        """Tell whether what has just come has to wait: for a resume, or for its turn.

        It was under way; or another thread's resume() has undone the pause below. Then no more
        than this is received.
        """
        if not (self._paused or self._due):
            return False
        self.below.pause()
        return True

    def _may_go_on(self) -> bool:
        return not self._paused and self.below.state is OPEN

    def _go_on(self) -> None:
        """Go on after a pause, or with the next turn. Within the inbox."""
        raise NotImplementedError
