"""GatheredSend: sends what waits in one session's queue, up to a limit, in one WSASend.

Small messages are copied, side by side, into the operation's own buffer. Large ones are passed
where they are, several at once, and the largest in pieces (see `Pace`).

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
from .pace import Pace

if TYPE_CHECKING:
    from ...engine.packet import Receiver
    from ...handles.sockets.stream import Stream

GATHER_MAX = 16
"""Buffers in one WSASend: enough that the call's cost no longer counts."""

_ROOM = 2048
"""Bytes of messages that are copied: 64 bytes take 40 ns, a pointer to them 150. And one or two
pages are locked while they are under way, instead of one or two for each message."""

_CUT_MAX = 1 << 16
"""Bytes of the rest of a message that are copied; a longer rest stays where it is."""


class SendBuffer(ctypes.Structure):
    """A WSABUF whose pointer takes a ``bytes`` object, and keeps it, in one assignment."""

    _fields_ = (("len", ULONG), ("buf", ctypes.c_char_p))


_BUFFERS_SIZE = ctypes.sizeof(SendBuffer) * GATHER_MAX


_NO_FLAGS = DWORD(0)
"""Shared by all, as they are passed by value: so they stay in the processor's caches."""


class _Gathered(Sequence[Any]):
    """What a send carries, computed only if somebody asks while it is under way."""

    def __init__(
        self,
        queue: deque[Any],
        taken: list[int],
        count: DWORD,
        room: memoryview,
        buffers: memoryview,
    ) -> None:
        self._queue = queue
        self._taken = taken
        self._count = count
        self._room = room
        self._buffers = buffers
        self._address = buffers[1]

    def _parts(self) -> list[Any]:
        if self._buffers[1] == self._address:
            return [self._room[: self._buffers[0]]]
        parts = []
        begin = self._taken[0]
        for number, data in enumerate(list(self._queue)[: self._count.value]):
            size = self._buffers[2 * number] & 0xFFFFFFFF
            parts.append(memoryview(data)[begin : begin + size])
            begin = 0
        return parts

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
        "_now",
        "_points_to_messages",
        "_room",
        "_room_address",
        "_started_at",
        "_taken",
        "at_once",
        "operation",
        "pace",
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
        buffers = (SendBuffer * GATHER_MAX).from_buffer(memory)
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
        #: One item: how many bytes of the first entry are taken, if the rest of it is too long
        #: to be copied.
        self._taken = [0]
        #: For the session that it is lent to; made with its first large message.
        self.pace: Pace | None = None
        self._started_at = 0.0
        self._now = stream.home.kernel.monotonic
        self.operation.buffers = _Gathered(
            self.queue, self._taken, self._count, self._room, self._first
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
        self.pace = None

    @property
    def piece_bytes(self) -> int:
        """How many bytes the system has been given, and has not said to have taken."""
        if self.operation.state is PENDING:
            return sum(memoryview(part).nbytes for part in self.operation.buffers)
        first: Any = self.queue[0] if self.queue else b""
        return 0 if type(first) is bytes else first.piece_bytes

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
        if copied == len(queue) or copied >= GATHER_MAX:
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
        if self.pace is None:
            self.pace = Pace()
        room = self.pace.size
        taken = self._taken[0]
        if not self._buffers:
            self._buffers = list(self._array)
        # Lifetime: each SendBuffer keeps its bytes object until it gets another one, and
        # none does while the send is under way. The queue keeps them as well.
        for buffer, data in zip(self._buffers, self.queue, strict=False):
            if type(data) is not bytes or not room:
                break
            buffer.buf = data
            buffer.len = size = min(len(data) - taken, room)
            if taken:
                self._first[1] += taken
                taken = 0
            room -= size
            count += 1
        if count:
            self._count.value = count
            self._points_to_messages = True
            self._started_at = self._now()
        return count

    def start_piece(self, size: int) -> int | None:
        """Send `size` bytes at most of what is first in the queue, as `start_next` does."""
        data = self.queue[0]
        if type(data) is not bytes:
            return self.start_next()
        taken = self._taken[0]
        self._array[0].buf = data
        self._array[0].len = min(size, len(data) - taken)
        self._first[1] += taken
        self._count.value = 1
        self._points_to_messages = True
        self._started_at = self._now()
        if not self.operation.start():
            return None
        self.take_sent(taken := self.operation.transferred)
        return taken

    def take_sent(self, count: int) -> None:
        """Drop from the queue what the system has taken."""
        queue, taken = self.queue, self._taken
        if self._points_to_messages and self.pace is not None:
            self.pace.taken(count, self._now() - self._started_at)
        count += taken[0]
        taken[0] = 0
        while count > 0:
            data = queue.popleft()
            count -= len(data)
            if -count > _CUT_MAX:
                queue.appendleft(data)
                taken[0] = len(data) + count
            elif count < 0:
                queue.appendleft(data[count:])

    def clear(self) -> None:
        """Drop all that waits; nothing is under way."""
        self.queue.clear()
        self._taken[0] = 0

    def unload(self) -> None:
        """Let go of what has been sent."""
        if self._points_to_messages:
            for buffer in self._buffers or self._array:
                buffer.buf = b""  # for None, ctypes keeps what it kept before
            self._points_to_messages = False
            self._count.value = 1
            self._first[1] = self._room_address
