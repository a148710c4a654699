"""DatagramClient: a session of datagrams with one server, on a socket of its own.

The socket is connected, which sends nothing: the system then drops what others send to it, and
reports when the server's host answers that the port is not in use.

Of several addresses the first that there is a way to is taken. Nothing tells whether somebody is
there, but the answer that nobody is: then it goes on with the next address, on a new socket.
"""

from __future__ import annotations

import contextlib
from collections import deque
from functools import partial
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
from .local_address import LocalAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.inbox import Inbox
    from ..host import Host
    from ..resolver import LookUp

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
        local_address: Any,
    ) -> None:
        check_address(address)
        self._local = LocalAddress(local_address, (address,))
        check_size(datagram_size)
        self._service = service
        self._address = address
        self._size = datagram_size
        self._report_unreachable = report_unreachable
        self._look_up: LookUp | None = None
        #: What has not been tried yet; the last error; whether anything has come.
        self._addresses: deque[tuple[int, Any]] = deque()
        self._error: Exception | None = None
        self._heard = False
        self._receives: DatagramReceives | None = None
        self.session = factory()
        check_new(self.session, DatagramSession)
        self._peer = Peer(service.home, self.session, self._on_end)
        self.session._pyiocp = self._peer
        service.sessions.add(self.session)

    def start(self) -> None:
        """Look the address up, and begin."""
        family = self._local.family
        if is_numeric(self._address):
            self._found(resolve_all(self._address, family), [])
        else:
            resolver = self._service.resolver
            self._look_up = resolver.look_up((self._address,), self._found, family)

    def _found(self, addresses: list[tuple[int, Any]], errors: list[Exception]) -> None:
        inbox = self._peer.inbox
        with contextlib.suppress(PortClosedError):
            self._service.home.call_soon(inbox.deliver, self._open, addresses, errors)

    # Within the inbox

    def _open(self, addresses: list[tuple[int, Any]], errors: list[Exception]) -> None:
        """Begin with what was found."""
        peer = self._peer
        self._addresses.extend(addresses)
        if errors:
            self._error = errors[-1]
        if peer.state is CONNECTING and (receives := self._connect_next()) is not None:
            peer.begin()
            if peer.state is OPEN:
                receives.start()

    def _nobody_there(self, datagram: Datagram) -> None:
        """Go on with the next address, or end: nobody is where this socket is connected to."""
        peer = self._peer
        receives = self._receives
        if receives is None or datagram is not receives.datagram:
            return  # told more than once
        error = error_of_code("WSARecvFrom", WSAECONNRESET, None, self.session)
        if self._addresses and not self._heard and peer.state is OPEN:
            receives.close()
            self._error = error
            if (following := self._connect_next()) is not None:
                following.start()
        elif self._report_unreachable:
            peer.break_off(error)

    def _connect_next(self) -> DatagramReceives | None:
        """Take the next address that the system has a way to; None if that was the end."""
        while self._addresses:
            family, numeric = self._addresses.popleft()
            try:
                return self._connect(family, numeric)
            except (OSError, PortClosedError) as error:
                self._error = error
        assert self._error is not None, "there was an address, or it is known why not"
        self._peer.break_off(self._error)
        return None

    def _connect(self, family: int, numeric: Any) -> DatagramReceives:
        home, peer = self._service.home, self._peer
        peer.peer_address = numeric
        home.check_open("takes no datagram socket", closing=True)
        told = self._report_unreachable or bool(self._addresses)
        datagram = Datagram.open(home, family, self.session, told)
        try:
            self._local.bind(datagram)
            datagram.connect(numeric)
            sends = DatagramSends(datagram, _SENDS_MAX)
            local = datagram.local_address()
            key = bytes(sockaddr(family, numeric))
            self._receives = receives = DatagramReceives(
                home,
                datagram,
                size=self._size,
                take=self._take,
                unreachable=partial(self._unreachable, datagram),
            )
        except BaseException:
            datagram.close()
            raise
        peer.aim(receives, sends, key, numeric, local)
        return receives

    # While it receives

    def _take(self, _sender: bytes, data: bytes, truncated: bool) -> Inbox:
        self._heard = True
        self._peer.take(data, truncated)
        return self._peer.inbox

    def _unreachable(self, datagram: Datagram) -> Inbox:
        self._peer.inbox.put(self._nobody_there, datagram)
        return self._peer.inbox

    def _on_end(self, session: DatagramSession) -> None:
        if self._look_up is not None:
            self._look_up.give_up()
        if self._receives is not None:
            self._receives.close()
        self._service.forget(session)
