"""Resolver: looks names up in its own threads, because the system's look-up blocks.

A name server may take seconds to answer, and a port's workers must not wait for it.
GetAddrInfoExW does not help: it is asynchronous on Windows 8 and later only, and its completion
cannot come through a port.

Nothing can end a look-up that is under way. One that nobody waits for any more goes on in its
thread, but another thread takes that one's place, so that it holds up nobody else.
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

_AT_A_TIME_MAX = 16
"""How many names that somebody waits for are looked up at a time; the others wait."""

THREADS_MAX = 256
"""How many threads there are at most, with those whose look-ups were given up."""


class LookUp:
    """One look-up; `give_up` when nobody waits for it any more. Made by `Resolver.look_up`."""

    def __init__(
        self, resolver: Resolver, addresses: tuple[Any, ...], family: int, found: Found
    ) -> None:
        self.addresses = addresses
        self.family = family
        self.found = found
        self.given_up = False
        self._resolver = resolver

    def give_up(self) -> None:
        """Call nobody, and be in nobody's way. Any thread may call it, more than once."""
        self._resolver.give_up(self)


class Resolver:
    """Threads that look names up, and end when there are none left. Any thread may call it."""

    def __init__(self) -> None:
        self._wanted: deque[LookUp] = deque()
        self._lock = threading.Lock()
        self._threads = 0
        self._starting = 0
        """How many of the threads have not taken anything yet."""
        self._under_way: set[LookUp] = set()
        """What is being looked up, without what was given up."""

    def look_up(self, addresses: tuple[Any, ...], found: Found, family: int = 0) -> LookUp:
        """Call `found`, in another thread, with everything that the addresses resolve to.

        The list of failures has one for each address that could not be resolved. family: as for
        `resolve_all`.
        """
        look_up = LookUp(self, addresses, family, found)
        with self._lock:
            self._wanted.append(look_up)
        self._start_thread()
        return look_up

    def give_up(self, look_up: LookUp) -> None:
        """See `LookUp.give_up`."""
        with self._lock:
            look_up.given_up = True
            self._under_way.discard(look_up)
            if look_up in self._wanted:
                self._wanted.remove(look_up)
        self._start_thread()

    def _start_thread(self) -> None:
        """Start a thread, if there is something for it, and room."""
        with self._lock:
            taken = len(self._under_way) + self._starting
            if (
                len(self._wanted) <= self._starting
                or taken >= _AT_A_TIME_MAX
                or self._threads >= THREADS_MAX
            ):
                return
            self._threads += 1
            self._starting += 1
        try:
            threading.Thread(target=self._work, name="pyiocp resolver", daemon=True).start()
        except RuntimeError:  # the system has no more threads: better late than never
            self._work()

    def _work(self) -> None:
        """Look up what is wanted, one after the other, until there is nothing or no place."""
        with self._lock:
            self._starting -= 1
        look_up = None
        try:
            while look_up := self._next(look_up):
                meanings, failures = _resolve(look_up)
                if not look_up.given_up:
                    look_up.found(meanings, failures)
        finally:
            with self._lock:
                self._threads -= 1
                self._under_way -= {look_up}
            self._start_thread()  # for what has come since, or if this one has failed

    def _next(self, done: LookUp | None) -> LookUp | None:
        """Return what this thread looks up next, after what it has done; None: it ends."""
        with self._lock:
            self._under_way -= {done}
            if not self._wanted or len(self._under_way) >= _AT_A_TIME_MAX:
                return None
            look_up = self._wanted.popleft()
            self._under_way.add(look_up)
            return look_up


def _resolve(look_up: LookUp) -> tuple[list[tuple[int, Any]], list[Exception]]:
    meanings: list[tuple[int, Any]] = []
    failures: list[Exception] = []
    for address in look_up.addresses:
        if look_up.given_up:
            break
        try:
            meanings.extend(resolve_all(address, look_up.family))
        except Exception as error:  # noqa: BLE001, whatever it is, who waits is told
            failures.append(error)
    return meanings, failures
