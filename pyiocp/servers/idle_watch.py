"""IdleWatch: notices when nothing has been received or sent for a while.

A message only stores the time. One timer per session checks that, and is set again for the
moment when the limit would be reached: so it fires about once per time limit, however many
messages there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..engine.timers import ScheduledCall


class IdleWatch:
    """Calls functions when a session has been idle for some time.

    limits: seconds, and what to call then, and again while it stays idle.
    deliver: calls a function within the session's inbox.
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
        """When something was last received or sent: set it to ``now()`` then."""
        self._home = home
        self._deliver = deliver
        self._limits = sorted(limits, key=lambda limit: limit[0])
        self._timer: ScheduledCall | None = None
        self._set(self._limits[0][0])

    def stop(self) -> None:
        """Stop calling."""
        self._limits = []
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, seconds: float) -> None:
        self._timer = self._home.call_later(seconds, self._deliver, self._look)

    def _look(self) -> None:
        """Call what is due, and set the timer for what is next. Within the inbox."""
        quiet = self.now() - self.active_at
        for seconds, function in self._limits:
            if quiet >= seconds:
                function()
        if self._limits:  # not stopped by one of those
            upcoming = (seconds - quiet for seconds, _ in self._limits if seconds > quiet)
            self._set(next(upcoming, self._limits[0][0]))
