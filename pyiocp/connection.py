"""Connection: what a `Session` does not show: its operations, its queue, its states.

A connection reads with one receive, posted again after each ``on_receive``, and writes
with one gathered send at a time. Completions, and calls that end in a hook, go through an
`Inbox`, so that the hooks of one session never overlap, whatever the number of workers.

The states::

    CONNECTING ──▶ OPEN ──close()──▶ CLOSING ──peer's end, or deadline──▶ CLOSED
                    └──────────── abort(), error ───────────────────────────▲

``CLOSED`` means that the socket is closed. The session ends, with ``on_close``, when the
last of its operations has been dequeued after that.

It is an object of its own so that a subclass of `Session` may call its attributes what it
likes. What belongs here: the life of one connection. Where it comes from is not known here
(`listener`, `connector`).
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import logging
import struct
import threading
from collections import deque
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from .errors import (
    HandleClosedError,
    IocpError,
    PortClosedError,
    error_of_code,
    error_of_status,
    failed,
)
from .inbox import Inbox
from .interrupt import calls_hooks
from .operation import Operation
from .winapi import (
    DWORD,
    SD_SEND,
    SO_LINGER,
    SOCKET,
    SOCKET_ERROR,
    SOL_SOCKET,
    ULONG,
)
from .winapi.errorcodes import WSAECONNABORTED, WSAETIMEDOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from .completion_queue import CompletionQueue
    from .handles.stream import Stream
    from .session import Session
    from .timers import Timer

logger = logging.getLogger("pyiocp")

_GATHER_MAX = 16
"""Buffers in one WSASend: enough that the call's cost no longer counts."""

_ABORTIVE_CLOSE = struct.pack("HH", 1, 0)
"""A LINGER of 0 seconds: closing resets the connection."""

_REFUSED = (IocpError, HandleClosedError, PortClosedError)
"""What posting an operation raises when the system, or a closed port, refuses it."""


