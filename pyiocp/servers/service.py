"""Service: the sessions, servers and clients of one port, its workers, and how all of it ends."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import PortClosedError
from .blocking_pool import BlockingPool
from .broadcast_result import BroadcastResult
from .clients.reconnecting import ReconnectingClient
from .framing.framed_session import FramedSession, Framer
from .layer import Layer, connect_layers
from .monitor import Monitor
from .resolver import Resolver
from .session_state import SessionState
from .tcp.connection import Connection
from .tcp.idle_operations import IdleOperations
from .tcp.listener import Listener
from .tcp.session import Session
from .tls.upgrade import upgrade
from .transport import Hooks, check_new
from .udp.datagram_server import DatagramServer
from .udp.datagram_session import DatagramSession
from .udp.peer import DATAGRAM_BYTES_MAX
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Buffer

    from ..engine.queue import CompletionQueue
    from ..observing.statistics import Statistics
    from .admission import Slot
    from .host import Member
    from .tcp.send_queues import SendQueues
    from .tls.tls_side import TlsSide

logger = logging.getLogger("pyiocp")

_M = TypeVar("_M", Listener, DatagramServer, ReconnectingClient)
_S = TypeVar("_S", bound=Session | DatagramSession)


class Service:
    """What servers and clients on one port share. Any thread may call any method.

    home: the port's queue.
    """

    def __init__(self, home: CompletionQueue) -> None:
        self.home = home
        self.sessions: set[Session | DatagramSession] = set()
        self._members: set[Member] = set()
        self.resolver = Resolver()
        self.workers = Workers(home)
        self.blocking_pool = BlockingPool(home)
        self.idle_operations = IdleOperations()
        self._monitor: Monitor | None = None
        self._shutting_down = False

    def check_open(self, wanted: str) -> None:
        """Raise `PortClosedError` if there may be no new connections; `wanted` says why."""
        self.home.check_open(f"cannot {wanted}", closing=True)
        if self._shutting_down:
            raise PortClosedError(f"{self.home!r} is shutting down: it cannot {wanted}")

    # Servers and clients

    @property
    def listeners(self) -> set[Listener]:
        """The listeners that are open: a new set."""
        return self._members_of(Listener)

    @property
    def datagram_servers(self) -> set[DatagramServer]:
        """The servers of datagrams that are open: a new set."""
        return self._members_of(DatagramServer)

    @property
    def clients(self) -> set[ReconnectingClient]:
        """The clients that are open: a new set."""
        return self._members_of(ReconnectingClient)

    def _members_of(self, kind: type[_M]) -> set[_M]:
        return {member for member in list(self._members) if isinstance(member, kind)}

    def add(self, member: Member) -> None:
        """Close this server or client with the port."""
        self._members.add(member)

    def discard(self, member: Member) -> None:
        """Forget a server or client that is closed."""
        self._members.discard(member)

    # Sessions

    def attach_session(
        self,
        session: Session,
        tls: TlsSide | None = None,
        *,
        on_end: Callable[[Session], None] | None = None,
        layer: Callable[[Any, Hooks], Layer] | None = None,
        slot: Slot | None = None,
        all_queues: SendQueues | None = None,
    ) -> Connection:
        """Add a new session to the port's, until it has ended; return its connection.

        tls: how it does TLS, if it does.
        on_end: called when it has ended, after ``on_close``, instead of `forget`, which it
            has to call.
        layer: one more layer, above all others.
        slot: what it takes of the limits of its server.
        all_queues: what counts what waits to be sent, with other sessions.

        Raises TypeError for anything but a `Session`, ValueError for one that is not new.
        """
        check_new(session, Session)
        kinds: list[Callable[[Any, Hooks], Layer]] = [] if layer is None else [layer]
        if isinstance(session, FramedSession):
            kinds.append(Framer)
        if tls is not None:
            kinds.append(tls.layer)
        connection = connect_layers(
            session,
            kinds,
            partial(
                Connection,
                self.home,
                session,
                self.idle_operations,
                on_end or self.forget,
                upgrade,
            ),
        )
        connection.slot = slot
        connection.sends.all_queues = all_queues
        # Last of all: from here on other threads may end it, and give back what it has.
        self.sessions.add(session)
        return connection

    def forget(self, session: Session | DatagramSession) -> None:
        """Remove a session, which has ended."""
        if self._monitor is not None:
            self._monitor.session_ended(session)
        self.sessions.discard(session)
        if self._shutting_down and not self.sessions:
            self.workers.stop()
        if self.home.closing:
            self.home.wake()  # close() waits for the last one

    def broadcast(self, sessions: Iterable[_S], data: Buffer) -> BroadcastResult[_S]:
        """Send the same bytes to many sessions; see `CompletionPort.broadcast`."""
        message = data if isinstance(data, bytes) else bytes(memoryview(data))
        members = list(sessions)
        if len(message) > DATAGRAM_BYTES_MAX:
            for session in members:
                if isinstance(session, DatagramSession) and session.state is SessionState.OPEN:
                    session.check_length(len(message))
        missed: list[_S] = []
        raised: set[_S] = set()
        for session in members:
            try:
                if not session.send(message):
                    missed.append(session)
            except Exception:  # noqa: BLE001, the others are served whatever one of them does
                missed.append(session)
                raised.add(session)
        result: BroadcastResult[_S] = BroadcastResult([], [], [])
        for session in missed:
            state = session.state
            if state is SessionState.OPEN and session in raised:
                try:  # it may not have been connected, and is now
                    if session.send(message):
                        continue
                except Exception:
                    logger.exception("%r is aborted: it cannot send", session)
                    session.abort()
                    result.gone.append(session)
                    continue
            if state is SessionState.CONNECTING:
                result.connecting.append(session)
            elif state is SessionState.OPEN and not _has_sent_its_end(session):
                result.behind.append(session)
            else:
                result.gone.append(session)
        return result

    def monitor(
        self, address: Any, statistics: Callable[[], Statistics], watch: Callable[[], None]
    ) -> Monitor:
        """Let programs on this machine look at the port; see `CompletionPort.monitor`."""
        self.check_open("be monitored")
        if self._monitor is not None and not self._monitor.closed:
            raise RuntimeError(f"{self.home!r} has a monitor already: {self._monitor!r}")
        self._monitor = Monitor(self, address, statistics, watch)
        return self._monitor

    # The end

    def shutdown(self, timeout: float) -> None:
        """Close every session in order, then stop; see `CompletionPort.shutdown`."""
        self.home.call_later(timeout, self._abort_sessions)
        self._shutting_down = True
        for client in self.clients:
            client.close()
        for listener in self.listeners:
            listener.shutdown(timeout)
        for server in self.datagram_servers:
            server.shutdown(timeout)
        for session in list(self.sessions):
            session.close()
        if not self.sessions:
            self.workers.stop()

    def close(self) -> None:
        """Close the servers and abort the sessions, which end while the port is drained."""
        for member in list(self._members):
            member.close()
        if self._monitor is not None:
            self._monitor.close()
        self._abort_sessions()
        self.blocking_pool.stop()

    def _abort_sessions(self) -> None:
        for session in list(self.sessions):
            session.abort()

    def hooks_elsewhere(self) -> bool:
        """Return whether a hook, or a submitted function, is still running in another thread."""
        # A hook must not wait for the end of its own session.
        if threading.get_ident() in self.home.dispatching:
            return False
        return bool(self.sessions or self.blocking_pool.busy)


def _has_sent_its_end(session: Session | DatagramSession) -> bool:
    """Tell whether a session that is open takes nothing more to send."""
    return isinstance(session, Session) and session._pyiocp.ended
