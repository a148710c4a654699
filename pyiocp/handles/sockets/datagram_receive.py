"""The receives of a datagram socket, and their completion.

A receive brings more than bytes: the sender's address, flags, control data. The kernel writes
them into memory of the operation, which the next post() uses again. So the completion, which
never changes, has a copy of them, and parses it when asked.

Two error codes of the call do not mean that it was refused. WSAEMSGSIZE: the datagram was there
and longer than the buffers; the operation has ended, in a warning, and its packet comes like any
other (seen on Windows by https://github.com/lalinsky/zio/pull/733). WSAECONNRESET: an earlier
send was answered by "port unreachable"; nothing is wrong with this receive or this socket, and
no packet comes, so the port makes a completion.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from ...engine.completion import Completion
from ...engine.endless_calls import endless_calls
from ...engine.operation import Operation
from ...engine.packet import Ends
from ...winapi import (
    DWORD,
    INT,
    LPSOCKADDR,
    MSG_CTRUNC,
    MSG_PEEK,
    MSG_TRUNC,
    SOCKADDR_IN6,
    SOCKADDR_STORAGE,
    SOCKET,
    SOCKET_ERROR,
    WSAMSG,
    address_of,
    wsabufs,
)
from ...winapi.errorcodes import (
    STATUS_BUFFER_OVERFLOW,
    STATUS_PORT_UNREACHABLE,
    WSAECONNRESET,
    WSAEMSGSIZE,
)
from .address_text import show_address
from .control_data import ControlData, control_room

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .socket_handle import SocketHandle

_FAMILY_SIZE = 2


class DatagramCompletion(Completion):
    """The end of a receive on a `Datagram`: the datagram, or why there is none.

    Besides what every completion has:

    ``address`` is the sender, as Python's ``socket`` module writes addresses; None if the
    receive failed. ``truncated`` tells whether the datagram was longer than the buffers:
    what fitted is in them, ``bytes`` says how much, and the rest is lost; ``error`` is
    then a `MessageTruncatedError`.

    Of `Datagram.receive_message` only: ``control`` is the `ControlData`, and
    ``control_truncated`` tells whether the room for it was too small; ``error`` is then
    a `MessageTruncatedError` too, although the datagram may be complete. ``flags`` has the
    other flags of the system: ``MSG_BCAST`` and ``MSG_MCAST``.

    A plain value, like every completion.
    """

    __slots__ = ("_control", "_sender", "flags")

    def __init__(
        self,
        operation: Operation,
        key: Any,
        count: int,
        status: int,
        *,
        sender: bytes,
        control: bytes = b"",
        flags: int = 0,
    ) -> None:
        super().__init__(operation, key, count, status)
        self._sender = sender
        self._control = control
        self.flags = flags

    def _details(self) -> list[str]:
        told = [f"from {show_address(self.address)}"] if self.address is not None else []
        return told + ["truncated"] * self.truncated

    @property
    def address(self) -> Any:
        """The sender's address; None if no datagram came."""
        return address_of(self._sender) if any(self._sender[:_FAMILY_SIZE]) else None

    @property
    def truncated(self) -> bool:
        """Whether the datagram was longer than the buffers, and the rest of it is lost."""
        if self.flags & (MSG_TRUNC | MSG_CTRUNC):
            return bool(self.flags & MSG_TRUNC)
        return self.status == STATUS_BUFFER_OVERFLOW

    @property
    def control_truncated(self) -> bool:
        """Whether there was more control data than room for it."""
        return bool(self.flags & MSG_CTRUNC)

    @property
    def control(self) -> ControlData:
        """The control data of a `Datagram.receive_message`."""
        return ControlData.of(self._control)


class _FromRoom(ctypes.Structure):
    """What WSARecvFrom reads and writes besides the buffers."""

    _fields_ = (("flags", DWORD), ("size", INT), ("address", SOCKADDR_STORAGE))


class _MessageRoom(ctypes.Structure):
    """What WSARecvMsg reads and writes besides the buffers and the control data."""

    _fields_ = (("message", WSAMSG), ("address", SOCKADDR_STORAGE))


class _Room:
    """Memory for one of the structures above: ``structure``; ``sender`` is in it."""

    __slots__ = ("_fresh", "_memory", "_sender_at", "structure")

    def __init__(self, kind: type[_FromRoom | _MessageRoom]) -> None:
        # Lifetime: the structure exports the bytearray, and the arguments of the call refer to
        # the structure; the operation keeps both for as long as the kernel may write there.
        memory = bytearray(ctypes.sizeof(kind))
        self._memory = memoryview(memory)
        self._sender_at = kind.address.offset
        self.structure: Any = kind.from_buffer(memory)

    def keep_fresh(self) -> None:
        """Remember it, up to the address's family, as it has to be before each call."""
        self._fresh = bytes(self._memory[: self._sender_at + _FAMILY_SIZE])

    def renew(self) -> None:
        """Reset it for the next call; while a call is pending, it is the kernel's."""
        self._memory[: len(self._fresh)] = self._fresh

    @property
    def sender(self) -> bytes:
        """The bytes of the sender's socket address, until the next datagram."""
        return bytes(self._memory[self._sender_at : self._sender_at + ctypes.sizeof(SOCKADDR_IN6)])


class DatagramReceive(Operation):
    """A receive on a datagram socket; it completes with a `DatagramCompletion`."""

    __slots__ = ("_room",)

    prepares = True
    ends = Ends(
        statuses={WSAECONNRESET: STATUS_PORT_UNREACHABLE}, warnings=frozenset((WSAEMSGSIZE,))
    )

    def __init__(
        self, datagram: SocketHandle, kind: str, buffers: tuple[Buffer, ...], room: _Room
    ) -> None:
        super().__init__(datagram, kind)
        self.buffers = buffers
        self._room = room

    def prepare(self) -> None:
        """Reset the room for the call."""
        self._room.renew()

    @property
    def sender(self) -> bytes:
        """The bytes of the sender's socket address, until the next post."""
        return self._room.sender