class SessionState(enum.Enum):
    """Where a session is in its life; see the drawing above."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


CONNECTING, OPEN, CLOSING, CLOSED = SessionState


class SendQueueOverflowError(ConnectionError):
    """A session was aborted because its peer took less than it was sent: see `send_limit`."""


class _SendBuffer(ctypes.Structure):
    """A WSABUF whose pointer takes a ``bytes`` object, and keeps it, in one assignment."""

    _fields_ = (("len", ULONG), ("buf", ctypes.c_char_p))


class Connection:
    """The connection of one session. Any thread may call what has no underscore.

    on_end: called with the session after its ``on_close``.
    """

    def __init__(
        self, port: CompletionQueue, session: Session, on_end: Callable[[Session], None]
    ) -> None:
        self.state = CONNECTING
        self.stream: Stream | None = None
        self.peer: Any = None
        self.local: Any = None
        self.queued_bytes = 0
        """How many bytes wait to be taken by the system."""
        self._port = port
        self._session = session
        self._on_end = on_end
        self._inbox = Inbox(self._on_failure)
        self._error: OSError | None = None
        self._deadline: Timer | None = None
        # What is under way, each ended by its completion.
        self._connecting = False
        self._receiving = False
        self._sending = False
        # What has happened.
        self._paused = False
        self._eof = False
        self._shut_down = False
        self._ended = False
        # What waits to be sent. The lock is for send(), which any thread may call.
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._over_high_water = False
        self._overflowed = False

    # How it begins

    def begin_connect(self, stream: Stream, peer: Any) -> None:
        """Take note that the stream's connect is about to be posted."""
        self._connecting = True
        self.stream = stream
        self.peer = peer

    def end_connect(self, error: OSError | None) -> None:
        """Go on, or end, now that the connect is over."""
        self._inbox.deliver(self._connect_ended, error)

    def _connect_ended(self, error: OSError | None) -> None:
        self._connecting = False
        if self.state is CLOSED:
            self._end()
        elif error is not None:
            self._break_off(error)
        else:
            self.attach(self._open_stream, self.peer)

    def attach(self, stream: Stream, peer: Any) -> None:
        """Take over a connected stream, and begin."""
        stream.key = self._session
        self.stream = stream
        self.peer = peer
        self._inbox.deliver(self._connected)

    @property
    def _open_stream(self) -> Stream:
        assert self.stream is not None, "only a session that never had one has no stream"
        return self.stream

    def _error_of(self, function: str, status: int) -> IocpError:
        return error_of_status(function, status, self._session, self._open_stream.winerror_of)

    def _make_receive(self) -> None:
        size = self._session.receive_size
        if size < 1:
            raise ValueError(f"receive_size must be at least 1 byte, not {size}")
        # Lifetime: the operation exports the buffer and holds it, and so does each view.
        self._buffer = bytearray(size)
        self._receive = self._open_stream.receive_operation(self._buffer)
        self._receive.receiver = self._on_received
        self._references = getrefcount(self._buffer)

    def _make_send(self) -> None:
        stream = self._open_stream
        self._send = Operation(stream, "send")
        self._send.receiver = self._on_sent
        buffers = (_SendBuffer * _GATHER_MAX)()
        self._send_buffers = list(buffers)
        self._send_count = DWORD()
        self._send._calls(
            "WSASend",
            stream.port.kernel.WSASend,
            SOCKET_ERROR,
            SOCKET(stream.number),
            ctypes.byref(buffers),
            self._send_count,
            None,
            DWORD(0),
            ctypes.byref(self._send.overlapped),
            None,
        )

    # What comes from outside, and goes through the inbox

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a worker call `function`, one of the methods below, in its turn."""
        with contextlib.suppress(PortClosedError):
            self._port.call_soon(self._inbox.deliver, function, *arguments)

    def _on_received(self, operation: Operation, count: int, status: int) -> None:
        self._inbox.deliver(self._received, count, status)

    def _on_sent(self, operation: Operation, count: int, status: int) -> None:
        self._inbox.deliver(self._sent, count, status)

    def _on_failure(self, error: Exception) -> None:
        """A hook raised: log it, and end this session."""
        logger.error("%r is aborted: a hook failed", self._session, exc_info=error)
        self._break_off(_as_os_error(error), reset=True)

    def send(self, data: Buffer) -> bool:
        """Queue bytes and submit what the system takes; see `Session.send`."""
        session = self._session
        if type(data) is not bytes:
            data = bytes(memoryview(data))  # bytes(5) would be five zeros
        if self.state is CONNECTING:
            raise RuntimeError(f"{session!r} cannot send before on_connect()")
        with self._lock:
            if self.state is not OPEN or self._overflowed:
                return False
            if data:
                self._queue.append(data)
                self.queued_bytes += len(data)
                if not self._sending:
                    self._flush()
            if self.queued_bytes < session.high_water:
                return not self._over_high_water
            self._over_high_water = True
            self._overflowed = self.queued_bytes > session.send_limit
        if self._overflowed:
            text = f"{self.queued_bytes} bytes wait for a peer that does not read"
            limit = f"send_limit is {session.send_limit}"
            error = SendQueueOverflowError(f"{text}; {limit} [{session!r}]")
            self._submit(self._break_off, error, True)
        return False

    def close(self) -> None:
        """Close in order; see `Session.close`."""
        if self.state is CONNECTING:
            self.abort()
            return
        with self._lock:
            if self.state is not OPEN:
                return
            self.state = CLOSING
        self._deadline = self._port.call_later(self._session.close_timeout, self._on_deadline)
        self._submit(self._sent_all)

    def abort(self) -> None:
        """Reset; see `Session.abort`."""
        error = error_of_code("Session.abort", WSAECONNABORTED, None, self._session)
        self._submit(self._break_off, error, True)

    def pause(self) -> None:
        """Post no further receive."""
        self._paused = True

    def resume(self) -> None:
        """Receive again."""
        self._paused = False
        self._submit(self._receive_more)

    def _on_deadline(self) -> None:
        error = error_of_code("Session.close", WSAETIMEDOUT, None, self._session)
        self._submit(self._break_off, error, True)

    # What happens, one at a time: all of this runs within the inbox

    @calls_hooks
    def _connected(self) -> None:
        if self.state is CLOSED:  # aborted before there was a connection
            self._open_stream.close()
            return
        self.local = self._open_stream.local_address()
        self._make_receive()
        self._make_send()
        self.state = OPEN
        self._session.on_connect()
        self._receive_more()

    def _receive_more(self) -> None:
        """Post the receive, if there is something to wait for."""
        if self._receiving or self._eof or self.state not in (OPEN, CLOSING):
            return
        if self._paused and self.state is OPEN:
            return
        self._receiving = True
        try:
            self._receive.post()
        except _REFUSED as error:
            self._receiving = False
            self._break_off(_as_os_error(error))

    @calls_hooks
    def _received(self, count: int, status: int) -> None:
        self._receiving = False
        if self.state is CLOSED:
            self._end()
        elif failed(status):
            self._break_off(self._error_of("WSARecv", status))
        elif count:
            if self.state is OPEN:
                self._hand_over(count)
            self._receive_more()
        else:
            self._eof = True
            if self.state is OPEN:
                self._session.on_eof()
            else:
                self._sent_all()

    @calls_hooks
    def _hand_over(self, count: int) -> None:
        data = memoryview(self._buffer)[:count]
        self._session.on_receive(data)
        try:  # noqa: SIM105, contextlib.suppress would take 500 ns
            data.release()
        except BufferError:
            pass  # something exports it: see below
        # A slice of the view outlives its release(), unnoticed. But whatever was made of the
        # view holds the buffer; then it stays as it is, and is the user's.
        if getrefcount(self._buffer) != self._references:
            self._make_receive()

    def _flush(self) -> None:
        """Submit what waits to be sent. Called with the lock, and no send under way."""
        queue = self._queue
        while queue:
            count = 0
            # Lifetime: each _SendBuffer keeps its bytes object until it gets another one,
            # and none does while the send is under way. The queue keeps them as well.
            for buffer, data in zip(self._send_buffers, queue, strict=False):
                buffer.buf = data
                buffer.len = len(data)
                count += 1
            self._send_count.value = count
            try:
                if not self._send.start():
                    self._sending = True
                    return
            except _REFUSED as error:
                self._submit(self._break_off, _as_os_error(error))
                return
            self._take_sent(self._send.transferred)

    def _take_sent(self, count: int) -> None:
        """Drop from the queue what the system has taken. Called with the lock."""
        self.queued_bytes -= count
        while count > 0:
            data = self._queue.popleft()
            count -= len(data)
            if count < 0:
                self._queue.appendleft(data[count:])

    @calls_hooks
    def _sent(self, count: int, status: int) -> None:
        with self._lock:
            self._sending = False
            self._take_sent(count)
            if not failed(status) and self.state is not CLOSED:
                self._flush()
            writable = self._over_high_water and self.queued_bytes <= self._session.low_water
            if writable:
                self._over_high_water = False
        if self.state is CLOSED:
            self._end()
        elif failed(status):
            self._break_off(self._error_of("WSASend", status))
        else:
            if writable and self.state is OPEN:
                self._session.on_writable()
            self._sent_all()

    def _sent_all(self) -> None:
        """Take the next step of closing in order, if it is time for one."""
        if self.state is not CLOSING or self._queue:
            return
        if not self._shut_down:
            self._shut_down = True
            try:
                self._open_stream.shutdown(SD_SEND)
            except IocpError as error:
                self._break_off(error)
                return
        if self._eof:
            self._close_socket()
        else:
            self._receive_more()

    def _break_off(self, error: OSError, reset: bool = False) -> None:
        """Close the socket because of `error`; with `reset` the peer gets an RST."""
        if self.state is CLOSED:
            return
        self._error = error
        if reset and self.stream is not None:
            with contextlib.suppress(OSError, HandleClosedError):
                self.stream.set_option(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
        self._close_socket()

    def _close_socket(self) -> None:
        with self._lock:
            self.state = CLOSED
        if self.stream is not None:
            self.stream.close()
        self._end()

    @calls_hooks
    def _end(self) -> None:
        """Say goodbye, once nothing of this session is in flight any more."""
        if self._receiving or self._sending or self._connecting or self._ended:
            return
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            self._session.on_close(self._error)
        except Exception:
            logger.exception("on_close of %r failed", self._session)
        self._on_end(self._session)
        # Session and connection know each other, and wait for a garbage collection. What is
        # large goes now: nothing of it is in flight any more.
        self._queue.clear()
        for name in ("_buffer", "_receive", "_send", "_send_buffers"):
            self.__dict__.pop(name, None)


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
