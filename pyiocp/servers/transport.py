"""Transport: what a session calls below it; Hooks: what is called from there.

Below a session is its connection or a layer. A layer looks like the connection to the session,
and like the session's hooks to the connection::

    session ──send(), close(), …──▶ layer ──send(), close(), …──▶ connection
            ◀──on_receive(), …──── (framing, TLS) ◀──on_receive(), …────

A session without a port has a `NoConnection` there, which says what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..handles.sockets.address_text import show_address
from .session_state import CONNECTING

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer

    from ..handles.sockets.datagram import Datagram
    from ..handles.sockets.stream import Stream
    from .session_state import SessionState
    from .tcp.session_statistics import SessionStatistics
    from .tls.tls import TlsInfo
    from .udp.datagram_statistics import DatagramSessionStatistics


class Hooks(Protocol):
    """What a connection, or a layer, calls above it; see `Session`."""

    def on_connect(self) -> None:
        """It is connected."""

    def on_receive(self, data: memoryview) -> None:
        """Bytes came."""

    def on_eof(self) -> None:
        """The peer will send no more."""

    def on_writable(self) -> None:
        """There is room again for what is to be sent."""

    def on_close(self, error: OSError | None) -> None:
        """It is over."""


class Sends(Protocol):
    """What a session sends with; see `Session.send` and `Session.send_file`."""

    def send(self, data: Buffer) -> bool:
        """Send bytes."""

    def send_file(self, file: Any, offset: int, count: int | None, close: bool) -> bool:
        """Send a file."""


class _Below(Protocol):
    """What is below a session of either kind."""

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""

    @property
    def peer_address(self) -> Any:
        """The peer's address."""

    @property
    def local_address(self) -> Any:
        """This side's address."""

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""

    def close(self) -> None:
        """Close in order."""

    def abort(self) -> None:
        """End it at once."""


class Transport(_Below, Protocol):
    """What is below a `Session`. Any thread may call all of it."""

    @property
    def socket(self) -> Stream:
        """The socket, for its options."""

    @property
    def sends(self) -> Sends:
        """What sends. Implemented as an attribute: a property would cost each send a call."""

    @property
    def tls(self) -> TlsInfo | None:
        """The result of a TLS handshake."""

    @property
    def ended(self) -> bool:
        """Whether this side has ended: `send` takes nothing more."""

    @property
    def unread_bytes(self) -> int:
        """How many bytes have come and were not handed over."""

    def start_tls(
        self,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        handshake_timeout: float,
    ) -> None:
        """Go over to TLS."""

    def send_eof(self) -> None:
        """Send what waits, and then the end."""

    def pause(self) -> None:
        """Post no further receive."""

    def resume(self) -> None:
        """Receive again."""

    def statistics(self) -> SessionStatistics:
        """Return what has been received and sent."""


class DatagramTransport(_Below, Protocol):
    """What is below a `DatagramSession`. Any thread may call all of it."""

    @property
    def socket(self) -> Datagram:
        """The socket, for its options."""

    def send(self, data: Buffer) -> bool:
        """Send a datagram."""

    def check_length(self, count: int) -> None:
        """Raise ValueError for more bytes than a datagram carries."""

    def statistics(self) -> DatagramSessionStatistics:
        """Return what has been received and sent."""


class _Missing:
    """An attribute that needs a connection: reading it raises RuntimeError."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, nothing: NoConnection, owner: type) -> Any:
        raise RuntimeError(
            f"{self._name}: the session has no connection; {nothing.givers} give it one"
        )


class NoConnection:
    """What is below a session without a port.

    givers: the methods that give it a connection, in words.
    """

    def __init__(self, givers: str) -> None:
        self.givers = givers
        self.sends: Sends = self

    state = CONNECTING
    peer_address: Any = None
    local_address: Any = None
    tls: TlsInfo | None = None
    queued_bytes = 0
    unread_bytes = 0
    ended = False
    socket: Any = _Missing()
    send: Any = _Missing()
    send_file: Any = _Missing()
    start_tls: Any = _Missing()
    send_eof: Any = _Missing()
    check_length: Any = _Missing()
    statistics: Any = _Missing()
    pause: Any = _Missing()
    resume: Any = _Missing()
    close: Any = _Missing()
    abort: Any = _Missing()


def check_new(session: Any, kind: type[Any]) -> None:
    """Raise TypeError for anything but a session of this kind, ValueError if it is not new."""
    if not isinstance(session, kind):
        raise TypeError(f"the factory must return a {kind.__name__}, not {session!r}")
    # Not by its __dict__: reading that creates it, and it takes 150 bytes.
    if session._pyiocp is not kind._pyiocp:
        raise ValueError(f"the factory returned {session!r} before: make a new one each time")


def show_session(session: object, below: Transport | DatagramTransport) -> str:
    """Return the repr of a session."""
    name = type(session).__name__
    if isinstance(below, NoConnection):
        return f"<{name} of no port yet>"
    peer = "nobody" if below.peer_address is None else show_address(below.peer_address)
    waiting = below.queued_bytes
    queue = f", {waiting:,} bytes wait to be sent" if waiting else ""
    return f"<{name} with {peer}: {below.state.value}{queue}>"
