"""DatagramServer: tells the peers of one datagram socket apart, and makes a session for each.

Every address that sends to the socket is a peer, but addresses can be forged. So an address costs
as little as possible until it has been admitted. First `admit` decides, if there is one, from
the address and the datagram alone: `AddressValidation` answers with a token there, and admits who
sends it back. Then the limits decide. Only an admitted address has a session, and is remembered;
when there is no room for the next one, the oldest session whose peer has sent a single datagram is
ended.
"""

from __future__ import annotations

import functools
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from ...handles.sockets.address_text import show_address
from ...handles.sockets.datagram import Datagram, check_length
from ...handles.sockets.destination import destination
from ...winapi import AF_INET6, SO_RCVBUF, SOL_SOCKET, address_of
from ..admission import Admission, Limits, RefusalLog
from ..listening_socket import open_bound
from ..transport import check_new
from .datagram_receives import DatagramReceives, check_size
from .datagram_sends import DatagramSends
from .datagram_session import DatagramSession
from .datagram_statistics import DatagramServerStatistics, DatagramSessionStatistics
from .newcomers import Newcomers
from .peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ...engine.inbox import Inbox
    from ...engine.timers import ScheduledCall
    from ...port import CompletionPort
    from ..host import Host

    Admit = Callable[[Any, memoryview], bool | Buffer]
    """Whether to admit an address, or what to answer it."""

logger = logging.getLogger("pyiocp")

_SENDS_MAX = 1 << 20
"""How many sends one socket may have under way."""

_RECEIVE_BUFFER_MAX = 0x7FFFFFFF

_DEFAULT_LIMITS = Limits(sessions=10_000)
"""Sessions take memory, and forging an address costs nothing."""


_LIMITS_OF_ROOM = ("sessions", "sessions_per_address")
"""The limits for which somebody else can make room."""


def peer_key(family: int, address: bytes) -> bytes:
    """Return what identifies a peer: its socket address, without what may vary."""
    if family == AF_INET6:
        return address[:4] + b"\0\0\0\0" + address[8:28]  # without the flow information
    return address[:8] + b"\0\0\0\0\0\0\0\0"


