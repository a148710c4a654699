"""Host: what servers and clients ask of the service of the port that they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.queue import CompletionQueue
    from .admission import Slot
    from .layer import Layer
    from .resolver import Resolver
    from .tcp.connection import Connection
    from .tcp.send_queues import SendQueues
    from .tcp.session import Session
    from .tls.tls_side import TlsSide
    from .transport import Hooks
    from .udp.datagram_session import DatagramSession


class Member(Protocol):
    """A server or a client, as the service sees it."""

    def close(self) -> None:
        """Accept, or connect, no more."""


class Host(Protocol):
    """The `Service` of a port. Any thread may call any method."""

    home: CompletionQueue
    sessions: set[Session | DatagramSession]
    resolver: Resolver

    def check_open(self, wanted: str) -> None:
        """Raise `PortClosedError` if there may be no new connections; `wanted` says why."""

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
        """Add a new session to the port's, until it has ended; return its connection."""

    def forget(self, session: Session | DatagramSession) -> None:
        """Remove a session, which has ended."""

    def add(self, member: Member) -> None:
        """Close this server or client with the port."""

    def discard(self, member: Member) -> None:
        """Forget a server or client that is closed."""
