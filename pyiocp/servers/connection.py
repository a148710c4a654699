"""Connection: what a `Session` does not show: how its life begins, goes on and ends.

A connection reads with one receive, posted again after each ``on_receive``, and writes
with one gathered send at a time. Completions, and calls that end in a hook, go through an
`Inbox`, so that the hooks of one session never overlap, whatever the number of workers.

It is an object of its own so that a subclass of `Session` may call its attributes what it
likes. What belongs here: the life of one connection, by the states of `session_state`.
Where it comes from is not known here (`listener`, `connector`), nor how it receives and
sends (`receive_loop`, `send_queue`).
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from ..engine.inbox import Inbox
from ..engine.interrupt import calls_hooks
from ..errors import (
    HandleClosedError,
    IocpError,
    PortClosedError,
    error_of_code,
    error_of_status,
)
from ..winapi import SD_SEND
from ..winapi.errorcodes import WSAECONNABORTED, WSAETIMEDOUT
from .idle_watch import IdleWatch
from .receive_loop import ReceiveLoop
from .send_queue import SendQueue
from .session_state import CLOSED, CLOSING, CONNECTING, OPEN
from .session_statistics import SessionStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ..engine.queue import CompletionQueue
    from ..engine.timers import Timer
    from ..handles.stream import Stream
    from .layer import Hooks
    from .session import Session
    from .spares import Spares
    from .tls import TlsInfo

logger = logging.getLogger("pyiocp")


class Connection:
    """The connection of one session.

    Any thread may call what stands under "What comes from outside"; all else runs within
    the inbox.

    spares: where it borrows what it receives and sends with.
    on_end: called with the session after its ``on_close``.
    hooks: what is told of all that happens; by default the session.
    """

    tls: TlsInfo | None = None
    """What a TLS handshake has agreed upon: see `tls_layer`. Without TLS there is none."""

    # There are many, most of them idle: with slots, here and in what a connection is made
    # of, each takes 200 bytes less.
    __slots__ = (
        "_cancel_connect",
        "_deadline",
        "_ended",
        "_error",
        "_port",
        "_receives",
        "_shut_down",
        "connected_at",
        "hooks",
        "inbox",
        "local",
        "on_end",
        "peer",
        "sends",
        "session",
        "spares",
        "state",
        "stream",
        "watch",
    )

    def __init__(
        self,
        port: CompletionQueue,
        session: Session,
        spares: Spares,
        on_end: Callable[[Session], None],
        hooks: Hooks | None = None,
    ) -> None:
        self.state = CONNECTING
        self.session = session
        self.hooks: Hooks = session if hooks is None else hooks
        self.spares = spares
        self.stream: Stream | None = None
        self.peer: Any = None
        self.local: Any = None
        self.connected_at: float | None = None
        self.inbox = Inbox(self._on_failure)
        self.watch: IdleWatch | None = None
        self._port = port
        self.on_end = on_end
        self._receives = ReceiveLoop(self)
        self.sends = SendQueue(self)
        self._error: OSError | None = None
        self._deadline: Timer | None = None
        self._cancel_connect: Callable[[], None] | None = None
        self._shut_down = False
        self._ended = False

    # How it begins

    def begin_connect(self, cancel: Callable[[], None]) -> None:
        """Take note that a connect is under way: `end_connect` will be called, once.

        cancel: called if the session ends before that.
        """
        self._cancel_connect = cancel

    def connecting_to(self, peer: Any) -> None:
        """Take note of the first address that is connected to."""
        if self.peer is None:
            self.peer = peer

    def end_connect(self, stream: Stream | None, peer: Any, error: Exception | None) -> None:
        """Go on with a connected stream, or end because of the error."""
        self.inbox.deliver(self._connect_ended, stream, peer, error)

    def _connect_ended(self, stream: Stream | None, peer: Any, error: Exception | None) -> None:
        self._cancel_connect = None
        if stream is not None:
            self._begin(stream, peer)
        elif self.state is CLOSED:
            self.end()
        elif error is not None:
            self.break_off(error)

    def attach(self, stream: Stream, peer: Any, first: bytes = b"") -> None:
        """Take over a connected stream, and begin; `first` is what has come already."""
        self.peer = peer  # also if the session ends before it can begin
        self.inbox.deliver(self._begin, stream, peer, first)

    @property
    def open_stream(self) -> Stream:
        """The stream, where there is one for sure."""
        assert self.stream is not None, "only a session that never had one has no stream"
        return self.stream

    @calls_hooks
    def _begin(self, stream: Stream, peer: Any, first: bytes = b"") -> None:
        session = self.session
        if self.state is CLOSED:  # aborted before there was a connection
            stream.close()
            self.end()
            return
        stream.key = session
        self.stream = stream
        self.peer = peer
        self.local = stream.local_address()
        self.connected_at = self._port.kernel.monotonic()
        self._receives.open()
        self.sends.open()
        self._begin_watch()
        self.state = OPEN
        self.hooks.on_connect()
        if first:
            self._receives.hand_over_first(first)
        self._receives.go_on()

    def _begin_watch(self) -> None:
        """Watch for idleness, if the session's settings ask for that."""
        session = self.session
        limits: list[tuple[float, Callable[[], None]]] = []
        if session.zero_byte_after:
            limits.append((session.zero_byte_after, self._rest))
        if session.idle_timeout is not None:
            if not session.idle_timeout > 0:
                value = session.idle_timeout
                raise ValueError(f"idle_timeout must be None or more than 0 seconds, not {value}")
            limits.append((session.idle_timeout, self._on_idle))
        if limits:
            self.watch = IdleWatch(self._port, self.inbox.deliver, limits)

    def _rest(self) -> None:
        """Hold no memory for what may not come for long."""
        self._receives.rest()
        self.sends.rest()

    def _on_idle(self) -> None:
        if self.state is OPEN:
            error = error_of_code("Session.idle_timeout", WSAETIMEDOUT, None, self.session)
            self.break_off(error, reset=True)

    # What comes from outside, and goes through the inbox

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a worker call `function`, which runs within the inbox, in its turn."""
        with contextlib.suppress(PortClosedError):
            self._port.call_soon(self.inbox.deliver, function, *arguments)

    def call_later(self, seconds: float, function: Callable[..., None]) -> None:
        """Have a worker call `function`, which runs within the inbox, after some time."""
        self._port.call_later(seconds, self.inbox.deliver, function)

    def send(self, data: Buffer) -> bool:
        """Send bytes; see `Session.send`, which spares itself this step."""
        return self.sends.send(data)

    def close(self) -> None:
        """Close in order; see `Session.close`."""
        if self.state is CONNECTING:
            self.abort()
            return
        with self.sends.lock:
            if self.state is not OPEN:
                return
            self.state = CLOSING
        self._deadline = self._port.call_later(self.session.close_timeout, self.close_timed_out)
        self.submit(self.go_on_closing)

    def send_eof(self) -> None:
        """Send what waits, and then the end; see `Session.send_eof`."""
        if self.state is CONNECTING:
            raise RuntimeError(f"{self.session!r} cannot send before on_connect()")
        if self.sends.end():
            self.submit(self.go_on_closing)

    def abort(self) -> None:
        """Reset; see `Session.abort`."""
        error = error_of_code("Session.abort", WSAECONNABORTED, None, self.session)
        self.submit(self.break_off, error, True)

    def pause(self) -> None:
        """Post no further receive."""
        self._receives.paused = True

    def resume(self) -> None:
        """Receive again."""
        self._receives.paused = False
        self.submit(self._receives.go_on)

    @property
    def error(self) -> OSError | None:
        """Why it was broken off, if it was."""
        return self._error

    @property
    def quiet(self) -> bool:
        """Whether it is open, and nothing, not even its end, has come that is unheard of."""
        return self.state is OPEN and self._receives.quiet

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self.sends.queued_bytes

    def statistics(self) -> SessionStatistics:
        """Return what has been received and sent; see `Session.statistics`."""
        receives, sends = self._receives, self.sends
        begun = self.connected_at
        with sends.lock:
            return SessionStatistics(
                bytes_received=receives.bytes,
                bytes_sent=sends.taken_bytes,
                messages_received=receives.messages,
                messages_sent=sends.messages,
                send_queue_bytes=sends.queued_bytes,
                age_s=0.0 if begun is None else self._port.kernel.monotonic() - begun,
            )

    def close_timed_out(self) -> None:
        """Reset: what `close` has waited for takes too long."""
        error = error_of_code("Session.close", WSAETIMEDOUT, None, self.session)
        self.submit(self.break_off, error, True)

    # How it ends

    def _on_failure(self, error: Exception) -> None:
        """A hook raised: log it, and end this session."""
        logger.error("%r is aborted: a hook failed", self.session, exc_info=error)
        self.break_off(error, reset=True)

    def error_of(self, function: str, status: int) -> IocpError:
        """Return the error that an operation of this connection ended in."""
        return error_of_status(function, status, self.session, self.open_stream.winerror_of)

    def go_on_closing(self) -> None:
        """Take the next step of closing in order, or one side of it, if it is time for one."""
        closing = self.state is CLOSING
        if not (closing or self.sends.ended) or self.state is CLOSED or not self.sends.empty:
            return
        if closing and self._receives.eof:
            self._close_socket()  # which tells the peer, too
            return
        if not self._shut_down:
            self._shut_down = True
            try:
                self.open_stream.shutdown(SD_SEND)
            except IocpError as error:
                self.break_off(error)
                return
        if closing:
            self._receives.go_on()

    def break_off(self, error: Exception, reset: bool = False) -> None:
        """Close the socket because of `error`; with `reset` the peer gets an RST."""
        if self.state is CLOSED:
            return
        self._error = as_os_error(error)
        if reset and self.stream is not None:
            with contextlib.suppress(OSError, HandleClosedError):
                self.stream.reset_on_close()
        self._close_socket()

    def _close_socket(self) -> None:
        with self.sends.lock:
            self.state = CLOSED
            busy = self.sends.sending or self._receives.receiving
        if self.stream is not None:
            self.stream._close(cancel=busy)
        elif self._cancel_connect is not None:
            self._cancel_connect()
        self.end()

    @calls_hooks
    def end(self) -> None:
        """Say goodbye, once nothing of this session is in flight any more."""
        if self._receives.receiving or self.sends.sending or self._ended:
            return
        if self._cancel_connect is not None:  # end_connect will come
            return
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self.watch is not None:
            self.watch.stop()
        try:
            self.hooks.on_close(self._error)
        except Exception:
            logger.exception("on_close of %r failed", self.session)
        self.on_end(self.session)
        # Session and connection know each other, and wait for a garbage collection. What is
        # large goes now.
        self._receives.drop()
        self.sends.drop()
        if self.stream is not None:
            self._port.spare_locks.append(self.stream.lock)


class NoConnection:
    """Stands for the connection of a session that no port has yet.

    givers: what gives it one, in words.
    """

    def __init__(self, givers: str) -> None:
        self._givers = givers

    state = CONNECTING
    peer = None
    local = None
    queued_bytes = 0
    tls = None

    @property
    def sends(self) -> NoConnection:
        """What has nothing to send with either."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Say what is missing, whatever was asked for."""
        raise RuntimeError(f"{name}: the session has no connection; {self._givers} give it one")


def as_os_error(error: Exception) -> OSError:
    """Return `error`, or what wraps it, as what ``on_close`` takes."""
    if isinstance(error, OSError):
        return error
    wrapped = ConnectionAbortedError(f"the session was ended by {error!r}")
    wrapped.__cause__ = error
    return wrapped
