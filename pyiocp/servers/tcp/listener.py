"""Listener: takes connections off a listening socket and makes sessions of them.

Several AcceptEx are always pending, so a burst of clients finds sockets ready. What goes wrong
with one client affects no other: the next accept is posted before the last one's result is
looked at, and if the system refuses it, out of memory or sockets, it is tried again a little
later.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ...errors import (
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    PortClosedError,
    closed_error,
)
from ...handles.sockets.address_text import show_address
from ...handles.sockets.hand_over import share
from ..admission import Admission, Limits, RefusalLog
from ..layer import connection_of
from ..listening_socket import open_listening, take_over
from .session import Session
from .silent_clients import SilentClients, silent_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.timers import ScheduledCall
    from ...handles.sockets.accept import AcceptOperation
    from ...handles.sockets.stream import Stream
    from ...port import CompletionPort
    from ..host import Host
    from ..tls.tls_side import TlsSide

logger = logging.getLogger("pyiocp")

ACCEPTS_MAX = 4096
"""How many AcceptEx one listener may have pending."""

_FIRST_DATA_MAX = 1 << 20
"""Bytes of first data that each of the pending accepts may have room for."""

_RETRY_FIRST_S = 0.05
_RETRY_MAX_S = 1.0


class Listener:
    """A listening address on a port. Made by ``CompletionPort.listen``.

    ``address`` is the address that it listens at, with the system's choice of
    port number if it was 0. ``sessions`` are those that it has made and that have not ended.

    Four numbers count what became of clients: ``accepted`` became sessions; ``failed`` had
    left, or their session could not be made; ``refused`` were kept out by a limit; ``silent``
    sent no first data in time.

    Thread safety: any thread may read these, and call any method, also from a hook.
    """

    def __init__(
        self,
        service: Host,
        open_stream: Callable[[], Stream],
        factory: Callable[[], Session],
        *,
        accepts: int,
        first_data: int,
        first_data_timeout: float,
        limits: Limits | None,
        tls: TlsSide | None = None,
    ) -> None:
        if not 1 <= accepts <= ACCEPTS_MAX:
            raise ValueError(f"accepts must be between 1 and {ACCEPTS_MAX}, not {accepts}")
        if not callable(factory):
            raise TypeError(f"factory must be callable and return a Session, not {factory!r}")
        if not 0 <= first_data <= _FIRST_DATA_MAX:
            raise ValueError(f"first_data must be 0 to {_FIRST_DATA_MAX:,} bytes, not {first_data}")
        if not first_data_timeout > 0:
            raise ValueError(f"first_data_timeout must be above 0, not {first_data_timeout}")
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"limits must be a Limits, not {limits!r}")
        self._service = service
        self._home = home = service.home
        self.accepted = self.failed = self.refused = self.silent = 0
        self._lock = threading.Lock()
        self._sessions_open = 0
        #: One bound method for all sessions: each would otherwise keep its own.
        self._on_session_end = self._session_ended
        self._factory = factory
        self._tls = tls
        self._accepts = accepts
        self._first_data = first_data
        self._retry_s = _RETRY_FIRST_S
        self._paused = False
        self._shutting_down = False
        self._deadline: ScheduledCall | None = None
        self._admission: Admission | None = None
        if limits is not None:
            self._admission = Admission(limits, home.kernel.monotonic)
            self._refusals = RefusalLog(limits, home.kernel.monotonic)
        self._silent_clients: SilentClients | None = None
        self._silent_now = 0
        self._operations: set[AcceptOperation] = set()
        #: Operations that are not posted, because accepting is paused.
        self._resting: deque[AcceptOperation] = deque()
        self._stream = open_stream()
        self._stream.key = self
        try:
            self.address = self._stream.local_address()
            for _ in range(accepts):
                self._add_operation().post()
        except BaseException:
            self._stream.close()
            raise
        if first_data:
            self._silent_clients = SilentClients(
                home, first_data_timeout, lambda: list(self._operations), self._on_look
            )

    @classmethod
    def open(
        cls,
        service: Host,
        address: Any,
        factory: Callable[[], Session],
        *,
        backlog: int,
        exclusive: bool,
        dual_stack: bool,
        no_delay: bool,
        **settings: Any,
    ) -> Listener:
        """Return a listener at the address, one of the port's; see `CompletionPort.listen`.

        settings: the arguments of `Listener`.
        """

        def open_stream() -> Stream:
            if isinstance(address, (bytes, socket.socket)):
                return take_over(service.home, address)
            return open_listening(
                service.home,
                address,
                backlog=backlog,
                exclusive=exclusive,
                dual_stack=dual_stack,
                no_delay=no_delay,
            )

        listener = cls(service, open_stream, factory, **settings)
        service.add(listener)
        return listener

    # What a user calls

    @property
    def port(self) -> CompletionPort:
        """The port that it is on."""
        return self._stream.port

    @property
    def closed(self) -> bool:
        """Whether the listener takes no more connections."""
        return self._stream.closed

    @property
    def sessions(self) -> set[Session]:
        """The sessions that the listener has made and that have not ended: a new set.

        They are filtered from the port's sessions, which saves a second set.
        """
        ours = self._on_session_end
        return {
            session
            for session in list(self._service.sessions)
            if isinstance(session, Session) and connection_of(session).on_end is ours
        }

    @property
    def paused(self) -> bool:
        """Whether accepting is paused."""
        return self._paused

    def pause(self) -> None:
        """Accept no more until `resume`: new clients wait in the system's backlog.

        A client that is being accepted at this moment still becomes a session, and so does
        one that is connected and has yet to send its first data.
        """
        self._paused = True
        for operation in list(self._operations):
            self._cancel(operation)

    def resume(self) -> None:
        """Accept again."""
        self._paused = False
        self._post_resting()

    def close(self) -> None:
        """Stop listening; the sessions go on. Closing twice does nothing."""
        self._stream.close()
        if self._silent_clients is not None:
            self._silent_clients.stop()
        self._service.discard(self)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Stop listening, and close every session in order; returns at once.

        timeout: seconds after which the sessions that are left are aborted. A session's
            own ``close_timeout`` may end it before that.

        ValueError if `timeout` is negative.
        """
        self._deadline = self._home.call_later(timeout, self._abort_sessions)
        self._shutting_down = True
        self.close()
        for session in self.sessions:
            session.close()
        self._cancel_deadline()

    def share(self, process_id: int) -> bytes:
        """Let another process accept here as well; return what it needs for that.

        process_id: the other process, which is running. It gives the bytes, once, to its
            own ``port.listen``. Each process has its own limits, and its own sessions.

        Nothing changes here. The system hands each client to the accept that was posted
        first, in either process: pause or close this listener to leave all clients to the
        other one. The address stays in use until the last process has closed it.

        Raises `HandleClosedError` on a closed listener, ValueError for a number that is no
        process id, an `IocpError` (``WSAEINVAL`` 10022: no such process).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw
        """
        stream = self._stream
        with stream.lock:
            if stream.closed:
                raise closed_error(self, "there is nothing to share", HandleClosedError)
            return share(self._home.kernel, stream.number, process_id, self)

    # Accepting

    def _add_operation(self) -> AcceptOperation:
        operation = self._stream.accept_operation(self._first_data)
        operation.receiver = self._on_accept
        self._operations.add(operation)
        return operation

    def _on_accept(self, operation: AcceptOperation, count: int, status: int) -> None:
        completion = operation.finish(count, status)
        stream = operation.accepted
        if stream is None:
            self._post(operation)
            if not self.closed and not isinstance(completion.error, OperationCancelledError):
                # That client has gone away again; see AcceptEx in the docs of Windows.
                self._count(failed=1)
                logger.debug("%r: a client was lost before it was accepted: %s", self, completion)
            return
        # Lifetime: a copy, because the next accept's first data comes to the same place.
        first = bytes(completion.data)
        try:
            peer = stream.peer_address()
        except IocpError as error:  # it has left: see AcceptOperation
            self._post(operation)
            self._count(failed=1)
            logger.debug("%r: a client was lost when it was accepted: %s", self, error)
            stream.close()
            return
        seconds = 0.0
        if self._admission is not None:
            limit = self._admission.enter(peer)
            if limit is not None:
                self._post(operation)
                self._refuse(stream, limit)
                return
            seconds = self._admission.wait()
        if seconds:
            # Its operation waits too: so at most `accepts` connections wait here, the others in
            # the backlog.
            self._home.call_later(seconds, self._let_in, operation, stream, peer, first)
        else:
            self._let_in(operation, stream, peer, first)

    def _let_in(self, operation: AcceptOperation, stream: Stream, peer: Any, first: bytes) -> None:
        self._post(operation)
        self._make_session(stream, peer, first)

    def _post(self, operation: AcceptOperation) -> None:
        """Post the next accept, unless there are enough of them, or accepting is paused."""
        if len(self._operations) > self._wanted:
            self._operations.discard(operation)
            return
        self._resting.append(operation)
        self._post_resting()

    def _post_resting(self) -> None:
        """Post the resting accepts; if the system refuses one, try again a little later."""
        while not (self._paused or self.closed):
            try:
                operation = self._resting.popleft()
            except IndexError:
                return
            try:
                operation.post()
                self._retry_s = _RETRY_FIRST_S
            except (HandleClosedError, PortClosedError):
                return
            except IocpError as error:
                logger.warning("%r tries again in %g s: %s", self, self._retry_s, error)
                self._home.call_later(self._retry_s, self._post, operation)
                self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)
            if self.paused:  # by another thread, which may not have seen it pending yet
                self._cancel(operation)

    def _cancel(self, operation: AcceptOperation) -> None:
        """Cancel an accept, unless a client is connected and has yet to send."""
        if not self._first_data or silent_seconds(operation) is None:
            operation.cancel()

    # Silent clients

    @property
    def _wanted(self) -> int:
        """How many accepts there should be, not counting those that silent clients occupy."""
        return min(self._accepts + self._silent_now, ACCEPTS_MAX)

    def _on_look(self, silent: int, closed: int) -> None:
        self._silent_now = silent
        self._count(silent=closed)
        while len(self._operations) < self._wanted and not self.closed:
            self._post(self._add_operation())
        for operation in list(self._operations)[self._wanted :]:
            self._cancel(operation)

    # Sessions

    def _make_session(self, stream: Stream, peer: Any, first: bytes) -> None:
        try:
            session = self._factory()
            connection = self._service.attach_session(
                session, self._tls, on_end=self._on_session_end
            )
        except Exception:
            self._count(failed=1)
            logger.exception("%r: no session could be made, the connection is closed", self)
            if self._admission is not None:
                self._admission.leave(peer)
            stream.close()
            return
        self._count(accepted=1)
        connection.attach(stream, peer, first)
        if self._shutting_down:
            session.close()

    def _session_ended(self, session: Session) -> None:
        with self._lock:
            self._sessions_open -= 1
        if self._admission is not None:
            self._admission.leave(session._pyiocp.peer_address)
        if self._shutting_down:
            self._cancel_deadline()
        self._service.forget(session)

    def _refuse(self, stream: Stream, limit: str) -> None:
        """Reset a connection over a limit."""
        stream.reset_on_close()
        stream.close()
        self._count(refused=1)
        self._refusals.refused(self, self.refused, limit)

    def _abort_sessions(self) -> None:
        for session in self.sessions:
            session.abort()

    def _cancel_deadline(self) -> None:
        if not self._sessions_open and self._deadline is not None:
            self._deadline.cancel()

    def _count(
        self, *, accepted: int = 0, failed: int = 0, refused: int = 0, silent: int = 0
    ) -> None:
        with self._lock:
            self.accepted += accepted
            self._sessions_open += accepted
            self.failed += failed
            self.refused += refused
            self.silent += silent

    def __repr__(self) -> str:
        state = "closed" if self.closed else "paused" if self._paused else "listening"
        return (
            f"<Listener at {show_address(self.address)}: {state}, {self.accepted} accepted,"
            f" {self._sessions_open} open>"
        )
