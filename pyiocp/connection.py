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
import struct
from typing import TYPE_CHECKING, Any

from .errors import (
    HandleClosedError,
    IocpError,
    PortClosedError,
    error_of_code,
    error_of_status,
)
from .inbox import Inbox
from .interrupt import calls_hooks
from .receive_loop import ReceiveLoop
from .send_queue import SendQueue
from .session_state import CLOSED, CLOSING, CONNECTING, OPEN
from .winapi import SD_SEND, SO_LINGER, SOL_SOCKET
from .winapi.errorcodes import WSAECONNABORTED, WSAETIMEDOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from .completion_queue import CompletionQueue
    from .handles.stream import Stream
    from .session import Session
    from .timers import Timer

logger = logging.getLogger("pyiocp")

_ABORTIVE_CLOSE = struct.pack("HH", 1, 0)
"""A LINGER of 0 seconds: closing resets the connection."""


class Connection:
    """The connection of one session.

    Any thread may call what stands under "What comes from outside"; all else runs within
    the inbox.

    on_end: called with the session after its ``on_close``.
    """

    def __init__(
        self, port: CompletionQueue, session: Session, on_end: Callable[[Session], None]
    ) -> None:
        self.state = CONNECTING
        self.session = session
        self.stream: Stream | None = None
        self.peer: Any = None
        self.local: Any = None
        self.inbox = Inbox(self._on_failure)
        self._port = port
        self._on_end = on_end
        self._receives = ReceiveLoop(self)
        self._sends = SendQueue(self)
        self.send = self._sends.send
        self._error: OSError | None = None
        self._deadline: Timer | None = None
        self._connecting = False
        self._shut_down = False
        self._ended = False

    # How it begins

    def begin_connect(self, stream: Stream, peer: Any) -> None:
        """Take note that the stream's connect is about to be posted."""
        self._connecting = True
        self.stream = stream
        self.peer = peer

    def end_connect(self, error: OSError | None) -> None:
        """Go on, or end, now that the connect is over."""
        self.inbox.deliver(self._connect_ended, error)

    def _connect_ended(self, error: OSError | None) -> None:
        self._connecting = False
        if self.state is CLOSED:
            self.end()
        elif error is not None:
            self.break_off(error)
        else:
            self.attach(self.open_stream, self.peer)

    def attach(self, stream: Stream, peer: Any) -> None:
        """Take over a connected stream, and begin."""
        stream.key = self.session
        self.stream = stream
        self.peer = peer
        self.inbox.deliver(self._connected)

    @property
    def open_stream(self) -> Stream:
        """The stream, where there is one for sure."""
        assert self.stream is not None, "only a session that never had one has no stream"
        return self.stream

    @calls_hooks
    def _connected(self) -> None:
        stream = self.open_stream
        if self.state is CLOSED:  # aborted before there was a connection
            stream.close()
            return
        self.local = stream.local_address()
        self._receives.open()
        self._sends.open(stream)
        self.state = OPEN
        self.session.on_connect()
        self._receives.go_on()

    # What comes from outside, and goes through the inbox

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a worker call `function`, which runs within the inbox, in its turn."""
        with contextlib.suppress(PortClosedError):
            self._port.call_soon(self.inbox.deliver, function, *arguments)

    def close(self) -> None:
        """Close in order; see `Session.close`."""
        if self.state is CONNECTING:
            self.abort()
            return
        with self._sends.lock:
            if self.state is not OPEN:
                return
            self.state = CLOSING
        self._deadline = self._port.call_later(self.session.close_timeout, self._on_deadline)
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
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self._sends.queued_bytes

    def _on_deadline(self) -> None:
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
        """Take the next step of closing in order, if it is time for one."""
        if self.state is not CLOSING or not self._sends.empty:
            return
        if not self._shut_down:
            self._shut_down = True
            try:
                self.open_stream.shutdown(SD_SEND)
            except IocpError as error:
                self.break_off(error)
                return
        if self._receives.eof:
            self._close_socket()
        else:
            self._receives.go_on()

    def break_off(self, error: Exception, reset: bool = False) -> None:
        """Close the socket because of `error`; with `reset` the peer gets an RST."""
        if self.state is CLOSED:
            return
        self._error = _as_os_error(error)
        if reset and self.stream is not None:
            with contextlib.suppress(OSError, HandleClosedError):
                self.stream.set_option(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
        self._close_socket()

    def _close_socket(self) -> None:
        with self._sends.lock:
            self.state = CLOSED
        if self.stream is not None:
            self.stream.close()
        self.end()

    @calls_hooks
    def end(self) -> None:
        """Say goodbye, once nothing of this session is in flight any more."""
        if self._receives.receiving or self._sends.sending or self._connecting or self._ended:
            return
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            self.session.on_close(self._error)
        except Exception:
            logger.exception("on_close of %r failed", self.session)
        self._on_end(self.session)
        # Session and connection know each other, and wait for a garbage collection. What is
        # large goes now.
        self._receives.release()
        self._sends.release()


class NoConnection:
    """Stands for the connection of a session that no port has yet."""

    state = CONNECTING
    peer = None
    local = None
    queued_bytes = 0

    def __getattr__(self, name: str) -> Any:
        """Say what is missing, whatever was asked for."""
        raise RuntimeError(
            f"{name}: the session has no connection; port.listen() and port.connect() give it one"
        )


def _as_os_error(error: Exception) -> OSError:
    """Return `error`, or what wraps it, as what ``on_close`` takes."""
    if isinstance(error, OSError):
        return error
    wrapped = ConnectionAbortedError(f"the session was ended by {error!r}")
    wrapped.__cause__ = error
    return wrapped