class DatagramServer:
    """A datagram socket with a session for each peer. Made by ``CompletionPort.serve_datagrams``.

    ``address`` is the address that it receives at, with the system's choice of port number if
    it was 0. ``sessions`` are those that have not ended. ``datagram`` is the `Datagram`
    under it, for its options, and for groups.

    ``accepted`` counts the sessions so far, ``not_admitted`` the datagrams that ``admit``
    refused, ``refused`` those that a limit did, ``evicted`` the sessions that were ended for
    a new one, because the server was full and they had sent one datagram only; the rest is
    in `statistics`.

    Thread safety: any thread may read these, and call any method, also from a hook.
    """

    def __init__(
        self,
        service: Host,
        open_datagram: Callable[[], Datagram],
        factory: Callable[[], DatagramSession],
        *,
        admit: Admit | None,
        datagram_size: int,
        receive_buffer: int | None,
        sends: int,
        limits: Limits | None,
    ) -> None:
        if not callable(factory):
            raise TypeError(f"factory must be callable and return a session, not {factory!r}")
        if admit is not None and not callable(admit):
            raise TypeError(f"admit must be callable, or None, not {admit!r}")
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"limits must be a Limits, not {limits!r}")
        if limits is not None and limits.send_queue_bytes is not None:
            raise ValueError("send_queue_bytes is for listeners; here sends= bounds what waits")
        if not 1 <= sends <= _SENDS_MAX:
            raise ValueError(f"sends must be between 1 and {_SENDS_MAX}, not {sends}")
        check_size(datagram_size)
        if receive_buffer is not None and not 1 <= receive_buffer <= _RECEIVE_BUFFER_MAX:
            raise ValueError(
                f"receive_buffer must be None, or between 1 and {_RECEIVE_BUFFER_MAX} bytes,"
                f" not {receive_buffer}"
            )
        limits = _DEFAULT_LIMITS if limits is None else limits
        self._service = service
        home = service.home
        self.accepted = self.not_admitted = self.refused = self.failed = self.evicted = 0
        self._truncated_first = 0
        self._factory = factory
        self._admit = admit
        self._admission = Admission(limits, home.kernel.monotonic, waits=False)
        self._refusals = RefusalLog(limits, home.kernel.monotonic)
        self._limits = limits
        self._peers: dict[bytes, Peer] = {}
        self._newcomers = Newcomers(by_network=limits.sessions_per_address is not None)
        self._past = _NOTHING
        self._lock = threading.Lock()
        self._closed = False
        self._shutting_down = False
        self._deadline: ScheduledCall | None = None
        self.datagram = open_datagram()
        self.datagram.key = self
        try:
            if receive_buffer is not None:
                self.datagram.set_option(SOL_SOCKET, SO_RCVBUF, receive_buffer)
            self.address = self.datagram.local_address()
            self._sends = DatagramSends(self.datagram, sends)
            self._receives = DatagramReceives(
                home,
                self.datagram,
                size=datagram_size,
                take=self._take,
                unreachable=lambda: None,
            )
        except BaseException:
            self.datagram.close()
            raise
        try:
            self._receives.start()
        except BaseException:
            self._receives.close()
            raise

    @classmethod
    def open(
        cls,
        service: Host,
        address: Any,
        factory: Callable[[], DatagramSession],
        *,
        exclusive: bool,
        dual_stack: bool,
        report_unreachable: bool,
        **settings: Any,
    ) -> DatagramServer:
        """Return a server at the address, one of the port's; see `CompletionPort.serve_datagrams`.

        settings: the arguments of `DatagramServer`.
        """

        def open_datagram() -> Datagram:
            if isinstance(address, socket.socket):
                return Datagram.of_socket(service.home, address, None, None, report_unreachable)
            return open_bound(
                lambda family: Datagram.open(service.home, family, None, report_unreachable),
                address,
                exclusive=exclusive,
                dual_stack=dual_stack,
            )

        server = cls(service, open_datagram, factory, **settings)
        service.add(server)
        return server

    # What a user calls

    @property
    def port(self) -> CompletionPort:
        """The port that it is on."""
        return self.datagram.port

    @property
    def sessions(self) -> set[DatagramSession]:
        """The sessions that have not ended: a new set."""
        return {peer.session for peer in list(self._peers.values())}

    @property
    def closed(self) -> bool:
        """Whether the server is closed."""
        return self._closed

    @property
    def paused(self) -> bool:
        """Whether receiving is paused."""
        return self._receives.paused

    def pause(self) -> None:
        """Receive no more until `resume`: the system keeps what its buffer holds.

        It drops the rest. What has been received already is still delivered; no session ends
        for being idle meanwhile. Sending goes on.
        """
        self._receives.pause()

    def resume(self) -> None:
        """Receive again."""
        for peer in list(self._peers.values()):
            peer.touch()
        self._receives.resume()

    def send_to(self, data: Buffer, address: Any) -> bool:
        """Send one datagram to any numeric address, also one that has no session.

        data: as for `DatagramSession.send`; anything but ``bytes`` is copied.

        Returns True if it is on its way, False if it was dropped.

        Raises ValueError for an address that is not numeric, or too much data, TypeError for
        anything but a buffer.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasendto
        """
        message = data if type(data) is bytes else memoryview(data).tobytes()
        check_length(len(message), self._sends.bytes_max)
        target = bytes(destination(self.datagram.family, address))
        sends = self._sends
        return sends.take(target, message) or sends.start(None, target, message) is not None

    def close(self) -> None:
        """Close the socket; the sessions end, with an error. Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for session in self.sessions:
            session.abort()
        self._receives.close()
        self._cancel_deadline()
        self._service.discard(self)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Close every session in order, then the socket; returns at once.

        What waits to be sent goes out. There are no new sessions from now on.

        timeout: seconds after which it is closed in any case.

        ValueError if `timeout` is negative.
        """
        self._deadline = self._service.home.call_later(timeout, self.close)
        self._shutting_down = True
        for session in self.sessions:
            session.close()
        self._close_if_over()

    def statistics(self) -> DatagramServerStatistics:
        """Return what the server has received and sent so far. Any thread may call it."""
        with self._lock:
            figures = [self._past]
            figures += [peer.statistics() for peer in self._peers.values()]
        total = functools.reduce(_sum, figures)
        return DatagramServerStatistics(
            sessions=len(figures) - 1,
            accepted=self.accepted,
            receives_pending=int(self._receives.pending),
            sends_pending=self._sends.under_way,
            bytes_received=total.bytes_received,
            bytes_sent=total.bytes_sent,
            messages_received=total.messages_received,
            messages_sent=total.messages_sent,
            truncated=total.truncated,
            receives_dropped=total.receives_dropped,
            sends_dropped=total.sends_dropped,
            not_admitted=self.not_admitted,
            refused=self.refused,
            evicted=self.evicted,
            truncated_first=self._truncated_first,
            failed=self.failed,
            unreachable=self._receives.unreachable,
            receive_errors=self._receives.errors,
        )

    # What came: one thread at a time

    def _take(self, sender: bytes, data: bytes, truncated: bool) -> Inbox | None:
        """Give a datagram to its peer, and return the peer's inbox."""
        key = peer_key(self.datagram.family, sender)
        peer = self._peers.get(key)
        if peer is None:
            try:
                peer = self._begin(key, data, truncated)
            except Exception:
                self.failed += 1
                logger.exception("%r: no session could be made", self)
        if peer is None:
            return None
        peer.take(data, truncated)
        return peer.inbox

    def _begin(self, key: bytes, data: bytes, truncated: bool) -> Peer | None:
        """Make a peer of the sender, if it is admitted."""
        address = address_of(key)
        if truncated:
            self._truncated_first += 1
            logger.debug("%r: dropped a first datagram from %s: too long", self, address)
            return None
        if self._shutting_down or self._closed:
            self.refused += 1
            return None
        if self._admit is not None and not self._is_admitted(self._admit, address, data):
            self.not_admitted += 1
            return None
        limit = self._admission.enter(address)
        while limit is not None and self._make_room(address):
            limit = self._admission.enter(address)
        if limit is not None:
            self.refused += 1
            self._refusals.refused(self, self.refused, limit)
            return None
        peer = None
        try:
            session = self._factory()
            check_new(session, DatagramSession)
            peer = Peer(self._service.home, session, self._session_ended)
            session._pyiocp = peer
            peer.aim(self._receives, self._sends, key, address, self.address)
            with self._lock:
                self._peers[key] = peer
        except BaseException:
            if peer is None or self._peers.get(key) is not peer:
                self._admission.leave(address)
            else:
                peer.abort()
            raise
        self._newcomers.add(peer)
        self.accepted += 1
        self._service.sessions.add(session)
        peer.inbox.put(peer.begin)
        self._end_if_late(session)
        return peer

    def _make_room(self, address: Any) -> bool:
        """End the oldest peer that has sent one datagram only, if that lets this address in."""
        limit = self._admission.refusing(address)
        if limit not in _LIMITS_OF_ROOM:
            return False
        peer = self._newcomers.oldest(address if limit == "sessions_per_address" else None)
        if peer is None:
            return False
        if self._give_up_place(peer):  # or else it has just ended
            self.evicted += 1
            if self.evicted == 1:
                logger.warning(
                    "%r is full (%s=%s): sessions of peers that have sent one datagram only are"
                    " ended for new ones; if addresses may be forged, admit=AddressValidation()",
                    *(self, limit, getattr(self._limits, limit)),
                )
            peer.make_room()
        return True

    def _give_up_place(self, peer: Peer) -> bool:
        """Take a peer out of the table and out of the limits; False if it is not in there."""
        with self._lock:
            if self._peers.get(peer.key) is not peer:
                return False
            del self._peers[peer.key]
        self._admission.leave(peer.peer_address)
        return True

    def _end_if_late(self, session: DatagramSession) -> None:
        """End a session that began while the server ended, and was perhaps missed by that."""
        if self._closed:
            session.abort()
        elif self._shutting_down:
            session.close()

    def _is_admitted(self, admit: Admit, address: Any, data: bytes) -> bool:
        """Ask the user's `admit`; send what it returns, if it is a datagram."""
        answer = admit(address, memoryview(data))
        if answer is True or answer is False:
            return answer
        self.send_to(answer, address)
        return False

    def _session_ended(self, session: DatagramSession) -> None:
        peer = session._pyiocp
        assert isinstance(peer, Peer), "its end is told by it"
        with self._lock:
            if not peer.summed_up:  # it may be told again: see `Life`
                peer.summed_up = True
                self._past = _sum(self._past, peer.statistics())
        self._newcomers.discard(peer)
        self._give_up_place(peer)
        if self._shutting_down:
            self._close_if_over()
        self._service.forget(session)

    def _close_if_over(self) -> None:
        if not self._peers:
            self.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "paused" if self.paused else "open"
        return (
            f"<DatagramServer at {show_address(self.address)}: {state}, {self.accepted} accepted,"
            f" {len(self._peers)} open>"
        )


def _sum(
    one: DatagramSessionStatistics, other: DatagramSessionStatistics
) -> DatagramSessionStatistics:
    """Return the sum of two sessions' figures."""
    return DatagramSessionStatistics._make(a + b for a, b in zip(one, other, strict=True))


_NOTHING = DatagramSessionStatistics(0, 0, 0, 0, 0, 0.0, 0, 0, 0)
