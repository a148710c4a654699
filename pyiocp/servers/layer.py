"""Layer: what stands between a session and its connection; see `transport`.

A layer overrides what it changes; the rest goes through it. So sessions with a layer are
used like those without, and those without pay nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .tcp.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .session_state import SessionState
    from .tcp.session import Session
    from .tcp.session_statistics import SessionStatistics
    from .tls.tls import TlsInfo
    from .transport import Hooks, Sends, Transport

_C = TypeVar("_C", bound=Connection)


class Layer:
    """A layer that changes nothing.

    session: whose layer it is. hooks: what is above it, the session or another layer.

    Hooks run within the connection's inbox; the rest any thread may call.
    """

    below: Transport
    """What it stands on: the connection, or another layer."""

    connection: Connection
    """What all of them stand on, for what is the same with every layer."""

    sends: Sends
    """What the session sends with: as below, so that a send does not pass here: 300 ns less."""

    def __init__(self, session: Session, hooks: Hooks) -> None:
        self.session = session
        self.hooks = hooks

    def stand_on(self, below: Transport, connection: Connection) -> None:
        """Take note of what is below, before anything comes from there."""
        self.below = below
        self.connection = connection
        self.sends = below.sends

    def end(self, error: OSError) -> None:
        """End the session because of an error, when what is under way has returned.

        Within the inbox, which it keeps order by: in the midst of ``on_receive`` the
        connection is not ready to be gone, and hooks do not nest.
        """
        self.connection.inbox.deliver(self.connection.break_off, error)

    # What comes from the session; see `Transport`

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self.below.state

    @property
    def peer_address(self) -> Any:
        """The peer's address."""
        return self.below.peer_address

    @property
    def local_address(self) -> Any:
        """This side's address."""
        return self.below.local_address

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self.below.queued_bytes

    @property
    def tls(self) -> TlsInfo | None:
        """What a TLS handshake has agreed upon."""
        return self.below.tls

    def close(self) -> None:
        """Close in order; see `Session.close`."""
        self.below.close()

    def send_eof(self) -> None:
        """Send what waits, and then the end; see `Session.send_eof`."""
        self.below.send_eof()

    def abort(self) -> None:
        """Reset; see `Session.abort`."""
        self.below.abort()

    def pause(self) -> None:
        """Post no further receive; see `Session.pause_receiving`."""
        self.below.pause()

    def resume(self) -> None:
        """Receive again; see `Session.resume_receiving`."""
        self.below.resume()

    def statistics(self) -> SessionStatistics:
        """Return what has been received and sent; see `Session.statistics`."""
        return self.below.statistics()

    # What comes from below; see `Hooks`

    def on_connect(self) -> None:
        """Tell what is above; see `Session.on_connect`."""
        self.hooks.on_connect()

    def on_receive(self, data: memoryview) -> None:
        """Tell what is above; see `Session.on_receive`."""
        self.hooks.on_receive(data)

    def on_eof(self) -> None:
        """Tell what is above; see `Session.on_eof`."""
        self.hooks.on_eof()

    def on_writable(self) -> None:
        """Tell what is above; see `Session.on_writable`."""
        self.hooks.on_writable()

    def on_close(self, error: OSError | None) -> None:
        """Tell what is above; see `Session.on_close`."""
        self.hooks.on_close(error)


def connect_layers(
    session: Session,
    kinds: Iterable[Callable[[Session, Hooks], Layer]],
    make_connection: Callable[[Hooks], _C],
) -> _C:
    """Give a session a connection, with a layer of each kind between, the topmost first."""
    hooks: Hooks = session
    layers: list[Layer] = []
    for kind in kinds:
        layer = kind(session, hooks)
        layers.append(layer)
        hooks = layer
    connection = make_connection(hooks)
    top: Transport = connection
    for layer in reversed(layers):
        layer.stand_on(top, connection)
        top = layer
    session._pyiocp = top
    return connection


def connection_of(session: Session) -> Connection:
    """Return the connection of a session, whatever layers are between."""
    below = session._pyiocp
    connection = below.connection if isinstance(below, Layer) else below
    assert isinstance(connection, Connection), "only sessions of a port are asked about"
    return connection
