"""DatagramPort: a port with the ways to sessions of datagrams; users make a `CompletionPort`.

What belongs here: `serve_datagrams` and `connect_datagram`, and what their arguments mean.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from .datagram_client import DatagramClient
from .datagram_server import DatagramServer
from .listening_socket import open_bound
from .session_port import SessionPort

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handles.datagram import Datagram
    from .admission import Limits
    from .datagram_server import Admit
    from .datagram_session import DatagramSession


class DatagramPort(SessionPort):
    """A port for servers and clients of datagrams. Any thread may call any method."""

    def serve_datagrams(
        self,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        admit: Admit | None = None,
        datagram_size: int = 2048,
        receive_buffer: int | None = 1 << 20,
        sends: int = 16384,
        limits: Limits | None = None,
        exclusive: bool = True,
        dual_stack: bool = False,
        report_unreachable: bool = False,
    ) -> DatagramServer:
        """Receive datagrams (UDP) at an address, and make a session of every peer.

        address: as for `listen`; or a datagram socket of Python's that is bound, which belongs
            to the server from then on.
        factory: called without arguments for each peer, returns a new `DatagramSession`:
            mostly the class itself.
        admit: called with the address and the first datagram, a view that is valid during the
            call, of a peer that has no session. It returns True to let it in, False not to,
            or bytes to send there instead. It is called by one thread at a time, and other
            datagrams wait for it.
        datagram_size: bytes of the longest datagram, 1 to 65,527; what is longer comes to
            ``on_truncated``.
        receive_buffer: bytes that the system keeps of what has come and has yet to be
            received (``SO_RCVBUF``), 1 to 2,147,483,647; the rest it drops. None leaves what the
            socket has.
        sends: how many datagrams may be under way at a time that the system did not take at
            once, 1 to 1,048,576, each counting until a worker has seen that it is gone; what is
            over that is dropped.
        limits: how many sessions there may be, and how fast they may begin; see `Limits`. By
            default 10,000 sessions: an address costs a peer nothing. ``Limits()`` is no limit.
        exclusive, dual_stack: as for `listen`.
        report_unreachable: count in ``statistics()`` how often the system has told that nobody
            has a port that was sent to.

        Returns at once: the rest is done by `run`. Raises as `listen`.
        """
        self.check_open("serve")

        def open_datagram() -> Datagram:
            if isinstance(address, socket.socket):
                return self.datagram(address, report_unreachable=report_unreachable)
            return open_bound(
                lambda family: self.datagram(family=family, report_unreachable=report_unreachable),
                address,
                exclusive=exclusive,
                dual_stack=dual_stack,
            )

        server = DatagramServer(
            self,
            open_datagram,
            factory,
            admit=admit,
            datagram_size=datagram_size,
            receive_buffer=receive_buffer,
            sends=sends,
            limits=limits,
            on_close=self.datagram_servers.discard,
        )
        self.datagram_servers.add(server)
        return server

    def connect_datagram(
        self,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        datagram_size: int = 2048,
        report_unreachable: bool = True,
    ) -> DatagramSession:
        """Talk to one address by datagrams (UDP), and return the session, which has yet to begin.

        Its ``on_connect`` comes when the address is known and there is a socket for it: nothing
        has been sent by then, and nobody may be there. If that fails, ``on_close`` comes with
        the error, and no ``on_connect`` before it.

        address: ``(host, port)``. A name is looked up in another thread; of its addresses, the
            first that there is a way to is taken.
        factory: called without arguments, returns a new `DatagramSession`.
        datagram_size: as for `serve_datagrams`.
        report_unreachable: end the session with a `PeerResetError` when the peer's host
            answers that nobody has the port. False: go on.

        Raises `PortClosedError` on a closed port, ValueError and TypeError for bad arguments.
        """
        self.check_open("connect")
        client = DatagramClient(
            self,
            address,
            factory,
            datagram_size=datagram_size,
            report_unreachable=report_unreachable,
        )
        client.start()
        return client.session
