"""Inbox: entries that are worked off one at a time, by whichever thread is there.

A session's completions, and calls from outside that end in one of its hooks, pass through
its inbox. No thread ever waits for another: who finds the inbox in use leaves the entry
to the thread that is using it.

What belongs here: that exclusion. What an entry does is not known here.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Inbox:
    """Calls functions in the order of their delivery, never two at once."""

    __slots__ = ("_busy", "_entries", "_on_failure")

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self._entries: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._busy = threading.Lock()
        self._on_failure = on_failure

    def deliver(self, function: Callable[..., None], *arguments: Any) -> None:
        """Add an entry, and work off what is there unless another thread is at it.

        What an entry raises goes to `on_failure`, within the exclusion.
        """
        entries = self._entries
        entries.append((function, arguments))
        # The lock is only ever tried, and after letting go of it the entries are looked
        # at again: an entry that came just too late for one pass is in the next.
        while entries and self._busy.acquire(False):
            try:
                while entries:
                    function, arguments = entries.popleft()
                    try:
                        function(*arguments)
                    except Exception as error:  # noqa: BLE001, it may be a user's hook
                        self._on_failure(error)
            finally:
                self._busy.release()
