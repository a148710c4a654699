"""GatheredSend: all that one session has waiting, up to a limit, in one WSASend.

It belongs to a session only while that has something to do: an idle one gives it back, and
another session of the same port takes it over, socket, receiver and all.

What belongs here: that operation. When it is posted is known to the `send_queue`.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..operation import Operation
from ..winapi import DWORD, SOCKET, SOCKET_ERROR, ULONG

if TYPE_CHECKING:
    from ..handles.stream import Stream
    from ..operation import Receiver

_GATHER_MAX = 16
"""Buffers in one WSASend: enough that the call's cost no longer counts."""

_KEPT_MAX = 1 << 16
"""Bytes sent that an operation given back may keep from being freed, per buffer."""


class _SendBuffer(ctypes.Structure):
    """A WSABUF whose pointer takes a ``bytes`` object, and keeps it, in one assignment."""

    _fields_ = (("len", ULONG), ("buf", ctypes.c_char_p))


class _Gathered(Sequence[bytes]):
    """What a send is of, for who asks while it is under way: nothing is done until then."""

    def __init__(self, queue: deque[Any], count: DWORD) -> None:
        self._queue = queue
        self._count = count

    def __len__(self) -> int:
        return min(self._count.value, len(self._queue))

    def __getitem__(self, at: Any) -> Any:
        return list(self._queue)[: self._count.value][at]


class GatheredSend:
    """A send of what is first in ``queue``.

    ``operation`` is an `Operation` as any: classes of its own for sends and receives would
    make each of its attributes 20 ns dearer, because the interpreter expects one class.
    """

    __slots__ = ("_buffers", "_count", "_socket", "operation", "queue")

    def __init__(self, stream: Stream) -> None:
        self.operation = Operation(stream, "send")
        #: Of ``bytes``, and of `QueuedFile`, which has an operation of its own.
        self.queue: deque[Any] = deque()
        buffers = (_SendBuffer * _GATHER_MAX)()
        self._buffers = list(buffers)
        self._count = DWORD()
        self.operation.buffers = _Gathered(self.queue, self._count)
        self._socket = SOCKET(stream.number)
        self.operation._calls(
            "WSASend",
            stream.port.kernel.WSASend,
            SOCKET_ERROR,
            self._socket,
            ctypes.byref(buffers),
            self._count,
            None,
            DWORD(0),
            ctypes.byref(self.operation.overlapped),
            None,
        )

    def aim(self, stream: Stream, receiver: Receiver) -> None:
        """Make it a send of another stream's, while it is not under way."""
        self.operation.handle = stream
        self.operation.receiver = receiver
        self._socket.value = stream.number

    def start_next(self) -> int | None:
        """Send what is first in the queue, which must not be empty.

        Returns how many bytes the system has taken on the spot, and out of the queue; None
        if a completion will come. Raises what `Operation.post` raises.
        """
        count = 0
        # Lifetime: each _SendBuffer keeps its bytes object until it gets another one, and
        # none does while the send is under way. The queue keeps them as well.
        for buffer, data in zip(self._buffers, self.queue, strict=False):
            if type(data) is not bytes:
                break
            buffer.buf = data
            buffer.len = len(data)
            count += 1
        if not count:
            self.queue[0].operation.post()
            return None
        self._count.value = count
        if not self.operation.start():
            return None
        self.take_sent(taken := self.operation.transferred)
        return taken

    def start_piece(self, size: int) -> int | None:
        """Send `size` bytes at most of what is first in the queue, as `start_next` does."""
        data = self.queue[0]
        if type(data) is not bytes:
            return self.start_next()
        self._buffers[0].buf = data
        self._buffers[0].len = min(size, len(data))
        self._count.value = 1
        if not self.operation.start():
            return None
        self.take_sent(taken := self.operation.transferred)
        return taken

    def take_sent(self, count: int) -> None:
        """Drop from the queue what the system has taken."""
        queue = self.queue
        while count > 0:
            data = queue.popleft()
            count -= len(data)
            if count < 0:
                queue.appendleft(data[count:])

    def unload(self) -> None:
        """Let go of large data that has been sent."""
        for buffer in self._buffers[: self._count.value]:
            if buffer.len > _KEPT_MAX:
                buffer.buf = None
