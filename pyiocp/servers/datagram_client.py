"""DatagramClient: a session of datagrams with one server, on a socket of its own.

The socket is connected, which puts nothing on the network: the system then drops what others
send to it, and can tell when the server's host says that nobody has the port.

What belongs here: that socket, from the address to the session's end. What the session does is
in `conversation`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..errors import PortClosedError, error_of_code
from ..winapi import sockaddr
from ..winapi.errorcodes import WSAECONNRESET
from .conversation import Conversation
from .datagram_receives import DatagramReceives, check_size
from .datagram_sends import DatagramSends
from .datagram_server import check_new
from .resolve import check_address, is_numeric, resolve_all
from .session_state import CONNECTING, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from .datagram_session import DatagramSession
    from .session_port import SessionPort

_SENDS_MAX = 1024
"""How many sends a client has under way, at most."""


class DatagramClient:
    """Gives a session its socket. Made by ``CompletionPort.connect_datagram``.

    Raises TypeError and ValueError for bad arguments, before anything has begun.
    """

    def __init__(
        self,
        port: SessionPort,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        datagram_size: int,
        report_unreachable: bool,
    ) -> None:
        check_address(address)
        check_size(datagram_size)
        self._port = port
        self._address = address
        self._size = datagram_size
        self._report_unreachable = report_unreachable
        self._receives: DatagramReceives | None = None
        self.session = factory()
        check_new(self.session)
        self._conversation = Conversation(port, self.session, self._on_end)
        self.session._pyiocp = self._conversation
        port.sessions.add(self.session)

    def start(self) -> None:
        """Look the address up, and begin."""
        if is_numeric(self._address):
            self._found(resolve_all(self._address), [])
        else:
            self._port.resolver.look_up((self._address,), self._found)

    def _found(self, addresses: list[tuple[int, Any]], errors: list[Exception]) -> None:
        inbox = self._conversation.inbox
        with contextlib.suppress(PortClosedError):
            self._port.call_soon(inbox.deliver, self._open, addresses, errors)

    def _open(self, addresses: list[tuple[int, Any]], errors: list[Exception]) -> None:
        """Take the first address that the system has a way to. Within the inbox."""
        conversation = self._conversation
        for family, numeric in addresses:
            if conversation.state is not CONNECTING:
                return
            try:
                receives = self._connect(family, numeric)
            except (OSError, PortClosedError) as error:
                errors.append(error)
            else:
                conversation.begin()
                if conversation.state is OPEN:
                    receives.start()
                return
        conversation.break_off(errors[-1])

    def _connect(self, family: int, numeric: Any) -> DatagramReceives:
        port, conversation = self._port, self._conversation
        conversation.peer = numeric
        datagram = port.datagram(
            key=self.session, family=family, report_unreachable=self._report_unreachable
        )
        try:
            datagram.connect(numeric)
            sends = DatagramSends(datagram, _SENDS_MAX)
            local = datagram.local_address()
            receives = DatagramReceives(
                port,
                datagram,
                size=self._size,
                take=self._take,
                unreachable=self._unreachable,
            )
        except BaseException:
            datagram.close()
            raise
        self._receives = receives
        conversation.aim(receives, sends, bytes(sockaddr(family, numeric)), numeric, local)
        return receives

    def _take(self, _sender: bytes, data: bytes, truncated: bool) -> Conversation:
        self._conversation.take(data, truncated)
        return self._conversation

    def _unreachable(self) -> Conversation | None:
        if not self._report_unreachable:
            return None
        error = error_of_code("WSARecvFrom", WSAECONNRESET, None, self.session)
        self._conversation.inbox.put(self._conversation.break_off, error)
        return self._conversation

    def _on_end(self, session: DatagramSession) -> None:
        if self._receives is not None:
            self._receives.close()
        self._port.forget(session)
