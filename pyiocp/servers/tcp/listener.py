"""Listener: takes connections off its listening sockets and makes sessions of them.

What goes wrong with one client affects no other, and whatever is raised on the way, what the client
has taken is given back: see `Acceptor` and `Arrival`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine.timers import Call
from ...errors import (
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    PortClosedError,
    closed_error,
    failed,
)
from ...handles.sockets.address_text import show_address
from ...handles.sockets.hand_over import share
from ..admission import Admission, Limits, RefusalLog, Slot
from ..layer import connection_of
from ..listening_socket import open_all_listening, take_over_all
from ..transport import check_new
from .acceptor import ACCEPTS_MAX, Acceptor
from .arrival import Arrival
from .send_queues import SendQueues
from .session import Session
from .session_receive import zero_byte_receive

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.operation import Operation
    from ...engine.timers import ScheduledCall
    from ...handles.sockets.stream import Stream
    from ...port import CompletionPort
    from ..host import Host
    from ..tls.tls_side import TlsSide

logger = logging.getLogger("pyiocp")

_FIRST_DATA_MAX = 1 << 20
"""Bytes of first data that each of the pending accepts may have room for."""


class Listener:
    """A listening address on a port. Made by ``CompletionPort.listen``.

    ``address`` is the address that it listens at, with the system's choice of port number if it
    was 0. A name may have several addresses, of both families: ``addresses`` is all of them, in
    the system's order, and ``address`` the first. ``sessions`` are those that it has made and
    that have not ended.

    Four numbers count what became of clients: ``accepted`` became sessions; ``failed`` had
    left, or their session could not be made; ``refused`` were kept out by a limit; ``silent``
    sent no first data in time.

    Whatever a hook or the factory raises, a listener goes on. SystemExit, KeyboardInterrupt and
    the like end the session as any exception does, and then come out of ``run`` or ``wait``; when
    that is called again, clients are served on.

    Thread safety: any thread may read these, and call any method, also from a hook.
    """

    def __init__(
        self,
        service: Host,
        open_streams: Callable[[], Stream | list[Stream]],
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
        #: Reentrant: the user's signal handler may close or shut down, and interrupts the main
        #: thread wherever it is.
        self._lock = threading.RLock()
        #: One bound method for all sessions: each would otherwise keep its own.
        self._on_session_end = self._session_ended
        self._factory = factory
        self._tls = tls
        self._first_data_timeout = first_data_timeout
        self._paused = False
        self._shutting_down = False
        #: The sessions that a shutdown waits for.
        self._leaving: set[Session] = set()
        self._deadline: ScheduledCall | None = None
        self._admission: Admission | None = None
        self._send_queues: SendQueues | None = None
        if limits is not None and limits.send_queue_bytes is not None:
            self._send_queues = SendQueues(limits.send_queue_bytes)
        if limits is not None:
            self._admission = Admission(limits, home.kernel.monotonic)
            self._refusals = RefusalLog(limits, home.kernel.monotonic)
        opened = open_streams()
        streams = opened if isinstance(opened, list) else [opened]
        self._acceptors: list[Acceptor] = []
        self._recovery = Call(self._recover, ()), 0, 0
        try:
            for stream in streams:
                stream.key = self
                acceptor = Acceptor(
                    self,
                    home,
                    stream,
                    accepts=accepts,
                    first_data=first_data,
                    first_data_timeout=first_data_timeout,
                    on_arrival=self._on_arrival,
                    on_silent=self._on_silent,
                )
                self._acceptors.append(acceptor)
            self.address = self._acceptors[0].address
            home.on_exception.append(self._recovery)
            service.add(self)
            # Last of all: other threads may serve clients before this returns.
            for acceptor in self._acceptors:
                acceptor.start()
        except BaseException:
            self.close()
            for stream in streams:
                stream.close()
            raise

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

        def open_streams() -> list[Stream]:
            if isinstance(address, (bytes, socket.socket)):
                return take_over_all(service.home, address)
            return open_all_listening(
                service.home,
                address,
                backlog=backlog,
                exclusive=exclusive,
                dual_stack=dual_stack,
                no_delay=no_delay,
            )

        return cls(service, open_streams, factory, **settings)

    # What a user calls

    @property
    def port(self) -> CompletionPort:
        """The port that it is on."""
        return self._acceptors[0].stream.port

    @property
    def addresses(self) -> list[Any]:
        """All addresses that it listens at: a new list."""
        return [acceptor.address for acceptor in self._acceptors]

    @property
    def closed(self) -> bool:
        """Whether the listener takes no more connections."""
        return self._acceptors[0].stream.closed

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
        for acceptor in self._acceptors:
            acceptor.pause()

    def resume(self) -> None:
        """Accept again."""
        self._paused = False
        for acceptor in self._acceptors:
            acceptor.resume()

    def close(self) -> None:
        """Stop listening; the sessions go on. Closing twice does nothing."""
        for acceptor in self._acceptors:
            acceptor.close()
            for arrival in list(acceptor.waiting):
                if arrival.then == self._too_silent:
                    acceptor.go_on(arrival, Arrival.drop)
        with contextlib.suppress(ValueError):  # closed before
            self._home.on_exception.remove(self._recovery)
        self._service.discard(self)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Stop listening, and close every session in order; returns at once.

        timeout: seconds after which the sessions that are left are aborted. A session's
            own ``close_timeout`` may end it before that.

        ValueError if `timeout` is negative.
        """
        self._deadline = self._home.call_later(timeout, self._abort_sessions)
        self._shutting_down = True
        self._leaving |= self.sessions
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
        shared = []
        for acceptor in self._acceptors:
            stream = acceptor.stream
            with stream.lock:
                if stream.closed:
                    raise closed_error(self, "there is nothing to share", HandleClosedError)
                shared.append(share(self._home.kernel, stream.number, process_id, self))
        return b"".join(shared)

    # Accepting

    def _on_arrival(self, arrival: Arrival, count: int, status: int) -> None:
        """Look at what an accept has brought, if anything."""
        completion = arrival.operation.finish(count, status)
        stream = arrival.stream = arrival.operation.accepted
        if stream is None:
            arrival.end()
            if not self.closed and not isinstance(completion.error, OperationCancelledError):
                # That client has gone away again; see AcceptEx in the docs of Windows.
                self._count(failed=1)
                logger.debug("%r: a client was lost before it was accepted: %s", self, completion)
            return
        # Lifetime: a copy, because the next accept's first data comes to the same place.
        arrival.first = bytes(completion.data)
        try:
            arrival.peer = stream.peer_address()
        except (IocpError, HandleClosedError) as error:  # it has left: see AcceptOperation
            self._lost(arrival, error)
            return
        if self._admission is not None:
            slot = arrival.slot = Slot(self._admission, self._tls is not None)
            limit = self._admission.enter(arrival.peer, slot)
            if limit is not None:
                self._refuse(arrival, stream, limit)
                return
        if arrival.acceptor.waits_for_data(arrival):
            arrival.free_operation()
            self._wait_for_data(arrival, stream)
        else:
            self._let_in_turn(arrival)

    def _wait_for_data(self, arrival: Arrival, stream: Stream) -> None:
        arrival.wait(self._first_data_timeout, self._too_silent)
        # Of zero bytes: what comes is the session's to receive.
        receive = zero_byte_receive(stream, partial(self._on_data, arrival))
        try:
            receive.post()
        except (IocpError, HandleClosedError, PortClosedError) as error:
            # It has left, or this has just been closed; then another thread may be at it.
            arrival.acceptor.go_on(arrival, self._lost, error)

    def _lost(self, arrival: Arrival, error: Exception) -> None:
        """Count and drop a client that has left. Any number of them may: no warning."""
        arrival.drop()
        self._count(failed=1)
        logger.debug("%r: a client was lost when it was accepted: %s", self, error)

    def _on_data(self, arrival: Arrival, receive: Operation, count: int, status: int) -> None:
        arrival.acceptor.go_on(arrival, self._data_came, status)

    def _data_came(self, arrival: Arrival, status: int) -> None:
        if failed(status):
            arrival.drop()
            self._count(failed=1)
            return
        assert arrival.timer is not None, "it was set before"
        arrival.timer.cancel()
        self._let_in_turn(arrival)

    def _too_silent(self, arrival: Arrival) -> None:
        arrival.drop()
        self._on_silent(1)

    def _on_silent(self, closed: int) -> None:
        if closed:
            self._count(silent=closed)

    def _let_in_turn(self, arrival: Arrival) -> None:
        """Let a client in, now or when it is its turn."""
        if self._admission is not None:
            seconds = self._admission.wait()
            if seconds:
                # Its operation waits too: so at most `accepts` connections wait here, the others
                # in the backlog.
                arrival.wait(seconds, self._let_in)
                return
        self._let_in(arrival)

    def _let_in(self, arrival: Arrival) -> None:
        """Make a session for a client; before that, the next accept is posted."""
        arrival.free_operation()
        stream = arrival.stream
        assert stream is not None, "it has been accepted"
        try:
            session = self._factory()
            check_new(session, Session)
            arrival.session = session
            connection = self._service.attach_session(
                session,
                self._tls,
                on_end=self._on_session_end,
                slot=arrival.slot,
                all_queues=self._send_queues,
            )
        except Exception:
            arrival.drop()
            self._count(failed=1)
            logger.exception("%r: no session could be made, the connection is closed", self)
            return
        except BaseException:
            self._count(failed=1)
            raise
        self._count(accepted=1)
        if self._shutting_down:
            self._leaving.add(session)
        connection.attach(stream, arrival.peer, arrival.first)
        if self._shutting_down:
            session.close()
        arrival.end()

    def _refuse(self, arrival: Arrival, stream: Stream, limit: str) -> None:
        """Reset a connection over a limit."""
        arrival.free_operation()
        with contextlib.suppress(IocpError, HandleClosedError):
            stream.reset_on_close()
        arrival.drop()
        self._count(refused=1)
        self._refusals.refused(self, self.refused, limit)

    def _recover(self) -> None:
        """See that nothing is left undone: something was raised, perhaps while it was done."""
        for acceptor in self._acceptors:
            acceptor.recover()

    # Sessions

    def _session_ended(self, session: Session) -> None:
        """Give back what it has taken. Called again, this goes on with what is left."""
        if self._admission is not None:
            slot = connection_of(session).slot
            if slot is not None:
                slot.leave()
        if self._shutting_down:
            self._leaving.discard(session)
            self._cancel_deadline()
        self._service.forget(session)

    def _abort_sessions(self) -> None:
        for session in self.sessions:
            session.abort()

    def _cancel_deadline(self) -> None:
        if not self._leaving and self._deadline is not None:
            self._deadline.cancel()

    def _count(
        self, *, accepted: int = 0, failed: int = 0, refused: int = 0, silent: int = 0
    ) -> None:
        with self._lock:
            self.accepted += accepted
            self.failed += failed
            self.refused += refused
            self.silent += silent

    def __repr__(self) -> str:
        state = "closed" if self.closed else "paused" if self._paused else "listening"
        shown = " and ".join(map(show_address, self.addresses))
        return (
            f"<Listener at {shown}: {state}, {self.accepted} accepted, {len(self.sessions)} open>"
        )
