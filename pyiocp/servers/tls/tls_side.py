"""TlsSide: the TLS settings that all sessions of a listener, or of a client, share."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from .resumption import Resumption
from .tls_layer import TlsLayer

if TYPE_CHECKING:
    from ..tcp.session import Session
    from ..transport import Hooks


class TlsSide:
    """How one side of connections does TLS: the server's, or the client's.

    context: is used as it is, but renegotiation is switched off in it.
    server_hostname: for the client, the name that the server's certificate must have.
    handshake_timeout: seconds.

    Any thread may use it. Raises TypeError for anything but a context, ValueError for one that
    does not fit this side or lacks something.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        handshake_timeout: float,
    ) -> None:
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"tls must be an ssl.SSLContext, not {context!r}")
        if not handshake_timeout > 0:
            raise ValueError(f"handshake_timeout must be more than 0, not {handshake_timeout} s")
        # A peer could make us compute keys over and over, and mix its bytes with another's:
        # https://www.rfc-editor.org/rfc/rfc5746. TLS 1.3 has none.
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._context = context
        self._server_side = server_side
        self._server_hostname = server_hostname
        self._handshake_timeout = handshake_timeout
        self._resumption = None if server_side else Resumption()
        if context.check_hostname and not server_side and not server_hostname:
            raise ValueError(
                "the SSLContext has the server's name checked: server_hostname must not be empty"
            )
        try:
            self._wrap(ssl.MemoryBIO(), ssl.MemoryBIO())
        except (ssl.SSLError, ValueError) as error:
            side = "a server" if server_side else "a client"
            raise ValueError(f"the SSLContext does not fit {side}: {error}") from error

    def _wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return this side of a new connection."""
        return self._context.wrap_bio(incoming, outgoing, self._server_side, self._server_hostname)

    def layer(self, session: Session, hooks: Hooks) -> TlsLayer:
        """Return the layer of a new session."""
        return TlsLayer(session, hooks, self._wrap, self._handshake_timeout, self._resumption)
