"""TlsLayer: TLS between a session and its connection, by the standard library's `ssl`.

The `ssl.SSLObject` reads and writes memory: what the connection receives goes into ``_incoming``,
what is to be sent is taken from ``_outgoing``. OpenSSL's objects are not thread-safe, and what
comes out of ``_outgoing`` has to be queued in that order, so a lock is held while they are used,
including the sending. Hooks are called without it.

How it ends:

- ``close()`` sends a ``close_notify`` after all else, then closes the connection in order.
  While a file is being sent (`tls_backlog`), it waits for that.
- The peer's ``close_notify`` is the end of the stream (``on_eof``).
- The end of the TCP stream without it may be an attacker's: `TlsTruncatedError`.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ...errors import error_of_code
from ...handles.sockets.transmit import FilePart
from ...winapi.errorcodes import WSAETIMEDOUT
from ..session_state import CLOSING, CONNECTING, OPEN, SessionState
from ..tcp.receiving import BY_LAYER, BY_SENDS
from ..turn import TurnLayer, turn
from .tls import TlsError, TlsHandshakeError, TlsInfo, TlsTruncatedError
from .tls_backlog import TlsBacklog

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ...engine.timers import ScheduledCall
    from ..tcp.connection import Connection
    from ..tcp.session import Session
    from ..tcp.session_statistics import SessionStatistics
    from ..transport import Hooks, Transport
    from .resumption import Resumption

_RECORD = 16384
"""Bytes of content that a TLS record may have; one read returns no more."""

_ENCRYPT_AT_ONCE = 1 << 18
"""Bytes of a large message that are in memory twice while it is encrypted."""


class TlsLayer(TurnLayer):
    """The layer that encrypts what a session sends, and decrypts what it receives.

    wrap: returns this side of a new connection, given what it reads from and writes to.
    handshake_timeout: seconds.
    resumption: what a client's connections resume.
    """

    tls: TlsInfo | None = None

    def __init__(
        self,
        session: Session,
        hooks: Hooks,
        wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
        handshake_timeout: float,
        resumption: Resumption | None,
    ) -> None:
        super().__init__(session, hooks)
        self._handshake_timeout = handshake_timeout
        self._resumption = resumption
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = wrap(self._incoming, self._outgoing)
        self.lock = threading.Lock()
        self.has_room = True
        """Whether the connection's queue has room, as far as we know."""
        self._backlog = TlsBacklog(self)
        #: Whether `send` has said False, so that ``on_writable`` is due.
        self._told_no = False
        #: What happens after the backlog: `close`, or `send_eof`.
        self._closing = False
        self._ending = False
        #: Whether `send_eof` was called.
        self._ended = False
        #: The deadline of the handshake.
        self._deadline: ScheduledCall | None = None
        self.established = False
        """Whether the handshake is over."""
        #: Whether the session was open before the handshake.
        self._upgrades = False
        #: Whether the backlog has the connection receive nothing.
        self._full = False
        #: Bytes of one message that is longer than the limit, and found nothing before it.
        self._large = 0
        #: Whether this side, and the peer, has sent its close_notify.
        self._closed = False
        self._peer_closed = False
        #: What was decrypted before it could be handed over.
        self._waiting: deque[bytes] = deque()

    def stand_on(self, below: Transport, connection: Connection) -> None:
        """Remember what is below; called before anything comes from there."""
        super().stand_on(below, connection)
        self.sends = self  # nothing may be sent without encryption
        self._send_below = below.sends.send

    @property
    def state(self) -> SessionState:
        """Where the session is in its life: it is open when the handshake is over."""
        state = self.below.state
        if state is OPEN and self._closing:
            return CLOSING
        if state is OPEN and not (self.established or self._upgrades):
            return CONNECTING
        return state

    def upgrade(self) -> None:
        """Become the layer of a session that is open: what it sends waits for the handshake.

        `on_connect` begins that. Called with the lock of the connection's sends.
        """
        self._upgrades = True
        self._told_no = self.connection.sends.over_high_water
        self.has_room = not self._told_no
        if self.connection.paused:  # the handshake has to be received
            self._paused = True
            self.connection.resume()

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait, encrypted or not."""
        return self.below.queued_bytes + self._backlog.bytes

    def statistics(self) -> SessionStatistics:
        """Return what has been received and sent; see `Session.statistics`."""
        return self.below.statistics()._replace(send_queue_bytes=self.queued_bytes)

    # What comes from the session

    def send(self, data: Buffer) -> bool:
        """Encrypt and send; see `Session.send`."""
        data = bytes(memoryview(data)) if type(data) is not bytes else data
        if self.state is CONNECTING:
            raise RuntimeError(f"{self.session!r} cannot send before on_connect()")
        with self.lock:
            if not self._takes_more:
                return False
            if self._waits:
                self._large = len(data) if not self._backlog else self._large
                self._backlog.add(data)
                return self._answer()
            goes_on = self.encrypt(data) if data else self._send_below(b"")
            self._told_no |= not goes_on
            return goes_on

    def send_file(self, file: Any, offset: int, count: int | None, close: bool) -> bool:
        """Have a file read, encrypted and sent, in its turn; see `Session.send_file`."""
        if self.state is CONNECTING:
            raise RuntimeError(f"{self.session!r} cannot send before on_connect()")
        waiting = self._backlog.file(FilePart(file, offset, count), close=close)
        with self.lock:
            if self._takes_more:
                self._backlog.add_file(waiting)
                return self._answer()
        waiting.end()
        return False

    @property
    def _waits(self) -> bool:
        """Whether what is sent now waits: for a file before it, or for the handshake."""
        return bool(self._backlog) or not self.established

    @property
    def _takes_more(self) -> bool:
        return self.state is OPEN and not self._closed and not self._ending

    def _answer(self) -> bool:
        """Return whether more may be sent, with a backlog. Called with the lock."""
        queued_bytes = self.queued_bytes
        if queued_bytes - self._large > self.session.send_limit:
            self._ending = True
            self.connection.sends.overflow(queued_bytes)
        if queued_bytes >= self.session.high_water or self._backlog.many_files:
            self._told_no = True
            self._pause_if_full()
        return not self._told_no

    def _pause_if_full(self) -> None:
        """Receive nothing while the backlog is long, but for a handshake. Called with the lock."""
        if self._told_no and self._backlog and self.established:
            self._full = True
            with self.connection.sends.lock:
                self.connection.pause_for(BY_LAYER)

    def encrypt(self, data: Buffer) -> bool:
        """Encrypt, queue, and return what the queue says to that. Called with the lock."""
        view = memoryview(data)
        if len(view) <= _ENCRYPT_AT_ONCE:
            return self._encrypt(view)
        with self.connection.sends.one_message():
            return self._encrypt(view)

    def _encrypt(self, view: memoryview) -> bool:
        goes_on = True
        try:
            while view and self.below.state is OPEN:
                count = self._object.write(view[:_ENCRYPT_AT_ONCE])
                view = view[count:]
                goes_on = self._send_below(self._outgoing.read())
                self.has_room &= goes_on
        except ssl.SSLError as error:  # it broke off, and this thread is the first to notice
            self.connection.submit(self._fail, error)
            return False
        return goes_on

    def went_on(self) -> None:
        """Do what has waited for the backlog to shrink, within the inbox."""
        with self.lock:
            backlog = self._backlog
            if not backlog:
                self._large = 0
                if self.below.state is OPEN:
                    if self._closing:
                        self._close_below()
                    elif self._ending:
                        self._send_eof_below()
            few = backlog.bytes <= self.session.low_water and not backlog.many_files
            room = self.has_room and few
            writable = self._told_no and self._takes_more and room
            self._told_no &= not writable
            if resumes := self._full and room:  # before the hook, which may send as much again
                self._full = False
                with self.connection.sends.lock:
                    self.connection.resume_for(BY_LAYER)
        if writable:
            self.hooks.on_writable()
        if resumes:
            self.connection.receive()

    def close(self) -> None:
        """Say ``close_notify`` after all else, and close in order; see `Session.close`."""
        with self.lock:
            if self.state is CONNECTING:
                self.below.abort()
            elif not self._backlog:
                self._close_below()
            elif self.state is OPEN:
                self._closing = True
                self._receive_while_closing()

    def _receive_while_closing(self) -> None:
        """Go on receiving, to drop what comes, while the backlog is sent. Called with the lock."""
        self._paused = self._full = False
        with self.connection.sends.lock:
            self.connection.expect_progress()
            self.connection.resume_for(BY_SENDS | BY_LAYER)
        self.below.resume()

    def _close_below(self) -> None:
        if self.below.state is OPEN:
            self._notify()
        self.below.close()

    def send_eof(self) -> None:
        """Say ``close_notify`` after all else; see `Session.send_eof`."""
        if self.state is CONNECTING:
            raise RuntimeError(f"{self.session!r} cannot send before on_connect()")
        with self.lock:
            self._ended = True
            if self._waits:
                self._ending = True
            else:
                self._send_eof_below()
        self.connection.submit(self._close_if_both_ended)

    def _send_eof_below(self) -> None:
        if self.state is OPEN and not self._closed:
            # unwrap() also reads, and drops what it finds: so read first.
            with contextlib.suppress(ssl.SSLError):
                while data := self._object.read(_RECORD):
                    self._waiting.append(data)
            self._notify()
        self.below.send_eof()

    def _notify(self) -> None:
        """Send a ``close_notify``, once. Called with the lock."""
        if not self._closed:
            self._closed = True
            # Do not wait for the peer's close_notify: its end of the stream says as much.
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
            self._flush()

    @property
    def ended(self) -> bool:
        """Whether this side has ended; see `Session.send_eof`."""
        return self._ended or self.below.ended

    @property
    def unread_bytes(self) -> int:
        """How many bytes have come and were not handed over, encrypted or not."""
        with self.lock:
            waiting = sum(map(len, self._waiting)) + self._incoming.pending + self._object.pending()
        return waiting + self.below.unread_bytes

    def pause(self) -> None:
        """Hand over nothing; see `Session.pause_receiving`. A handshake goes on."""
        self._paused = True
        if self.established:
            self.below.pause()

    def _go_on(self) -> None:
        """Go on after a pause, or with the next turn, within the inbox."""
        self._due = False
        if self.established:
            self._read()
        if not (self._paused or self._due):
            self.below.resume()

    # What comes from the connection, within the inbox

    def on_connect(self) -> None:
        """Begin the handshake; the session is told when it is over."""
        if self.below.state is not OPEN or self.established:  # which an upgrade may find
            return
        self._deadline = self.connection.open_stream.home.call_later(
            self._handshake_timeout, self._on_deadline
        )
        if self._resumption is not None:
            self._resumption.begin(self._object)
        self._shake_hands()

    def _on_deadline(self) -> None:
        self.connection.submit(self._break_off_handshake)

    def _break_off_handshake(self) -> None:
        if not self.established:
            error = error_of_code("TLS handshake", WSAETIMEDOUT, None, self.session)
            self.connection.break_off(error, True)

    def _shake_hands(self) -> None:
        """Take the next step of the handshake, if enough has come for it."""
        try:
            with self.lock:
                try:
                    self._object.do_handshake()
                    info = TlsInfo(
                        version=self._object.version() or "",
                        cipher=(self._object.cipher() or ("",))[0],
                        alpn=self._object.selected_alpn_protocol(),
                        peer_certificate=self._object.getpeercert(),
                        peer_certificate_der=self._object.getpeercert(binary_form=True),
                        resumed=bool(self._object.session_reused),
                    )
                finally:
                    self._flush()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self.tls = info
        self.established = True
        if self.connection.slot is not None:
            self.connection.slot.established()
        if self._resumption is not None:
            self._resumption.stands(self._object, self.lock)
        if self._upgrades:
            self._backlog.go_on()
            with self.lock:
                self._pause_if_full()
            self.session.on_tls()
        else:
            self.hooks.on_connect()
        if self._paused:
            self.below.pause()
        else:
            self._read()

    def on_receive(self, data: memoryview) -> None:
        """Decrypt, and hand over what is complete."""
        if self._peer_closed:
            return  # after its close_notify nothing counts
        with self.lock:
            self._incoming.write(data)
        if not self.established:
            self._shake_hands()
        elif not self._keeps_back():
            self._read()

    def _read(self) -> None:
        """Hand over what can be decrypted, for one turn; the rest comes in the next."""
        steps = turn(self.connection)
        try:
            for step in steps:
                if not self._read_records(step):
                    return
        finally:
            steps.close()
        self._end_turn()

    def _read_records(self, step: int) -> bool:
        """Hand over so many records at most; return whether there may be more."""
        more = True
        for _ in range(step):
            if self._paused or self.below.state is not OPEN or self._peer_closed:
                return False
            try:
                with self.lock:
                    try:
                        waiting = self._waiting
                        data = waiting.popleft() if waiting else self._object.read(_RECORD)
                        # Asking first costs less than an SSLWantReadError.
                        incoming = self._incoming
                        more = bool(
                            incoming.pending or self._object.pending() or incoming.eof or waiting
                        )
                    finally:
                        if self._outgoing.pending:  # the answer to a change of keys
                            self._flush()
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLZeroReturnError:
                data, more = b"", False
            except ssl.SSLError as error:
                self._fail(error)
                return False
            if self._closing:  # while a file is being sent: as after close() without one
                self._peer_closed |= not data
            elif data:
                self.hooks.on_receive(memoryview(data))
            else:
                self._peer_closed = True
                self.hooks.on_eof()
                self._close_if_both_ended()
            if not more:
                return False
        return True

    def _close_if_both_ended(self) -> None:
        """Close if this side and the peer have both said ``close_notify``. Within the inbox."""
        if self._peer_closed and self._ended:
            self.close()

    def on_eof(self) -> None:
        """Check that the end of the stream is the end of TLS as well."""
        if self._peer_closed or self._closing:
            return
        with self.lock:
            self._incoming.write_eof()
        if self.established:
            self._read()
        else:
            self._shake_hands()

    def on_writable(self) -> None:
        """Go on with what waits, and tell what is above; see `Session.on_writable`."""
        with self.lock:
            self.has_room = True
        if self._backlog:
            self._backlog.go_on()
        else:
            self.went_on()

    def on_close(self, error: OSError | None) -> None:
        """Tell what is above; see `Session.on_close`."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._backlog.drop()
        if self._resumption is not None and self._deadline is not None:  # it has begun
            self._resumption.ends(self._object, self.established)
        # Many peers send close_notify and leave: our answer then meets a closed socket.
        if self._peer_closed and self._closed and isinstance(error, ConnectionResetError):
            error = None
        self.hooks.on_close(error)

    def _flush(self) -> None:
        """Send what TLS has to say. Called with the lock."""
        if self._outgoing.pending:
            self._send_below(self._outgoing.read())

    def _fail(self, error: ssl.SSLError) -> None:
        """End the session because of an error of TLS, within the inbox."""
        cut = isinstance(error, ssl.SSLEOFError)
        if not self.established:
            reason = "the peer ended the connection" if cut else str(error)
            failure: TlsError = TlsHandshakeError(f"TLS handshake: {reason} [{self.session!r}]")
        elif cut:
            text = "the stream ended without close_notify: it may have been cut short"
            failure = TlsTruncatedError(f"{text} [{self.session!r}]")
        else:
            failure = TlsError(f"TLS: {error} [{self.session!r}]")
        failure.__cause__ = error
        self.end(failure)
