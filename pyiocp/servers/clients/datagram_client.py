"""DatagramClient: a session of datagrams with one server, on a socket of its own.

The socket is connected, which sends nothing: the system then drops what others send to it, and
reports when the server's host answers that the port is not in use.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ...errors import PortClosedError, error_of_code
from ...handles.sockets.datagram import Datagram
from ...winapi import sockaddr
from ...winapi.errorcodes import WSAECONNRESET
from ..resolve import check_address, is_numeric, resolve_all
from ..session_state import CONNECTING, OPEN
from ..transport import check_new
from ..udp.datagram_receives import DatagramReceives, check_size
from ..udp.datagram_sends import DatagramSends
from ..udp.datagram_session import DatagramSession
from ..udp.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.inbox import Inbox
    from ..host import Host

_SENDS_MAX = 1024
"""How many sends a client has under way, at most."""


class DatagramClient:
    """Gives a session its socket. Made by ``CompletionPort.connect_datagram``.

    Raises TypeError and ValueError for bad arguments, before anything has begun.
    """

    def __init__(
        self,
        service: Host,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        datagram_size: int,
        report_unreachable: bool,
    ) -> None:
        check_address(address)
        check_size(datagram_size)
        self._service = service
        self._address = address
        self._size = datagram_size
        self._report_unreachable = report_unreachable
        self._receives: DatagramReceives | None = None
        self.session = factory()
        check_new(self.session, DatagramSession)
        self._peer = Peer(service.home, self.session, self._on_end)
        self.session._pyiocp = self._peer
        service.sessions.add(self.session)

    def start(self) -> None:
        """Look the address up, and begin."""
        if is_numeric(self._address):
            self._found(resolve_all(self._address), [])
        else:
            self._service.resolver.look_up((self._address,), self._found)

    def _found(self, addresses: list[tuple[int, Any]], errors: list[Exception]) -> None:
        inbox = self._peer.inbox
        with contextlib.suppress(PortClosedError):
            self._service.home.call_soon(inbox.deliver, self._open, addresses, errors)

    def _open(self, addresses: list[tuple[int, Any]], errors: list[Exception]) -> None:
        """Take the first address that the system has a way to. Within the inbox."""
        peer = self._peer
        for family, numeric in addresses:
            if peer.state is not CONNECTING:
                return
            try:
                receives = self._connect(family, numeric)
            except (OSError, PortClosedError) as error:
                errors.append(error)
            else:
                peer.begin()
                if peer.state is OPEN:
                    receives.start()
                return
        peer.break_off(errors[-1])

    def _connect(self, family: int, numeric: Any) -> DatagramReceives:
        home, peer = self._service.home, self._peer
        peer.peer_address = numeric
        home.check_open("takes no datagram socket", closing=True)
        datagram = Datagram.open(home, family, self.session, self._report_unreachable)
        try:
            datagram.connect(numeric)
            sends = DatagramSends(datagram, _SENDS_MAX)
            local = datagram.local_address()
            receives = DatagramReceives(
                home,
                datagram,
                size=self._size,
                take=self._take,
                unreachable=self._unreachable,
            )
        except BaseException:
            datagram.close()
            raise
        self._receives = receives
        peer.aim(receives, sends, bytes(sockaddr(family, numeric)), numeric, local)
        return receives

    def _take(self, _sender: bytes, data: bytes, truncated: bool) -> Inbox:
        self._peer.take(data, truncated)
        return self._peer.inbox

    def _unreachable(self) -> Inbox | None:
        if not self._report_unreachable:
            return None
        error = error_of_code("WSARecvFrom", WSAECONNRESET, None, self.session)
        self._peer.inbox.put(self._peer.break_off, error)
        return self._peer.inbox

    def _on_end(self, session: DatagramSession) -> None:
        if self._receives is not None:
            self._receives.close()
        self._service.forget(session)
