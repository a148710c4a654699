"""ConnectionPool: connections to one address that are reused."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ...errors import closed_error
from ...handles.sockets.address_text import show_address
from ..layer import Layer, connection_of
from ..session_state import CLOSED, OPEN
from .connector import Connector
from .target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from ...engine.timers import ScheduledCall
    from ...port import CompletionPort
    from ..tcp.session import Session
    from ..transport import Hooks


class _Pooled(Layer):
    """Tells the pool that a session's ``on_connect`` has been called, and has returned."""

    def __init__(
        self, session: Session, hooks: Hooks, on_connected: Callable[[Session], None]
    ) -> None:
        super().__init__(session, hooks)
        self._on_connected = on_connected

    def on_connect(self) -> None:
        """Tell the session, and then the pool."""
        super().on_connect()
        self._on_connected(self.session)


class ConnectionPool:
    """Connected sessions to one address, to be borrowed and given back.

    port, address, factory: as for ``CompletionPort.connect``.
    maximum: how many connections there may be at a time, at least 1. Further calls
        of `acquire` wait until one is given back.
    idle_timeout: seconds after which an idle connection is closed.
    timeout, no_delay, tls, server_hostname, handshake_timeout: as for
        ``CompletionPort.connect``.

    An idle connection keeps its receive posted, so its end is noticed at once; one on which the
    kernel has received anything, or its end, is not handed out, even before that has been
    dispatched. The one given back last is handed out first.

    Thread safety: any thread may call any method, also from a hook.

    Raises ValueError and TypeError for bad arguments.
    """

    def __init__(
        self,
        port: CompletionPort,
        address: Any,
        factory: Callable[[], Session],
        *,
        maximum: int = 8,
        idle_timeout: float = 60.0,
        timeout: float | None = 30.0,
        no_delay: bool = True,
        tls: SSLContext | None = None,
        server_hostname: str | None = None,
        handshake_timeout: float = 30.0,
    ) -> None:
        self._target = Target(address, timeout, no_delay, tls, server_hostname, handshake_timeout)
        if not callable(factory):
            raise TypeError(f"factory must be callable and return a Session, not {factory!r}")
        if maximum < 1:
            raise ValueError(f"maximum must be at least 1 connection, not {maximum}")
        if not idle_timeout > 0:
            raise ValueError(f"idle_timeout must be more than 0 seconds, not {idle_timeout}")
        self.address = address
        self.maximum = maximum
        self.closed = False
        self._service = port._service
        self._factory = factory
        self._idle_timeout = idle_timeout
        #: Held for moments only; no user code is called with it.
        self._lock = threading.Lock()
        self._connecting: set[Session] = set()
        self._reserved = 0
        """How many connections are about to be made."""
        self._busy: set[Session] = set()
        self._idle: dict[Session, ScheduledCall] = {}
        self._waiters: deque[Future[Session]] = deque()

    # What a user calls

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many connections are acquired."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """How many calls of `acquire` wait for a connection."""
        return len(self._waiters)

    def acquire(self) -> Future[Session]:
        """Return the future of a connected session, which is then the caller's.

        If a connection is idle, it has its result at once. Otherwise the result comes when a
        connection has been made, after its ``on_connect``, or given back; a worker of the port
        then calls its callbacks, so only a thread of your own may wait for it (``result()``),
        never a hook. If the connection cannot be made it has the error. Cancel it if you no
        longer need one; closing the pool cancels it too.

        Raises ValueError on a closed pool.
        """
        future: Future[Session] = Future()
        stale: list[Session] = []
        found = None
        with self._lock:
            if self.closed:
                raise closed_error(self, "it gives no connection", ValueError)
            while self._idle and found is None:
                session, timer = self._idle.popitem()
                timer.cancel()
                if connection_of(session).quiet:
                    self._busy.add(session)
                    found = session
                else:
                    stale.append(session)
            if found is None:
                self._waiters.append(future)
        for session in stale:
            session.abort()
        if found is None:
            self._connect()
        else:
            future.set_result(found)
        return future

    def release(self, session: Session) -> None:
        """Give a session back, for the next `acquire`.

        One that is closed, or closing, is not kept. If you do not know what the peer will
        send next, abort it instead: that gives it back as well.

        Raises ValueError for a session that has not been acquired.
        """
        if not self._place(session, self._busy) and session.state is not CLOSED:
            raise ValueError(f"{session!r} has not been acquired from {self!r}")
        self._connect()

    def close(self) -> None:
        """Close idle sessions, and those given back from now on. Closing twice does nothing."""
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, {}
            waiters, self._waiters = self._waiters, deque()
        for session, timer in idle.items():
            timer.cancel()
            session.close()
        for future in waiters:
            future.cancel()

    # What becomes of connections

    def _connect(self) -> None:
        """Begin as many connections as are waited for, up to the maximum."""
        while True:
            with self._lock:
                coming = len(self._connecting) + self._reserved
                there = coming + len(self._busy) + len(self._idle)
                if self.closed or coming >= len(self._waiters) or there >= self.maximum:
                    return
                self._reserved += 1
            try:
                self._begin()
            except Exception as error:  # noqa: BLE001, the factory's among them
                self._fail_one(error)
            finally:
                with self._lock:
                    self._reserved -= 1

    def _begin(self) -> None:
        self._service.check_open("connect")
        session = self._factory()
        connection = self._service.attach_session(
            session, self._target.tls, on_end=self._on_end, layer=self._layer
        )
        with self._lock:
            self._connecting.add(session)
        Connector(self._service, self._target, connection, retry=None).start()

    def _layer(self, session: Session, hooks: Hooks) -> Layer:
        return _Pooled(session, hooks, self._connected)

    def _connected(self, session: Session) -> None:
        self._place(session, self._connecting)

    def _place(self, session: Session, where: set[Session]) -> bool:
        """Give a session to a waiting `acquire`, or keep it; return False if it is not in `where`.

        where: the set to move it from, under one lock: it is counted at every moment.
        """
        future = None
        with self._lock:
            if session not in where:  # it has ended already
                return False
            where.discard(session)
            keep = not self.closed and session.state is OPEN
            while keep and self._waiters and future is None:
                future = self._waiters.popleft()
                if not future.set_running_or_notify_cancel():
                    future = None
            if future is not None:
                self._busy.add(session)
            elif keep:
                self._idle[session] = self._service.home.call_later(
                    self._idle_timeout, self._expire, session
                )
        if future is not None:
            future.set_result(session)
        elif not keep:
            session.close()
        return True

    def _expire(self, session: Session) -> None:
        with self._lock:
            if self._idle.pop(session, None) is None:
                return
        session.close()

    def _on_end(self, session: Session) -> None:
        with self._lock:
            failed = session in self._connecting
            self._connecting.discard(session)
            self._busy.discard(session)
            timer = self._idle.pop(session, None)
        if timer is not None:
            timer.cancel()
        error = connection_of(session).error
        if failed and error is not None:
            self._fail_one(error)
        self._service.forget(session)
        self._connect()

    def _fail_one(self, error: Exception) -> None:
        """Give the error to the `acquire` that has waited longest."""
        while True:
            with self._lock:
                if not self._waiters:
                    return
                future = self._waiters.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
                return

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.busy} busy, {self.idle} idle"
        return f"<ConnectionPool to {show_address(self.address)}: {state}>"
