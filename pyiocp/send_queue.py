"""SendQueue: what one session has to send, and the one send that is under way.

Sends are gathered: all that waits, up to a limit, goes out with one WSASend of several
buffers. Any thread may add to the queue; what completes goes through the connection's
inbox, because it may end in a hook.

What belongs here: sending, the water marks, and the limit. When a session ends is known to
the `connection`.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from typing import TYPE_CHECKING

from .errors import REFUSALS, failed
from .interrupt import calls_hooks
from .operation import Operation
from .session_state import CLOSED, CONNECTING, OPEN
from .winapi import DWORD, SOCKET, SOCKET_ERROR, ULONG

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .connection import Connection
    from .handles.stream import Stream

_GATHER_MAX = 16
"""Buffers in one WSASend: enough that the call's cost no longer counts."""


class SendQueueOverflowError(ConnectionError):
    """A session was aborted because its peer took less than it was sent: see `send_limit`."""


class _SendBuffer(ctypes.Structure):
    """A WSABUF whose pointer takes a ``bytes`` object, and keeps it, in one assignment."""

    _fields_ = (("len", ULONG), ("buf", ctypes.c_char_p))


class SendQueue:
    """What one connection has to send. Any thread may call what has no underscore."""

    def __init__(self, connection: Connection) -> None:
        self.queued_bytes = 0
        """How many bytes wait to be taken by the system."""
        self.sending = False
        """Whether a send is under way, to be ended by its completion."""
        self.lock = threading.Lock()
        """Held by what adds to the queue, and by what changes the connection's state."""
        self._connection = connection
        self._session = connection.session
        self._queue: deque[bytes] = deque()
        self._over_high_water = False
        self._overflowed = False

    def open(self, stream: Stream) -> None:
        """Make what sending takes, now that there is a connection."""
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

    def release(self) -> None:
        """Drop what is large; nothing of it is in flight any more."""
        self._queue.clear()
        for name in ("_send", "_send_buffers"):
            self.__dict__.pop(name, None)

    @property
    def empty(self) -> bool:
        """Whether the system has taken everything."""
        return not self._queue

    def send(self, data: Buffer) -> bool:
        """Queue bytes and submit what the system takes; see `Session.send`."""
        session = self._session
        connection = self._connection
        if type(data) is not bytes:
            data = bytes(memoryview(data))  # bytes(5) would be five zeros
        if connection.state is CONNECTING:
            raise RuntimeError(f"{session!r} cannot send before on_connect()")
        with self.lock:
            if connection.state is not OPEN or self._overflowed:
                return False
            if data:
                self._queue.append(data)
                self.queued_bytes += len(data)
                if not self.sending:
                    self._flush()
            if self.queued_bytes < session.high_water:
                return not self._over_high_water
            self._over_high_water = True
            self._overflowed = self.queued_bytes > session.send_limit
        if self._overflowed:
            text = f"{self.queued_bytes} bytes wait for a peer that does not read"
            limit = f"send_limit is {session.send_limit}"
            error = SendQueueOverflowError(f"{text}; {limit} [{session!r}]")
            connection.submit(connection.break_off, error, True)
        return False

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
                    self.sending = True
                    return
            except REFUSALS as error:
                self._connection.submit(self._connection.break_off, error)
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

    def _on_sent(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver(self._sent, count, status)

    @calls_hooks
    def _sent(self, count: int, status: int) -> None:
        """Go on after a send. Within the inbox."""
        connection = self._connection
        with self.lock:
            self.sending = False
            self._take_sent(count)
            if not failed(status) and connection.state is not CLOSED:
                self._flush()
            writable = self._over_high_water and self.queued_bytes <= self._session.low_water
            if writable:
                self._over_high_water = False
        if connection.state is CLOSED:
            connection.end()
        elif failed(status):
            connection.break_off(connection.error_of("WSASend", status))
        else:
            if writable and connection.state is OPEN:
                self._session.on_writable()
            connection.go_on_closing()
