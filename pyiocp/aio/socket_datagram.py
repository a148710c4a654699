"""SocketDatagram: a datagram socket on a port that is a Python socket as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..handles.sockets.datagram import Datagram

if TYPE_CHECKING:
    import socket

    from ..engine.home import Home


class SocketDatagram(Datagram):
    """A datagram socket on a port that is closed through its Python socket, ``sock``.

    Its receives tell of ports that nobody has, as those of a new socket do.

    Lifetime: the number is the Python socket's. Who closes that closes the number under the
    operations; the system then ends them, as it does on any socket.
    """

    may_wait = False  # asyncio's sockets are non-blocking

    def __init__(self, home: Home, sock: socket.socket) -> None:
        """Put the socket on the port; `AlreadyAssociatedError` if it is on one."""
        self.sock = sock
        super().__init__(home, sock.fileno(), family=sock.family, report_unreachable=True)

    def _close_number(self) -> None:
        self.sock.close()
