"""Resolver: looks names up in its own threads, because the system's look-up blocks.

A name server may take seconds to answer, and a port's workers must not wait for it.
GetAddrInfoExW does not help: it is asynchronous on Windows 8 and later only, and its completion
cannot come through a port.
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
"""How many names are looked up at a time; the others wait."""


class Resolver:
    """Threads that look names up, and end when there are none left."""

    def __init__(self) -> None:
        self._wanted: deque[tuple[tuple[Any, ...], Found]] = deque()
        self._lock = threading.Lock()
        self._threads = 0

    def look_up(self, addresses: tuple[Any, ...], found: Found) -> None:
        """Call `found`, in another thread, with everything that the addresses resolve to.

        The list of failures has one for each address that could not be resolved.
        """
        with self._lock:
            self._wanted.append((addresses, found))
            if self._threads >= _THREADS_MAX:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="pyiocp resolver", daemon=True).start()
        except RuntimeError:  # the system has no more threads: better late than never
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
                except (OSError, UnicodeError) as error:  # UnicodeError: not a host name
                    failures.append(error)
            found(meanings, failures)
