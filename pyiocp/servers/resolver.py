"""Resolver: looks names up in threads of its own, because the system's look-up blocks.

A name server may take seconds to answer, and a port's workers have other things to do
meanwhile. GetAddrInfoExW does not help: it is asynchronous on Windows 8 and later only, and
its completion does not come by way of a port.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from .resolve import resolve_all

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[list[tuple[int, Any]], list[Exception]], None]
    """Takes what was found, and what went wrong."""

_THREADS_MAX = 16
"""Names that are looked up at a time; the others wait."""


class Resolver:
    """Threads that look names up, as long as there are any to look up."""

    def __init__(self) -> None:
        self._wanted: deque[tuple[tuple[Any, ...], Found]] = deque()
        self._lock = threading.Lock()
        self._threads = 0

    def look_up(self, addresses: tuple[Any, ...], found: Found) -> None:
        """Call `found`, in another thread, with all that the addresses mean.

        The list of failures has one for each address that means nothing.
        """
        with self._lock:
            self._wanted.append((addresses, found))
            if self._threads >= _THREADS_MAX:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="pyiocp resolver", daemon=True).start()
        except RuntimeError:  # the system gives no more threads: late is better than never
            self._work()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._threads -= 1
                    return
                addresses, found = self._wanted.popleft()
            meanings: list[tuple[int, Any]] = []
            failures: list[Exception] = []
            for address in addresses:
                try:
                    meanings.extend(resolve_all(address))
                except (OSError, UnicodeError) as error:  # UnicodeError: no host name at all
                    failures.append(error)
            found(meanings, failures)
