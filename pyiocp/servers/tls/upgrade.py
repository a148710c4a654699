"""Going over to TLS on a connection that has been used without it: STARTTLS and its like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layer import Layer, connection_of, put_at_the_bottom
from ..session_state import OPEN
from .tls import TlsError

if TYPE_CHECKING:
    import ssl

    from ..tcp.session import Session


def upgrade(
    session: Session,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float,
) -> None:
    """Begin the handshake; see `Session.start_tls`."""
    # They import ssl, which takes 20 ms: only when TLS is used.
    from .tls_layer import TlsLayer  # noqa: PLC0415
    from .tls_side import TlsSide  # noqa: PLC0415

    side = TlsSide(
        context,
        server_side=server_side,
        server_hostname=server_hostname,
        handshake_timeout=handshake_timeout,
    )
    below = session._pyiocp
    if below.state is not OPEN:
        raise RuntimeError(f"{session!r} cannot start TLS: it is {below.state.value}")
    connection = connection_of(session)
    if isinstance(connection.hooks, TlsLayer):
        raise RuntimeError(f"{session!r} has TLS already")
    unread = connection.drop_unread()
    while isinstance(below, Layer):
        unread += below.drop_unread()
        below = below.below
    with connection.sends.lock:  # nobody sends before it is ready
        layer = put_at_the_bottom(session, side.layer)
        layer.upgrade()
    if unread:
        # Whoever sits between the two could have put it there, to be taken for the peer's.
        text = f"{unread} bytes came behind what started TLS, without being encrypted"
        layer.end(TlsError(f"{text} [{session!r}]"))
    else:
        connection.submit(layer.on_connect)
