"""Layer: what stands between a session and its connection; see `transport`.

A layer overrides what it changes and passes on the rest. Sessions with a layer are used like
those without, and those without pay nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .tcp.connection import Connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from ..handles.sockets.stream import Stream
    from .session_state import SessionState
    from .tcp.session import Session
    from .tcp.session_statistics import SessionStatistics
    from .tls.tls import TlsInfo
    from .transport import Hooks, Sends, Transport

_C = TypeVar("_C", bound=Connection)
_L = TypeVar("_L", bound="Layer")


class Layer:
    """A layer that changes nothing.

    hooks: what is above it, the session or another layer.

    Hooks run within the connection's inbox; any thread may call the rest.
    """

    below: Transport
    """What it stands on: the connection, or another layer."""

    connection: Connection
    """The connection below all layers."""

    sends: Sends
    """What the session sends with: the one below, so a send skips this layer: 300 ns less."""

    def __init__(self, session: Session, hooks: Hooks) -> None:
        self.session = session
        self.hooks = hooks

    def stand_on(self, below: Transport, connection: Connection) -> None:
        """Remember what is below; called before anything comes from there."""
        self.below = below
        self.connection = connection
        self.sends = below.sends

    def end(self, error: OSError) -> None:
        """End the session with an error, after the hook under way.

        It goes through the inbox: the connection cannot end in the middle of its
        ``on_receive``, and hooks do not nest.
        """
        self.connection.inbox.deliver(self.connection.break_off, error)

    @property
    def unread_bytes(self) -> int:
        """How many bytes have come and were not handed over, here and below."""
        return self.below.unread_bytes

    def drop_unread(self) -> int:
        """Drop what has come and was not handed over; return how many bytes that was."""
        return 0

    # Called by the session; see `Transport`

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
    def socket(self) -> Stream:
        """The socket, for its options."""
        return self.below.socket

    @property
    def tls(self) -> TlsInfo | None:
        """The result of a TLS handshake."""
        return self.below.tls

    @property
    def ended(self) -> bool:
        """Whether this side has ended; see `Session.send_eof`."""
        return self.below.ended

    def close(self) -> None:
        """Close in order; see `Session.close`."""
        self.below.close()

    def start_tls(
        self,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        handshake_timeout: float,
    ) -> None:
        """Go over to TLS; see `Session.start_tls`."""
        self.below.start_tls(context, server_side, server_hostname, handshake_timeout)

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

    # Called from below; see `Hooks`

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
    """Give a session a connection, with layers of these kinds between, the topmost first."""
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


def put_at_the_bottom(session: Session, make_layer: Callable[[Session, Hooks], _L]) -> _L:
    """Put a layer between a session's connection and what is above it, from now on.

    Called with the lock of the connection's sends, and not while a hook runs in another thread.
    """
    connection = connection_of(session)
    layer = make_layer(session, connection.hooks)
    layers: list[Layer] = [layer]
    below = session._pyiocp
    while isinstance(below, Layer):
        layers.insert(1, below)
        below = below.below
    top: Transport = connection
    for each in layers:
        each.stand_on(top, connection)
        top = each
    session._pyiocp = top
    connection.hooks = layer
    return layer


def connection_of(session: Session) -> Connection:
    """Return the connection of a session, whatever layers are between."""
    below = session._pyiocp
    connection = below.connection if isinstance(below, Layer) else below
    assert isinstance(connection, Connection), "only sessions of a port are asked about"
    return connection
