"""IdleWatch: notices when nothing has been received and nothing sent for a while.

A message only leaves the time behind. One timer per session looks at it, and is set again
for when the time would be over if nothing else happened: so it rings about once per time
limit, however many messages there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..engine.timers import ScheduledCall


class IdleWatch:
    """Calls functions when a session has been idle for so long.

    limits: seconds, and what to call then, and now and again while it goes on being idle.
    deliver: has a function called in the session's turn.
    """

    __slots__ = ("_calls", "_deliver", "_home", "_limits", "_timer", "active_at", "now")

    def __init__(
        self,
        home: Home,
        deliver: Callable[[Callable[[], None]], None],
        limits: tuple[tuple[float, Callable[[], None]], ...],
    ) -> None:
        self.now = home.kernel.monotonic
        self.active_at = self.now()
        """When something was received or sent; whoever does that sets it to ``now()``."""
        self._home = home
        self._deliver = deliver
        self._limits = sorted(limits, key=lambda limit: limit[0])
        self._timer: ScheduledCall | None = None
        self._set(self._limits[0][0])

    def stop(self) -> None:
        """Call nothing any more."""
        self._limits = []
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, seconds: float) -> None:
        self._timer = self._home.call_later(seconds, self._deliver, self._look)

    def _look(self) -> None:
        """Call what is due, and set the timer for what is next. In the session's turn."""
        quiet = self.now() - self.active_at
        for seconds, function in self._limits:
            if quiet >= seconds:
                function()
        if self._limits:  # not stopped by one of those
            upcoming = (seconds - quiet for seconds, _ in self._limits if seconds > quiet)
            self._set(next(upcoming, self._limits[0][0]))
