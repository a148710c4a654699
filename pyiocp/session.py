"""Session: one connection of a server or a client, as hooks and methods.

A session reads with one receive, posted again after each ``on_receive``, and writes with
one gathered send at a time. Completions, and calls that end in a hook, go through the
session's `Inbox`, so that its hooks never overlap, whatever the number of workers.

The states::

    CONNECTING ──▶ OPEN ──close()──▶ CLOSING ──peer's end, or deadline──▶ CLOSED
                    └──────────── abort(), error ───────────────────────────▲

``CLOSED`` means that the socket is closed. The session ends, with ``on_close``, when the
last of its operations has been dequeued after that.

What belongs here: the life of one connection. Where connections come from is not known
here (`listener`, `connector`).
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import logging
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from .errors import (
    HandleClosedError,
    IocpError,
    PortClosedError,
    error_of_code,
    error_of_status,
    failed,
)
from .handles.stream import Stream
from .inbox import Inbox
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


def _as_os_error(error: Exception) -> OSError:
    """Return `error`, or what wraps it, as what ``on_close`` takes."""
    if isinstance(error, OSError):
        return error
    wrapped = ConnectionAbortedError(f"the session was ended by {error!r}")
    wrapped.__cause__ = error
    return wrapped


class _SendBuffer(ctypes.Structure):
    """A WSABUF whose pointer takes a ``bytes`` object, and keeps it, in one assignment."""

    _fields_ = (("len", ULONG), ("buf", ctypes.c_char_p))


class Session:
    """One connection. Subclass it and override the hooks; the defaults do nothing.

    Hooks run on the port's workers, one at a time for each session. What a hook raises is
    logged and aborts that session only. A hook that takes long holds up its own session,
    and as many others as there are no further workers for.

    The class attributes are settings: override them in the subclass, or on the instance
    before it is connected.
    """

    receive_size = 65536
    """Bytes that one receive may bring; the session keeps one buffer of this size."""

    high_water = 1 << 20
    """Bytes waiting to be sent from which `send` says False."""

    low_water = 1 << 18
    """Bytes waiting to be sent at which ``on_writable`` then comes."""

    send_limit = 1 << 26
    """Bytes waiting to be sent over which the session is aborted: its peer does not read."""

    close_timeout = 5.0
    """Seconds that ``close`` gives the peer to take what is left and to close too."""

    data: Any = None
    """Free for the user."""

    # What a subclass overrides

    def on_connect(self) -> None:
        """The connection stands; nothing has been received yet."""

    def on_receive(self, data: memoryview) -> None:
        """Bytes came, at least one, in the order in which the peer sent them.

        data: a view of the session's own buffer, valid during this call only: take
            ``bytes(data)`` of what shall stay. ``send(data)`` is fine.
        """

    def on_eof(self) -> None:
        """The peer will send no more. By default the session closes as well."""
        self.close()

    def on_writable(self) -> None:
        """After `send` said False: the bytes waiting are down to `low_water`."""

    def on_close(self, error: OSError | None) -> None:
        """The session has ended; exactly once, the last hook of all.

        error: why, or None if both sides closed in order. For a session that could not be
            connected it comes without an ``on_connect`` before it.
        """

    # What a user calls

    def send(self, data: Buffer) -> bool:
        """Send bytes, after all that was sent before; returns at once.

        data: any buffer. ``bytes`` are taken as they are, everything else is copied, so
            that the caller may use it again at once.

        Returns True while fewer than `high_water` bytes wait to be sent. False says: wait
        for ``on_writable`` before sending more (the data was taken), or that the session
        is closing or closed (then it was not, and ``on_close`` tells why).

        Over `send_limit` the session is aborted with a `SendQueueOverflowError`. Any
        thread may call it; the bytes of two calls never mix.
        """
        if type(data) is not bytes:
            data = bytes(data)
        if self._state is CONNECTING:
            raise RuntimeError(f"{self!r} cannot send before on_connect()")
        with self._send_lock:
            if self._state is not OPEN:
                return False
            if not data:
                return not self._over_high_water
            self._queue.append(data)
            self._queued_bytes += len(data)
            if not self._gathered:
                self._flush()
            if self._queued_bytes < self.high_water:
                return not self._over_high_water
            self._over_high_water = True
            overflow = self._queued_bytes > self.send_limit
        if overflow:
            text = f"{self._queued_bytes} bytes wait for a peer that does not read"
            error = SendQueueOverflowError(f"{text}; send_limit is {self.send_limit} [{self!r}]")
            self._submit(self._break_off, error, True)
        return False

    def close(self) -> None:
        """Close in order: send what waits, tell the peer, and wait for the peer's end.

        What the peer still sends is dropped. After `close_timeout` seconds the session is
        aborted. Closing twice does nothing; a session that is not connected yet is
        aborted. Any thread may call it.
        """
        if self._state is CONNECTING:
            self.abort()
            return
        with self._send_lock:
            if self._state is not OPEN:
                return
            self._state = CLOSING
            idle = not self._gathered
        self._deadline = self._port.call_later(self.close_timeout, self._on_deadline)
        if idle:
            self._submit(self._sent_all)

    def abort(self) -> None:
        """Reset the connection: drop what waits, and close at once. Any thread may call it."""
        error = error_of_code("Session.abort", WSAECONNABORTED, None, self)
        self._submit(self._break_off, error, True)

    def pause_receiving(self) -> None:
        """Post no further receive; what is under way may still bring one ``on_receive``."""
        self._paused = True

    def resume_receiving(self) -> None:
        """Receive again. Any thread may call it."""
        self._paused = False
        self._submit(self._receive_more)

    @property
    def peer_address(self) -> Any:
        """The peer's address, also while it is being connected to; None before that."""
        return self._peer

    @property
    def local_address(self) -> Any:
        """This side's address, or None before the connection stands."""
        return None if self._stream is None else self._stream.local_address()

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self._state

    @property
    def send_queue_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self._queued_bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self._peer}: {self._state.value}>"

    # The rest is pyiocp's own

    _state = CONNECTING
    _peer: Any = None
    _stream: Stream | None = None
    _deadline: Timer | None = None
    _over_high_water = False

    def _prepare(self, port: CompletionQueue, on_end: Callable[[Session], None]) -> None:
        """Make the session ready to be connected. Not in __init__: that is the user's.

        on_end: called with the session after ``on_close``.
        """
        self._port = port
        self._on_end = on_end
        self._operations: tuple[Operation, ...] = ()
        self._inbox = Inbox(self._on_failure)
        self._error: OSError | None = None
        # What is under way, each ended by its completion.
        self._connecting = False
        self._receiving = False
        self._gathered = 0
        """How many entries of the queue the send under way covers."""
        # What has happened.
        self._paused = False
        self._eof = False
        self._shut_down = False
        self._ended = False
        # What waits to be sent. The lock is for send(), which any thread may call.
        self._send_lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._over_high_water = False

    def _attach(self, stream: Stream) -> None:
        """Take over a connected stream, and begin."""
        stream.key = self
        self._stream = stream
        if self._peer is None:
            self._peer = stream.peer_address()
        self._make_receive(stream)
        self._make_send(stream)
        self._operations = (self._receive, self._send)
        self._state = OPEN
        self._inbox.deliver(self._connected)

    def _begin_connect(self, stream: Stream, peer: Any) -> None:
        """Note that the stream's connect is about to be posted."""
        self._connecting = True
        self._stream = stream
        self._peer = peer

    def _on_connect_ended(self, error: OSError | None) -> None:
        """The connect is over."""
        self._inbox.deliver(self._connect_ended, error)

    def _connect_ended(self, error: OSError | None) -> None:
        self._connecting = False
        if self._state is CLOSED:
            self._end()
        elif error is not None:
            self._break_off(error)
        else:
            self._attach(self._open_stream)

    def _make_receive(self, stream: Stream) -> None:
        # Lifetime: the view and the operation both export the buffer. A view of it that
        # the user keeps beyond on_receive is noticed when ours is released.
        buffer = bytearray(self.receive_size)
        self._view = memoryview(buffer)
        self._receive = stream.receive_operation(buffer)
        self._receive.receiver = self._on_received

    def _make_send(self, stream: Stream) -> None:
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
        logger.error("%r is aborted: a hook failed", self, exc_info=error)
        self._break_off(_as_os_error(error), reset=True)

    # What happens, one at a time

    @property
    def _open_stream(self) -> Stream:
        assert self._stream is not None, "only a session without a connection has none"
        return self._stream

    def _connected(self) -> None:
        if self._state is OPEN:
            self.on_connect()
            self._receive_more()

    def _receive_more(self) -> None:
        """Post the receive, if there is something to wait for."""
        if self._receiving or self._eof or self._state not in (OPEN, CLOSING):
            return
        if self._paused and self._state is OPEN:
            return
        self._receiving = True
        try:
            self._receive.post()
        except _REFUSED as error:
            self._receiving = False
            self._break_off(_as_os_error(error))

    def _received(self, count: int, status: int) -> None:
        self._receiving = False
        if self._state is CLOSED:
            self._end()
        elif failed(status):
            self._break_off(error_of_status("WSARecv", status, self))
        elif count == 0:
            self._eof = True
            if self._state is OPEN:
                self.on_eof()
            else:
                self._sent_all()
        else:
            if self._state is OPEN:
                view = self._view[:count]
                self.on_receive(view)
                try:
                    view.release()
                except BufferError:
                    # The user still looks at the buffer: it stays as it is, and theirs.
                    self._make_receive(self._open_stream)
            self._receive_more()

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
            self._gathered = count
            try:
                if not self._send.start():
                    return
            except _REFUSED as error:
                self._gathered = 0
                self._submit(self._break_off, _as_os_error(error))
                return
            self._take_sent(self._send.transferred)

    def _take_sent(self, count: int) -> None:
        """Drop from the queue what the last send covered. Called with the lock."""
        self._queued_bytes -= count
        for _ in range(self._gathered):
            self._queue.popleft()
        self._gathered = 0

    def _sent(self, count: int, status: int) -> None:
        with self._send_lock:
            self._take_sent(count)
            if not failed(status) and self._state is not CLOSED:
                self._flush()
            idle = not self._gathered
            writable = self._over_high_water and self._queued_bytes <= self.low_water
            if writable:
                self._over_high_water = False
        if self._state is CLOSED:
            self._end()
        elif failed(status):
            self._break_off(error_of_status("WSASend", status, self))
        else:
            if writable and self._state is OPEN:
                self.on_writable()
            if idle:
                self._sent_all()

    def _sent_all(self) -> None:
        """Take the next step of closing in order, if it is time for one."""
        if self._state is not CLOSING or self._queue:
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

    def _on_deadline(self) -> None:
        error = error_of_code("Session.close", WSAETIMEDOUT, None, self)
        self._submit(self._break_off, error, True)

    def _break_off(self, error: OSError, reset: bool = False) -> None:
        """Close the socket because of `error`; with `reset` the peer gets an RST."""
        if self._state is CLOSED:
            return
        self._error = error
        if reset and self._stream is not None:
            with contextlib.suppress(OSError, HandleClosedError):
                self._stream.set_option(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
        self._close_socket()

    def _close_socket(self) -> None:
        with self._send_lock:
            self._state = CLOSED
        if self._stream is not None:
            self._stream.close()
        self._end()

    def _end(self) -> None:
        """Say goodbye, once nothing of this session is in flight any more."""
        if self._receiving or self._gathered or self._connecting or self._ended:
            return
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            self.on_close(self._error)
        except Exception:
            logger.exception("on_close of %r failed", self)
        self._on_end(self)
        if self._operations:
            # Out of the cycles, so that the buffer goes now and not with a collection.
            for operation in self._operations:
                operation.receiver = None
            self._operations = ()
            del self._view
