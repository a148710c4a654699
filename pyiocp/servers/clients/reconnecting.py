"""ReconnectingClient: connects again, with a new session, whenever a session has ended."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ...handles.sockets.address_text import show_address
from .backoff import Backoff
from .connector import Connector

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.timers import ScheduledCall
    from ..host import Host
    from ..tcp.session import Session
    from .target import Target

logger = logging.getLogger("pyiocp")


class ReconnectingClient:
    """Keeps a session connected. Made by ``CompletionPort.keep_connected``.

    Its first session is made at once, the next when it is time to connect again after the
    previous one has ended, for any reason, even if this side has closed it. A session that
    lasts less than the longest wait (``backoff.maximum``) counts as a
    failed attempt, so that a server that accepts and hangs up is not hammered.

    ``session`` is the current session, or None between two; ``connections`` counts the
    connections made. With a limited number of ``backoff.attempts``, ``closed`` is True once
    they have failed in a row, or once a session was ended while it was still connecting.

    Thread safety: any thread may read these and call `close`, also from a hook.
    """

    def __init__(
        self,
        service: Host,
        target: Target,
        factory: Callable[[], Session],
        backoff: Backoff | None,
    ) -> None:
        self.session: Session | None = None
        self.connections = 0
        self.closed = False
        self._service = service
        self._target = target
        self._factory = factory
        self._backoff = Backoff() if backoff is None else backoff
        self._failures = 0
        self._stood_at: float | None = None
        self._timer: ScheduledCall | None = None
        #: Held to change `session`, `closed` and the timer together.
        self._lock = threading.Lock()
        service.add(self)
        try:
            self._connect()
        except BaseException:
            service.discard(self)
            raise

    def close(self) -> None:
        """Stop connecting, and close the current session. Closing twice does nothing."""
        with self._lock:
            self.closed = True
            session = self.session
            if self._timer is not None:
                self._timer.cancel()
        self._service.discard(self)
        if session is not None:
            session.close()

    def _connect(self) -> None:
        session = self._factory()
        with self._lock:
            if self.closed or self.session is not None:
                return
            connection = self._service.attach_session(
                session, self._target.tls, on_end=self._on_end
            )
            self.session = session
            self._stood_at = None
        Connector(
            self._service,
            self._target,
            connection,
            retry=self._backoff,
            failures=self._failures,
            on_connected=self._on_connected,
        ).start()

    def _connect_again(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self._connect()
        except BaseException as error:
            self.session = None
            self._wait()
            if not isinstance(error, Exception):
                raise
            logger.exception("%r: no session could be made", self)

    def _on_connected(self, session: Session) -> None:
        self.connections += 1
        self._stood_at = self._service.home.kernel.monotonic()

    def _on_end(self, session: Session) -> None:
        self._service.forget(session)
        # This may be called again, if it was interrupted, or just after it: see `Life`.
        with self._lock:
            if self.session is not None and self.session is not session:
                return  # the next one has been made
            stood_at = self._stood_at
            self.session = None
        if stood_at is None:  # all attempts of its connector have failed, or it was aborted
            self.close()
        else:
            if self._service.home.kernel.monotonic() - stood_at >= self._backoff.maximum:
                self._failures = 0
            self._wait()

    def _wait(self) -> None:
        """Connect after a while, unless that is to come already; or give up."""
        with self._lock:
            if self.closed or self._timer is not None:
                return
            self._failures += 1
            seconds = self._backoff.wait(self._failures)
            if seconds is not None:
                self._timer = self._service.home.call_later(seconds, self._connect_again)
        if seconds is None:
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else repr(self.session) if self.session else "waiting"
        return f"<ReconnectingClient to {show_address(self._target.address)}: {state}>"