def _room_for_sender(flags: int) -> _Room:
    """Return the room for what WSARecvFrom and recvfrom write, ready for the first call."""
    room = _Room(_FromRoom)
    room.structure.flags = flags
    room.structure.size = ctypes.sizeof(SOCKADDR_STORAGE)
    room.keep_fresh()
    return room


class ReceiveFromOperation(DatagramReceive):
    """A receive with the sender's address: WSARecvFrom."""

    __slots__ = ()

    def __init__(self, datagram: SocketHandle, buffers: tuple[Buffer, ...], peek: bool) -> None:
        super().__init__(
            datagram, "receive_from", buffers, _room_for_sender(MSG_PEEK if peek else 0)
        )
        room = self._room.structure
        array = wsabufs(*(buffers or (bytearray(),)))
        self._calls(
            "WSARecvFrom",
            datagram.home.kernel.WSARecvFrom,
            SOCKET_ERROR,
            SOCKET(datagram.number),
            ctypes.byref(array),
            DWORD(len(array)),
            None,
            ctypes.byref(room, _FromRoom.flags.offset),
            ctypes.byref(room, _FromRoom.address.offset),
            ctypes.byref(room, _FromRoom.size.offset),
            ctypes.byref(self.overlapped),
            None,
        )

    def finish(self, count: int, status: int) -> DatagramCompletion:
        """Return the completion, with a copy of what the next post() overwrites."""
        return DatagramCompletion(self, self.key, count, status, sender=self.sender)


class ImmediateReceive:
    """Receives what has arrived, without an operation, a packet or locked memory: recvfrom.

    The last call has received ``count`` bytes, into the buffer, from ``sender``. One thread at a
    time.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-recvfrom
    """

    __slots__ = ("_datagram", "_endless", "_room", "_size", "count")

    def __init__(self, datagram: SocketHandle, buffer: bytearray) -> None:
        self._datagram = datagram
        self._size = len(buffer)
        self.count = 0
        self._room = _room_for_sender(flags=0)
        room = self._room.structure
        home = datagram.home
        # Lifetime: the array exports the buffer, and the arguments keep the array.
        arguments = (
            SOCKET(datagram.number),
            (ctypes.c_char * len(buffer)).from_buffer(buffer),
            INT(len(buffer)),
            INT(0),
            ctypes.byref(room, _FromRoom.address.offset),
            ctypes.byref(room, _FromRoom.size.offset),
        )
        self._endless = endless_calls(home.kernel.recvfrom, arguments, home.error_codes)

    def receive(self) -> int:
        """Receive one datagram; return 0, or Winsock's code.

        WSAEWOULDBLOCK (10035): none is there. WSAEMSGSIZE (10040): the datagram was longer
        than the buffer, which is full of it; the rest is lost.

        Raises `HandleClosedError`.
        """
        datagram = self._datagram
        with datagram.lock:
            if datagram.closed or datagram.may_wait:
                datagram.check_open("recvfrom")
                datagram.stop_waiting()
            self._room.renew()
            for result, code in self._endless:  # noqa: B007, see `endless_calls`
                break
        if result != SOCKET_ERROR:
            self.count = result
            return 0
        self.count = self._size if code == WSAEMSGSIZE else 0
        return code

    @property
    def sender(self) -> bytes:
        """The bytes of the sender's socket address, until the next call."""
        return self._room.sender


class ReceiveMessageOperation(DatagramReceive):
    """A receive with the sender's address and control data: WSARecvMsg."""

    __slots__ = ("_control", "_message")

    def __init__(
        self, datagram: SocketHandle, buffers: tuple[Buffer, ...], peek: bool, control_size: int
    ) -> None:
        super().__init__(datagram, "receive_message", buffers, _Room(_MessageRoom))
        room = self._room.structure
        array = wsabufs(*(buffers or (bytearray(),)))
        # Lifetime: the message holds bare addresses; `memory` keeps what is there.
        self._control = (control_room(control_size), array)
        self._message = message = room.message
        message.name = ctypes.cast(ctypes.addressof(room.address), LPSOCKADDR)
        message.namelen = ctypes.sizeof(SOCKADDR_STORAGE)
        message.lpBuffers = (
            array  # cast() would make a cycle each time, which 3.13t does not collect
        )
        message.dwBufferCount = len(array)
        if control_size:
            message.Control.buf = ctypes.addressof(self._control[0])
            message.Control.len = control_size
        message.dwFlags = MSG_PEEK if peek else 0
        self._room.keep_fresh()
        self._calls(
            "WSARecvMsg",
            datagram.extension(datagram.home.kernel.WSARecvMsg),
            SOCKET_ERROR,
            SOCKET(datagram.number),
            ctypes.byref(room),
            None,
            ctypes.byref(self.overlapped),
            None,
        )

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read or write, including the room for control data."""
        return (*super().memory, self._control)

    def finish(self, count: int, status: int) -> DatagramCompletion:
        """Return the completion, with a copy of what the next post() overwrites."""
        message = self._message
        sender = self.sender
        if not any(sender[:_FAMILY_SIZE]):  # no datagram came: the rest is unchanged
            return DatagramCompletion(self, self.key, count, status, sender=sender)
        memory = memoryview(self._control[0]).cast("B")
        return DatagramCompletion(
            self,
            self.key,
            count,
            status,
            sender=sender,
            control=bytes(memory[: message.Control.len]),
            flags=message.dwFlags & ~MSG_PEEK,
        )
