"""Streams whose sockets are Python sockets as well: asyncio hands those out, and closes them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from ..handles.sockets.shared_listening import SharedListening
from ..handles.sockets.stream import Stream

if TYPE_CHECKING:
    from ..engine.home import Home
    from ..engine.queue import CompletionQueue


class SocketStream(Stream):
    """A stream on a port that is closed through its Python socket, ``sock``.

    Lifetime: the number is the Python socket's. Who closes that closes the number under the
    operations; the system then ends them, as it does on any socket.
    """

    def __init__(
        self, home: Home, sock: socket.socket, *, local: Any = None, peer: Any = None
    ) -> None:
        self.sock = sock
        super().__init__(home, sock.fileno(), family=sock.family, local=local, peer=peer)

    def sibling(self, number: int, local: Any, peer: Any) -> SocketStream:
        """Return the stream of a socket that this listening stream has accepted."""
        return accepted(self.home, self.sock, number, local, peer)

    def _close_number(self) -> None:
        self.sock.close()


class SharedSocketListening(SharedListening):
    """A listening stream for a Python socket that another process, or loop, has on its port."""

    def __init__(self, home: CompletionQueue, sock: socket.socket) -> None:
        self.sock = sock
        super().__init__(home, sock.fileno(), family=sock.family)

    def sibling(self, number: int, local: Any, peer: Any) -> SocketStream:
        """Return the stream of a socket that this listening stream has accepted."""
        return accepted(self.home, self.sock, number, local, peer)

    def _close_number(self) -> None:
        self.sock.close()


def accepted(
    home: Home, listening: socket.socket, number: int, local: Any, peer: Any
) -> SocketStream:
    """Return the stream of an accepted socket; if that fails the number stays the caller's."""
    sock = socket.socket(listening.family, listening.type, listening.proto, number)
    try:
        sock.setblocking(False)
        return SocketStream(home, sock, local=local, peer=peer)
    except BaseException:
        sock.detach()
        raise
