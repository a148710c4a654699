"""Acquisition: the future of a pool's connection, which its user may drop at any time."""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ...errors import PortClosedError
from ..tcp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.home import Home
    from ...engine.timers import ScheduledCall


class Waiter:
    """A place in a pool's queue. It does not keep its future, unless that has callbacks."""

    def __init__(self, future: Acquisition) -> None:
        self._future = weakref.ref(future)
        self.kept: Acquisition | None = None
        """The future, while only its callbacks wait for it."""
        self.timer: ScheduledCall | None = None
        self.session: Session | None = None
        """What its future has been given, and nobody has taken from there."""

    @property
    def future(self) -> Acquisition | None:
        """The future, or None if it has been dropped."""
        return self._future()

    def let_go(self, _future: object = None) -> None:
        """Keep the future no longer: it is done, and its callbacks have been called."""
        self.kept = None

    def stop(self) -> None:
        """Wait no longer: the future is about to be done, or there is none."""
        self.let_go()
        if self.timer is not None:
            self.timer.cancel()


class Acquisition(Future[Session]):
    """The future of a session; see `ConnectionPool.acquire`.

    A session that is in it when it is dropped, or that would come after that or after a time-out
    of `result`, goes back to the pool.

    give_up: called with its waiter when nobody waits for it any more, and on the port if it was
        dropped: that may happen anywhere.
    """

    def __init__(self, home: Home, give_up: Callable[[Waiter], None]) -> None:
        super().__init__()
        self._home = home
        self._give_up = give_up
        self.waiter = Waiter(self)

    def give(self, session: Session) -> None:
        """Have the session for a result. Called once, by the pool."""
        self.waiter.session = session
        self.set_result(session)

    def result(self, timeout: float | None = None) -> Session:
        """Return the session, or raise what went wrong; see `concurrent.futures.Future`.

        After a time-out it is cancelled.
        """
        try:
            session = super().result(timeout)
        except TimeoutError:
            if self.cancel():
                raise
            session = super().result()  # it has just come; or acquire's own time-out has
        self.waiter.session = None
        return session

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what went wrong, if something did; see `concurrent.futures.Future`.

        After a time-out it is cancelled.
        """
        try:
            return super().exception(timeout)
        except TimeoutError:
            if self.cancel():
                raise
            return super().exception()

    def add_done_callback(self, fn: Callable[[Future[Session]], object]) -> None:
        """Have `fn` called with this when it is done, even if nobody else has it any more."""
        waiter = self.waiter
        if not self.done():
            waiter.kept = self
        super().add_done_callback(fn)
        super().add_done_callback(waiter.let_go)

    def cancel(self) -> bool:
        """Wait no longer; False if it is done already."""
        cancelled = super().cancel()
        if cancelled:
            self._give_up(self.waiter)
        return cancelled

    def __del__(self) -> None:
        # No lock is taken here: a collection may come while this thread has it.
        waiter: Waiter | None = getattr(self, "waiter", None)
        if waiter is not None and (waiter.session is not None or not self.done()):
            # Nor is the code changed that somebody's call has just left: this may wake a thread.
            code = ctypes.get_last_error()
            with contextlib.suppress(PortClosedError):
                self._home.call_soon(self._give_up, waiter)
            ctypes.set_last_error(code)
