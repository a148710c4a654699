"""ReconnectingClient: a client that comes back, with a new session, when its server has gone.

What belongs here: when to connect again. How that is done is known to the `connector`.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from ..address_text import show_address
from ..engine.interrupt import calls_hooks
from .connector import Connector

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.timers import Timer
    from ..port import CompletionPort
    from .backoff import Backoff
    from .session import Session
    from .tls_side import TlsSide

logger = logging.getLogger("pyiocp")


class ReconnectingClient:
    """Keeps a session connected. Made by ``CompletionPort.keep_connected``.

    Its first session is made at once, the next one when it is time to connect again after
    the one before has ended, for whatever reason: also if it was closed on this side. A
    session that stands for less than the longest wait (``backoff.maximum``) counts as a
    failed attempt, so that a server that accepts and hangs up is not hammered.

    ``session`` is the present session, or None between two; ``connections`` counts those
    that were made. With a limited number of ``backoff.attempts``, ``closed`` is True once
    they have failed in a row, or once a session was ended while it was still connecting.

    Thread safety: any thread may read these and call `close`, also from a hook.
    """

    def __init__(
        self,
        port: CompletionPort,
        address: Any,
        factory: Callable[[], Session],
        *,
        timeout: float | None,
        no_delay: bool,
        backoff: Backoff,
        tls: TlsSide | None,
    ) -> None:
        self.session: Session | None = None
        self.connections = 0
        self.closed = False
        self._port = port
        self._address = address
        self._factory = factory
        self._timeout = timeout
        self._no_delay = no_delay
        self._backoff = backoff
        self._tls = tls
        self._failures = 0
        self._stood_at: float | None = None
        self._timer: Timer | None = None
        #: Held to change `session`, `closed` and the timer together.
        self._lock = threading.Lock()
        port.clients.add(self)
        try:
            self._connect()
        except BaseException:
            port.clients.discard(self)
            raise

    def close(self) -> None:
        """Connect no more, and close the session that there is. Closing twice does nothing."""
        with self._lock:
            self.closed = True
            session = self.session
            if self._timer is not None:
                self._timer.cancel()
        self._port.clients.discard(self)
        if session is not None:
            session.close()

    @calls_hooks
    def _connect(self) -> None:
        connector = Connector(
            self._port,
            self._address,
            timeout=self._timeout,
            no_delay=self._no_delay,
            retry=self._backoff,
            failures=self._failures,
            on_connected=self._on_connected,
        )
        session = self._factory()
        with self._lock:
            if self.closed:
                return
            self._port.attach_session(session, self._tls, on_end=self._on_end)
            self.session = session
            self._stood_at = None
        connector.start(session)

    def _connect_again(self) -> None:
        try:
            self._connect()
        except Exception:
            logger.exception("%r: no session could be made", self)
            self._wait()

    def _on_connected(self, session: Session) -> None:
        self.connections += 1
        self._stood_at = self._port.kernel.monotonic()

    def _on_end(self, session: Session) -> None:
        stood_at = self._stood_at
        self.session = None
        if stood_at is None:  # all attempts of its connector have failed, or it was aborted
            self.close()
        else:
            if self._port.kernel.monotonic() - stood_at >= self._backoff.maximum:
                self._failures = 0
            self._wait()
        self._port.forget(session)

    def _wait(self) -> None:
        """Connect after a while, or give up."""
        self._failures += 1
        seconds = self._backoff.wait(self._failures)
        if seconds is None:
            self.close()
            return
        with self._lock:
            if not self.closed:
                self._timer = self._port.call_later(seconds, self._connect_again)

    def __repr__(self) -> str:
        state = "closed" if self.closed else repr(self.session) if self.session else "waiting"
        return f"<ReconnectingClient to {show_address(self._address)}: {state}>"
