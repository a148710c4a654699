"""GatheredSend: sends what waits in one session's queue, up to a limit, in one WSASend.

Small messages are copied, side by side, into the operation's own buffer. Large ones are passed
where they are, several at once.

A session has one only while it needs it: an idle session gives it back, and another session of
the same port takes it over.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...engine.packet import PENDING
from ...winapi import DWORD, SOCKET, SOCKET_ERROR, ULONG

if TYPE_CHECKING:
    from ...engine.packet import Receiver
    from ...handles.sockets.stream import Stream

_GATHER_MAX = 16
"""Buffers in one WSASend: enough that the call's cost no longer counts."""

_ROOM = 2048
"""Bytes of messages that are copied: 64 bytes take 40 ns, a pointer to them 150. And one or two
pages are locked while they are under way, instead of one or two for each message."""


class SendBuffer(ctypes.Structure):
    """A WSABUF whose pointer takes a ``bytes`` object, and keeps it, in one assignment."""

    _fields_ = (("len", ULONG), ("buf", ctypes.c_char_p))


_BUFFERS_SIZE = ctypes.sizeof(SendBuffer) * _GATHER_MAX


_NO_FLAGS = DWORD(0)
"""Shared by all, as they are passed by value: so they stay in the processor's caches."""


class _Gathered(Sequence[Any]):
    """What a send carries, computed only if somebody asks while it is under way."""

    def __init__(
        self, queue: deque[Any], count: DWORD, room: memoryview, first: memoryview, address: int
    ) -> None:
        self._queue = queue
        self._count = count
        self._room = room
        self._first = first
        self._address = address

    def _parts(self) -> list[Any]:
        size, address = self._first[:2]
        if address == self._address:
            return [self._room[:size]]
        return list(self._queue)[: self._count.value]

    def __len__(self) -> int:
        return len(self._parts())

    def __getitem__(self, at: Any) -> Any:
        return self._parts()[at]


class GatheredSend:
    """A send of the first entries of ``queue``.

    ``operation`` is a plain `Operation`: with subclasses for sends and receives, each access to
    an attribute would take 20 ns more, because the interpreter's caches expect one class.
    """

    __slots__ = (
        "_array",
        "_buffers",
        "_count",
        "_first",
        "_points_to_messages",
        "_room",
        "_room_address",
        "at_once",
        "operation",
        "queue",
        "sockets",
    )

    def __init__(self, stream: Stream) -> None:
        self.operation = stream.operation_class(stream, "send")
        #: Entries are ``bytes``, or a `QueuedFile`, which has its own operation.
        self.queue: deque[Any] = deque()
        # The array comes before the room, so small messages need only one page.
        memory = memoryview(bytearray(_BUFFERS_SIZE + _ROOM))
        # Lifetime: the operation's arguments hold the array, which exports the memory of both.
        buffers = (SendBuffer * _GATHER_MAX).from_buffer(memory)
        self._array = buffers
        #: Its items, once they are needed: 1.5 KB of objects.
        self._buffers: list[SendBuffer] = []
        self._room = memory[_BUFFERS_SIZE:]
        self._room_address = ctypes.addressof(buffers) + _BUFFERS_SIZE
        # Filling a WSABUF this way takes 45 ns; as attributes of the structure, 150.
        self._first = memory[:_BUFFERS_SIZE].cast("P")
        self._first[1] = self._room_address
        self._points_to_messages = False
        self._count = DWORD(1)
        self.operation.buffers = _Gathered(
            self.queue, self._count, self._room, self._first, self._room_address
        )
        #: The function that sends without an operation, and its first argument.
        self.at_once = stream.home.kernel.send
        self.sockets = (SOCKET(stream.number),)
        self.operation._calls(
            "WSASend",
            stream.home.kernel.WSASend,
            SOCKET_ERROR,
            *self.sockets,
            ctypes.byref(buffers),
            self._count,
            None,
            _NO_FLAGS,
            ctypes.byref(self.operation.overlapped),
            None,
        )

    def aim(self, stream: Stream, receiver: Receiver) -> None:
        """Use it for this stream, while it is not under way."""
        self.operation.handle = stream
        self.operation.receiver = receiver
        self.sockets[0].value = stream.number

    @property
    def under_way(self) -> bool:
        """Whether the system has the first entries, and has not reported their end."""
        if self.operation.state is PENDING:
            return True
        first: Any = self.queue[0] if self.queue else b""
        return type(first) is not bytes and first.operation.state is PENDING

    def start_next(self) -> int | None:
        """Send what is first in the queue, which must not be empty.

        Returns how many bytes the system has taken on the spot, which leave the queue; None if
        a completion will come. Raises what `Operation.post` raises.
        """
        queue, room = self.queue, self._room
        copied = size = 0
        for data in queue:
            if type(data) is not bytes or (end := size + len(data)) > _ROOM:
                break
            room[size:end] = data
            size = end
            copied += 1
        # A few small ones in front of a large one are not copied: they go with it.
        if copied == len(queue) or copied >= _GATHER_MAX:
            if self._points_to_messages:
                self.unload()
            self._first[0] = size
        elif not self._point():
            queue[0].operation.post()
            return None
        operation = self.operation
        if not operation.start():
            return None
        taken = operation.transferred
        if copied == 1 and taken == size:
            queue.popleft()
        else:
            self.take_sent(taken)
        return taken

    def _point(self) -> int:
        """Point to the first messages of the queue; return how many."""
        count = 0
        if not self._buffers:
            self._buffers = list(self._array)
        # Lifetime: each SendBuffer keeps its bytes object until it gets another one, and
        # none does while the send is under way. The queue keeps them as well.
        for buffer, data in zip(self._buffers, self.queue, strict=False):
            if type(data) is not bytes:
                break
            buffer.buf = data
            buffer.len = len(data)
            count += 1
        if count:
            self._count.value = count
            self._points_to_messages = True
        return count

    def start_piece(self, size: int) -> int | None:
        """Send `size` bytes at most of what is first in the queue, as `start_next` does."""
        data = self.queue[0]
        if type(data) is not bytes:
            return self.start_next()
        self._array[0].buf = data
        self._array[0].len = min(size, len(data))
        self._count.value = 1
        self._points_to_messages = True
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
        """Let go of what has been sent."""
        if self._points_to_messages:
            for buffer in self._buffers or self._array:
                buffer.buf = b""  # for None, ctypes keeps what it kept before
            self._points_to_messages = False
            self._count.value = 1
            self._first[1] = self._room_address
