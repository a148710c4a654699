"""Connection: what is behind a `Session`: how its connection begins, goes on and ends.

It has one receive, posted again after each ``on_receive``, and one gathered send at a time.
Completions, and calls that may run a hook, go through an `Inbox`, so the hooks of one session
never overlap, whatever the number of workers.

It is separate from the session so that a subclass of `Session` can use any attribute names.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ...errors import HandleClosedError, IocpError, error_of_status
from ...winapi import SD_SEND
from ...winapi.errorcodes import WSAETIMEDOUT
from ..life import Life
from ..session_state import CLOSED, CLOSING, CONNECTING, OPEN
from ..socket_options import no_socket
from .receiving import BY_LAYER, BY_SENDS, BY_USER, Receiving
from .send_progress import SendProgress
from .sending import Sending, SendStalledError
from .session_statistics import SessionStatistics

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ...engine.home import Home
    from ...engine.timers import ScheduledCall
    from ...handles.sockets.stream import Stream
    from ..tls.tls import TlsInfo
    from ..transport import Hooks
    from .idle_operations import IdleOperations
    from .session import Session


class Connection(Life["Session"]):
    """The connection of one session.

    Any thread may call what is under "From any thread"; everything else runs within the inbox.

    idle_operations: where it borrows its receives and sends.
    upgrade: goes over to TLS.
    hooks: what is called when something happens: the session, or the layer above.
    """

    name = "Session"

    tls: TlsInfo | None = None
    """The result of a TLS handshake; None here, see `tls_layer`."""

    __slots__ = (
        "_cancel_connect",
        "_close_watch",
        "_deadline",
        "_is_client",
        "_receives",
        "_shut_down",
        "_stall_watch",
        "_upgrade",
        "hooks",
        "idle_operations",
        "sends",
        "stream",
    )

    def __init__(
        self,
        home: Home,
        session: Session,
        idle_operations: IdleOperations,
        on_end: Callable[[Session], None],
        upgrade: Callable[[Session, ssl.SSLContext, bool, str | None, float], None],
        hooks: Hooks,
    ) -> None:
        super().__init__(home, session, on_end)
        self.hooks = hooks
        self._upgrade = upgrade
        self.idle_operations = idle_operations
        self.stream: Stream | None = None
        self._receives = Receiving(self)
        self.sends: Sending = Sending(self)
        #: For what waits to be sent, while the session closes.
        self._close_watch: SendProgress | None = None
        #: The same, while it receives nothing because too much waits.
        self._stall_watch: SendProgress | None = None
        #: For the peer's end, once everything is sent.
        self._deadline: ScheduledCall | None = None
        self._cancel_connect: Callable[[], None] | None = None
        self._is_client = False
        self._shut_down = False

    # How it begins

    def begin_connect(self, cancel: Callable[[], None]) -> None:
        """A connect is under way: `end_connect` will be called, once.

        cancel: called if the session ends before that.
        """
        self._cancel_connect = cancel
        self._is_client = True

    def connecting_to(self, peer: Any) -> None:
        """Remember the first address that is tried."""
        if self.peer_address is None:
            self.peer_address = peer

    def end_connect(self, stream: Stream | None, peer: Any, error: BaseException | None) -> None:
        """Begin with a connected stream, or end with an error."""
        self.inbox.deliver(self._connect_ended, stream, peer, error)

    def _connect_ended(self, stream: Stream | None, peer: Any, error: BaseException | None) -> None:
        self._cancel_connect = None
        if stream is not None:
            self._begin(stream, peer)
        elif self.state is CLOSED:
            self.end()
        elif error is not None:
            self.break_off(error)

    def attach(self, stream: Stream, peer: Any, first: bytes = b"") -> None:
        """Take over a connected stream, and begin; `first` has been received already."""
        self.peer_address = peer  # even if the session ends before it begins
        self.inbox.deliver(self._begin, stream, peer, first)

    @property
    def open_stream(self) -> Stream:
        """The stream, once there is one."""
        assert self.stream is not None, "only a session that never had one has no stream"
        return self.stream

    def _begin(self, stream: Stream, peer: Any, first: bytes = b"") -> None:
        session = self.session
        if self.state is CLOSED:  # aborted before there was a connection
            stream.close()
            self.end()
            return
        stream.key = session
        self.stream = stream
        self.peer_address = peer
        self.local_address = stream.local_address()
        self._begun_at = self._home.kernel.monotonic()
        self._receives.open()
        self.sends.open(stream)
        if session.zero_byte_after:
            self._watch_for_idleness((session.zero_byte_after, self._rest))
        elif session.idle_timeout is not None:
            self._watch_for_idleness()
        self.state = OPEN
        self.hooks.on_connect()
        if first:
            self._receives.hand_over_first(first)
        self._receives.go_on()

    def _rest(self) -> None:
        """Give up the buffers: nothing may come for long."""
        self._receives.rest()
        self.sends.rest()

    # From any thread

    def call_later(self, seconds: float, function: Callable[..., None]) -> None:
        """Have a worker call `function`, which runs within the inbox, after some time."""
        self._home.call_later(seconds, self.inbox.deliver, function)

    def close(self) -> None:
        """Close in order; see `Session.close`."""
        if self.state is CONNECTING:
            self.abort()
            return
        with self.sends.lock:
            if self.state is not OPEN:
                return
            self.state = CLOSING
            self.expect_progress()
        self.submit(self.go_on_closing)

    def expect_progress(self) -> None:
        """Reset the connection when the peer no longer takes what waits to be sent."""
        if self._close_watch is None:
            session = self.session
            self._close_watch = self._watch_sends(
                session.close_timeout, self._close_timed_out, session.close_rate
            )

    def _watch_sends(
        self, seconds: float, on_stall: Callable[[], None], rate: float = 0.0
    ) -> SendProgress:
        return SendProgress(self._home, self.inbox.deliver, self.sends, seconds, on_stall, rate)

    def send_eof(self) -> None:
        """Send what waits, then the end of the stream; see `Session.send_eof`."""
        if self.state is CONNECTING:
            raise RuntimeError(f"{self.session!r} cannot send before on_connect()")
        if self.sends.end():
            self.submit(self.go_on_closing)

    def start_tls(
        self,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        handshake_timeout: float,
    ) -> None:
        """Go over to TLS; see `Session.start_tls`."""
        self._upgrade(self.session, context, server_side, server_hostname, handshake_timeout)

    def pause(self) -> None:
        """Post no further receive."""
        with self.sends.lock:
            self._receives.paused |= BY_USER

    def resume(self) -> None:
        """Receive again."""
        with self.sends.lock:
            self._receives.paused &= ~BY_USER
        if self.watch is not None:  # the pause was no silence
            self.watch.active_at = self.watch.now()
        self.submit(self._receives.go_on)

    def pause_for(self, reason: int) -> None:
        """Receive nothing, because too much waits to be sent. Called with the lock of the sends.

        reason: `BY_SENDS`, or `BY_LAYER`.
        """
        session = self.session
        receives_on = session.receive_when_full
        if receives_on is None:
            receives_on = self._is_client
        closing = self._close_watch is not None  # what comes then is dropped
        if closing or receives_on or self._receives.paused & reason:
            return
        self._receives.paused |= reason
        seconds = session.stall_timeout
        if seconds is not None and reason == BY_SENDS:
            self._stall_watch = self._watch_sends(seconds, self._sends_stalled)

    def resume_for(self, reason: int) -> None:
        """End such a pause; `receive` has its effect. Called with the lock of the sends."""
        if not self._receives.paused & reason:
            return
        self._receives.paused &= ~reason
        if reason & BY_SENDS and self._stall_watch is not None:
            self._stall_watch.stop()
        if self.watch is not None:  # the pause was no silence
            self.watch.active_at = self.watch.now()

    def drop_unread(self) -> int:
        """Drop what came before the first receive and was not handed over; return its bytes."""
        return self._receives.drop_first()

    @property
    def socket(self) -> Stream:
        """The socket, for its options; RuntimeError before there is one."""
        if self.stream is None:
            raise no_socket(self.session, self.state is CONNECTING)
        return self.stream

    @property
    def ended(self) -> bool:
        """Whether this side has ended."""
        return self.sends.ended

    @property
    def unread_bytes(self) -> int:
        """How many bytes of those before the first receive were not handed over."""
        return self._receives.first_bytes

    @property
    def paused(self) -> bool:
        """Whether the session, or a layer, has paused it."""
        return bool(self._receives.paused & BY_USER)

    @property
    def quiet(self) -> bool:
        """Whether it is open, and nothing has come, not even its end, that no hook knows of.

        Layers may have more: see `Transport.unread_bytes`.
        """
        return self.state is OPEN and self._receives.quiet

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self.sends.queued_bytes

    def statistics(self) -> SessionStatistics:
        """Return what has been received and sent; see `Session.statistics`."""
        receives, sends = self._receives, self.sends
        with sends.lock:
            return SessionStatistics(
                bytes_received=receives.bytes,
                bytes_sent=sends.taken_bytes,
                messages_received=receives.messages,
                messages_sent=sends.messages,
                send_queue_bytes=sends.queued_bytes,
                age_s=self.age_s,
            )

    # Within the inbox

    def writable(self) -> None:
        """Tell the session that there is room again, and receive again, unless it is full again."""
        self.hooks.on_writable()
        self.receive()

    def receive(self) -> None:
        """Post the receive, unless something pauses it."""
        self._receives.go_on()

    def _sends_stalled(self) -> None:
        """The peer takes nothing, and nothing is received until it does."""
        session = self.session
        if self.state is not OPEN:
            return
        if session.receive_when_stalled:
            with self.sends.lock:
                self.resume_for(BY_SENDS | BY_LAYER)
            self.receive()
            return
        waiting = self.sends.queued_bytes
        text = f"the peer has taken none of {waiting} bytes for {session.stall_timeout} s"
        self.break_off(SendStalledError(f"{text}: see stall_timeout [{session!r}]"), True)

    def _close_timed_out(self) -> None:
        """Reset, because the peer does not take what is left."""
        self.break_off(self._error_in("close", WSAETIMEDOUT), True)

    def _end_timed_out(self) -> None:
        """Close without the peer's end; the system still delivers what it has."""
        self.break_off(self._error_in("close", WSAETIMEDOUT))

    def _on_idle(self) -> None:
        # Nothing comes while nothing is received: then only a peer that takes nothing is silent.
        paused = self._receives.paused
        if paused & (BY_SENDS | BY_LAYER) or (paused and self.sends.empty):
            return
        super()._on_idle()

    # How it ends

    def error_of(self, function: str, status: int) -> IocpError:
        """Return the error that an operation of this connection ended in."""
        return error_of_status(function, status, self.session, self.open_stream.winerror_of)

    def go_on_closing(self) -> None:
        """Take the next step of closing both sides, or this one, if it is time for it."""
        closing = self.state is CLOSING
        if closing:
            self._receives.go_on()  # whatever has paused it: what comes is dropped
        if not (closing or self.sends.ended) or self.state is CLOSED or not self.sends.empty:
            return
        if self._receives.eof:
            self._close(reset=False)  # the peer sees the end by that
            return
        if not self._shut_down:
            self._shut_down = True
            try:
                self.open_stream.shutdown(SD_SEND)
            except IocpError as error:
                self.break_off(error)
                return
        if closing:
            if self._deadline is None:
                seconds = self.session.close_timeout
                self._deadline = self._home.call_later(
                    seconds, self.inbox.deliver, self._end_timed_out
                )
            if self._close_watch is not None:
                self._close_watch.stop()

    def _close(self, reset: bool) -> None:
        if reset and self.stream is not None:
            with contextlib.suppress(OSError, HandleClosedError):
                self.stream.reset_on_close()
        with self.sends.lock:
            self.state = CLOSED
            busy = self.sends.sending or self._receives.receiving
        if self.stream is not None:
            self.stream._close(cancel=busy)
        elif self._cancel_connect is not None:
            self._cancel_connect()
        self.end()

    def end(self) -> None:
        """Call ``on_close``, once nothing of this session is in flight any more."""
        if self._receives.receiving or self.sends.sending:
            return
        if self._cancel_connect is not None:  # end_connect will come
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if self._close_watch is not None:
            self._close_watch.stop()
        if self._stall_watch is not None:
            self._stall_watch.stop()
        self._say_goodbye(self.hooks.on_close)

    def _free(self) -> None:
        self._receives.drop()
        self.sends.drop()
        if self.stream is not None:
            self._home.spare_locks.append(self.stream.lock)
