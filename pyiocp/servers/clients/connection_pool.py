"""ConnectionPool: connections to one address that are reused."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from ...errors import closed_error
from ...handles.sockets.address_text import show_address
from ..layer import Layer, connection_of
from ..life import as_os_error
from ..session_state import CLOSED, OPEN
from .acquisition import Acquisition, Waiter
from .connector import Connector
from .target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
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
    timeout, no_delay, tls, server_hostname, handshake_timeout, local_address: as for
        ``CompletionPort.connect``. With TLS, each connection resumes the TLS session of the one
        before, if the server agrees.

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
        local_address: Any = None,
    ) -> None:
        self._target = Target(
            address, timeout, no_delay, tls, server_hostname, handshake_timeout, local_address
        )
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
        #: Who waits, in order.
        self._waiters: dict[Waiter, None] = {}

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

    def acquire(self, timeout: float | None = None) -> Future[Session]:
        """Return the future of a connected session, which is then the caller's.

        timeout: seconds after which it has a TimeoutError, if it has nothing else by then, at
            least 0; None: it waits as long as it takes.

        If a connection is idle, it has its result at once. Otherwise the result comes when a
        connection has been made, after its ``on_connect``, or given back; a worker of the port
        then calls its callbacks, so only a thread of your own may wait for it (``result()``),
        never a hook. If the connection cannot be made it has the error. Closing the pool
        cancels it.

        Lifetime: the session is the caller's from the moment in which ``result()`` returns it.
        If the future is cancelled or dropped without callbacks, or after a time-out of ``result``
        or ``exception``, the session goes to the next one in line.

        Raises ValueError on a closed pool, and for a bad `timeout`.
        """
        _check_wait(timeout)
        future = Acquisition(self._service.home, self._give_up)
        stale: list[Session] = []
        found = None
        with self._lock:
            if self.closed:
                raise closed_error(self, "it gives no connection", ValueError)
            while self._idle and found is None:
                session, timer = self._idle.popitem()
                timer.cancel()
                if connection_of(session).quiet and not session._pyiocp.unread_bytes:
                    self._busy.add(session)
                    found = session
                else:
                    stale.append(session)
            if found is None:
                self._waiters[future.waiter] = None
        for session in stale:
            session.abort()
        if found is not None:
            future.give(found)
            return future
        self._connect()
        if timeout is not None and not future.done():
            timer = self._service.home.call_later(timeout, self._time_out, future.waiter, timeout)
            future.waiter.timer = timer
            if future.done():
                timer.cancel()
        return future

    @contextlib.contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Session]:
        """Wait for a connected session, and release it at the end of the ``with`` block.

        timeout: seconds to wait for it, at least 0; None: as long as it takes.

        A block that raises has the session aborted: nobody knows what it may still receive.

        It is for threads of your own. Raises TimeoutError, what `acquire` raises and the error of
        a connection that cannot be made; `concurrent.futures.CancelledError` if the pool is closed
        meanwhile; RuntimeError in a hook, if no connection is idle: it would wait for what it
        holds up.
        """
        _check_wait(timeout)
        future = self.acquire()
        if not future.done() and threading.get_ident() in self._service.home.dispatching:
            future.cancel()
            raise RuntimeError(f"{self!r} has no idle connection, and a hook cannot wait for one")
        try:
            session = future.result(timeout)
        except TimeoutError:
            if not future.cancelled():  # it is the connection's own
                raise
            raise self._timeout_error(timeout) from None
        try:
            yield session
        except BaseException:
            session.abort()
            raise
        self.release(session)

    def release(self, session: Session) -> None:
        """Give a session back, for the next `acquire`.

        One that is closed, or closing, is not kept. If you do not know what the peer will
        send next, abort it instead: that gives it back as well.

        Release it once: a second time does nothing if the session is closed, and raises
        ValueError if it is idle; if somebody else has acquired it meanwhile, it is taken from them.

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
            waiters, self._waiters = self._waiters, {}
        for session, timer in idle.items():
            timer.cancel()
            session.close()
        for waiter in waiters:
            if (future := waiter.future) is not None:
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
            except BaseException as error:  # the factory's among them
                if isinstance(error, Exception):
                    self._fail_one(error)
                else:
                    self._fail_one(as_os_error(error))
                    raise
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
        try:
            Connector(self._service, self._target, connection, retry=None).start()
        except BaseException:
            with self._lock:
                self._connecting.discard(session)
            raise

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
            if keep:
                future = self._first_in_line()
            if future is not None:
                self._busy.add(session)
            elif keep:
                self._idle[session] = self._service.home.call_later(
                    self._idle_timeout, self._expire, session
                )
        if future is not None:
            future.give(session)
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
        with self._lock:
            future = self._first_in_line()
        if future is not None:
            future.set_exception(error)

    # Who waits

    def _first_in_line(self) -> Acquisition | None:
        """Return the future that has waited longest, which is running then. With the lock."""
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            future = waiter.future
            waiter.stop()
            if future is not None and future.set_running_or_notify_cancel():
                return future
        return None

    def _time_out(self, waiter: Waiter, timeout: float) -> None:
        with self._lock:
            if waiter not in self._waiters:
                return
            del self._waiters[waiter]
        future = waiter.future
        waiter.stop()
        if future is not None and future.set_running_or_notify_cancel():
            future.set_exception(self._timeout_error(timeout))

    def _timeout_error(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"{self!r} had no connection to give within {timeout} s")

    def _give_up(self, waiter: Waiter) -> None:
        """Remove a waiter; a session that it was given and did not take goes to the next one."""
        with self._lock:
            self._waiters.pop(waiter, None)
            session, waiter.session = waiter.session, None
        waiter.stop()
        if session is not None and self._place(session, self._busy):
            self._connect()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.busy} busy, {self.idle} idle"
        return f"<ConnectionPool to {show_address(self.address)}: {state}>"


def _check_wait(timeout: float | None) -> None:
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout}")
