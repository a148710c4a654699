"""Waker: makes a thread that waits on a port return, by a packet that belongs to no operation.

Packets pile up in the kernel while no thread takes them, so one is posted only when none
is under way: the thread that dequeues it says so.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ..errors import error_of_code

if TYPE_CHECKING:
    from .home import Home

logger = logging.getLogger("pyiocp")

WAKE_KEY = 0xFFFFFFFF
"""The number that the packet is posted with; handles have theirs from 1 upwards."""


class Waker:
    """The wake-up packet of one port. Any thread may call any method."""

    def __init__(self, home: Home) -> None:
        self._home = home
        #: Reentrant: the user's signal handler may wake, and interrupts the main thread
        #: wherever it is.
        self._lock = threading.RLock()
        self._posted = False

    def wake(self) -> None:
        """Post the packet, unless it is under way.

        Source: https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus
        """
        home = self._home
        with self._lock:
            if self._posted or not home.handle:
                return
            self._posted = True
            if home.kernel.PostQueuedCompletionStatus(home.handle, 0, WAKE_KEY, None):
                return
            # The kernel is out of memory. A waiting thread looks again within a second,
            # and the next wake() tries again.
            self._posted = False
            code = home.kernel.last_error()
        logger.warning("%s", error_of_code("PostQueuedCompletionStatus", code, None, home.port))

    def arrived(self) -> None:
        """Take note that the packet has been dequeued."""
        with self._lock:
            self._posted = False
