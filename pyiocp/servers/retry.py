"""Retry: calls a function again a little later, after something that the system has refused."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from ..errors import PortClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home

logger = logging.getLogger("pyiocp")


class Retry:
    """Calls `function` after `first_s` seconds, after twice as many the next time, up to `max_s`.

    Any thread may call any method. On a closed port, nothing is called.
    """

    def __init__(
        self, home: Home, function: Callable[[], None], *, first_s: float, max_s: float
    ) -> None:
        self._home = home
        self._function = function
        self._first_s = first_s
        self._max_s = max_s
        self._seconds = first_s
        self._scheduled = False
        self.refused = False
        """Whether there is anything to `reset`."""

    def reset(self) -> None:
        """Begin with the shortest time again: it was not refused."""
        self.refused = False
        self._seconds = self._first_s

    def later(self, owner: object, error: Exception) -> None:
        """Call it after a while, and log why; unless it will be called anyway."""
        self.refused = True
        if not self._scheduled:
            logger.warning("%r tries again in %g s: %s", owner, self._seconds, error)
            self.soon()
            self._seconds = min(self._seconds * 2, self._max_s)

    def soon(self) -> None:
        """Call it after a while, unless it will be called anyway."""
        if self._scheduled:
            return
        # First: another thread may call it before this one goes on. Two that come here at once
        # schedule two calls, which does no harm.
        self._scheduled = True
        try:
            with contextlib.suppress(PortClosedError):
                self._home.call_later(self._seconds, self._call)
        except BaseException:
            self._scheduled = False
            raise

    def _call(self) -> None:
        self._scheduled = False
        self._function()
