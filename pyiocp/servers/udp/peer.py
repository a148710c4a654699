"""Peer: what is behind a `DatagramSession`: one peer's part of a datagram socket.

Many peers share a socket, and its receives are not theirs: `DatagramReceives` puts what came into
the peer's `Inbox`, which is worked off in order, so the hooks of one session never overlap. What
is sent goes to the system at once.

It is separate from the session so that a subclass of `DatagramSession` can use any attribute
names.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ...errors import failed
from ...handles.sockets.datagram import check_length
from ...winapi.errorcodes import WSAECONNABORTED
from ..life import Life
from ..session_state import CLOSED, CLOSING, CONNECTING, OPEN
from ..socket_options import no_socket
from .datagram_statistics import DatagramSessionStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ...engine.home import Home
    from ...handles.sockets.datagram import Datagram
    from .datagram_receives import DatagramReceives
    from .datagram_sends import DatagramSends, PeerSend
    from .datagram_session import DatagramSession

DATAGRAM_BYTES_MAX = 65507
"""Bytes that every datagram can carry; over IPv6 it is a few more."""


class Peer(Life["DatagramSession"]):
    """The part of one session in a datagram socket.

    Any thread may call what is under "From any thread"; `take` one at a time; everything else
    runs within the inbox.
    """

    name = "DatagramSession"

    __slots__ = (
        "_bytes_received",
        "_bytes_sent",
        "_doomed",
        "_dropped_early",
        "_dropped_late",
        "_lock",
        "_messages_received",
        "_messages_sent",
        "_receives",
        "_sending",
        "_sends",
        "_sends_dropped",
        "_truncated",
        "key",
        "queued_bytes",
        "summed_up",
    )

    def __init__(
        self,
        home: Home,
        session: DatagramSession,
        on_end: Callable[[DatagramSession], None],
    ) -> None:
        super().__init__(home, session, on_end)
        self.key = b""
        """The bytes of the peer's socket address, by which its datagrams are recognized."""
        self.queued_bytes = 0
        """How many bytes the system has yet to take."""
        self.summed_up = False
        """Whether its server has added it to those that have ended."""
        self._receives: DatagramReceives | None = None
        self._sends: DatagramSends | None = None
        #: Held to send, and to change the state.
        self._lock = threading.Lock()
        self._sending = 0
        #: Whether `abort` or `make_room` was called, which takes effect within the inbox.
        self._doomed = False
        self._bytes_received = self._messages_received = self._truncated = 0
        self._bytes_sent = self._messages_sent = self._sends_dropped = 0
        #: Counted where only one thread is at a time: in `take`, and within the inbox.
        self._dropped_early = self._dropped_late = 0

    # How it begins

    def aim(
        self,
        receives: DatagramReceives,
        sends: DatagramSends,
        key: bytes,
        peer: Any,
        local: Any,
    ) -> None:
        """Set the socket that it is part of, and the peer's address."""
        with self._lock:
            self._receives = receives
            self._sends = sends
            self.key = key
        self.peer_address = peer
        self.local_address = local

    def begin(self) -> None:
        """Open the session. Within the inbox."""
        if self._doomed or self.state is CLOSED:
            return
        self._begun_at = self._home.kernel.monotonic()
        if self.session.idle_timeout is not None:
            self._watch_for_idleness()
        self.state = OPEN
        self.session.on_connect()

    def _on_idle(self) -> None:
        assert self._receives is not None, "only who has begun is watched"
        if not self._receives.paused:
            super()._on_idle()

    # What came

    def take(self, data: bytes, truncated: bool) -> None:
        """Put a datagram into the inbox, to be worked off. One thread at a time."""
        self.touch()
        inbox = self.inbox
        # While no hook is running, a burst may be longer: nothing has had a chance to handle it.
        if len(inbox) < self.session.receive_limit or not inbox.busy:
            inbox.put(self._hand_over, data, truncated)
        else:
            self._dropped_early += 1

    def touch(self) -> None:
        """Measure the peer's silence from now on."""
        if (watch := self.watch) is not None:
            watch.active_at = watch.now()

    @property
    def is_new(self) -> bool:
        """Whether no more than one datagram has come from it, and it has not begun to end."""
        # Before it has begun, that is among what waits in the inbox.
        waiting = len(self.inbox) - (self.state is CONNECTING)
        return self.state in (CONNECTING, OPEN) and self._messages_received + waiting <= 1

    def _hand_over(self, data: bytes, truncated: bool) -> None:
        if self.state is not OPEN:
            self._dropped_late += 1
            return
        self._bytes_received += len(data)
        self._messages_received += 1
        if truncated:
            self._truncated += 1
            self.session.on_truncated(memoryview(data))
        else:
            self.session.on_receive(memoryview(data))

    # From any thread

    @property
    def socket(self) -> Datagram:
        """The socket, for its options; RuntimeError before there is one."""
        if self._receives is None or self.state is CLOSED:
            raise no_socket(self.session, self.state is CONNECTING)
        return self._receives.datagram

    def check_length(self, count: int) -> None:
        """Raise ValueError for more bytes than a datagram of this socket can carry."""
        sends = self._sends
        check_length(count, DATAGRAM_BYTES_MAX if sends is None else sends.bytes_max)

    def send(self, data: Buffer) -> bool:
        """Send a datagram; see `DatagramSession.send`."""
        # Not bytes(data): bytes(5) would be five zeros.
        message = data if type(data) is bytes else memoryview(data).tobytes()
        size = len(message)
        if size > DATAGRAM_BYTES_MAX:
            self.check_length(size)
        if self.state is CONNECTING:
            raise RuntimeError(f"{self.session!r} cannot send before on_connect()")
        with self._lock:
            if self.state is not OPEN:
                return False
            assert self._sends is not None, "only who never opened may lack a socket"
            # Never before what is still under way by an operation.
            if not self._sending and self._sends.take(self.key, message):
                self._messages_sent += 1
                self._bytes_sent += size
                return True
            send = None
            if self.queued_bytes + size <= self.session.send_limit:
                send = self._sends.start(self, self.key, message)
            if send is None:
                self._sends_dropped += 1
                return False
            self._messages_sent += 1
            self._sending += 1
            if send.operation.unwritten:
                send.waits = True
                self.queued_bytes += size
        return True

    def sent(self, send: PeerSend, status: int) -> None:
        """Count a send that has ended."""
        with self._lock:
            self._sending -= 1
            if send.waits:
                self.queued_bytes -= send.size
            if failed(status):
                self._sends_dropped += 1
            else:
                self._bytes_sent += send.size

    def go_on(self) -> None:
        """Go on with the end, if it waits for what was being sent."""
        if not self._sending and self.state is not OPEN:
            self.inbox.deliver(self._finish)

    def close(self) -> None:
        """End it once what waits has been sent; see `DatagramSession.close`."""
        if self.state is CONNECTING:
            self.abort()
            return
        with self._lock:
            if self.state is not OPEN:
                return
            self.state = CLOSING
        self.submit(self._finish)

    def abort(self) -> None:
        """End it at once; see `DatagramSession.abort`."""
        self._doomed = True
        super().abort()

    def make_room(self) -> None:
        """End it at once: the server is full, and needs its place."""
        self._doomed = True
        self.submit(self.break_off, self._error_in("make_room", WSAECONNABORTED), True)

    def statistics(self) -> DatagramSessionStatistics:
        """Return what has been received and sent; see `DatagramSession.statistics`."""
        with self._lock:
            return DatagramSessionStatistics(
                bytes_received=self._bytes_received,
                bytes_sent=self._bytes_sent,
                messages_received=self._messages_received,
                messages_sent=self._messages_sent,
                send_queue_bytes=self.queued_bytes,
                age_s=self.age_s,
                truncated=self._truncated,
                receives_dropped=self._dropped_early + self._dropped_late,
                sends_dropped=self._sends_dropped,
            )

    # How it ends

    def _close(self, reset: bool) -> None:
        with self._lock:
            self.state = CLOSED
        self.end()

    def _finish(self) -> None:
        with self._lock:
            if self.state is CLOSING and not self._sending:
                self.state = CLOSED
        self.end()

    def end(self) -> None:
        """Call ``on_close``, once nothing of this session is under way any more."""
        if self.state is CLOSED and not self._sending:
            self._say_goodbye(self.session.on_close)
