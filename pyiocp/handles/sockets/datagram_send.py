"""The sends of a datagram socket with an address or control data."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from ...engine.operation import Operation
from ...winapi import DWORD, LPSOCKADDR, SOCKET, SOCKET_ERROR, WSAMSG, wsabufs
from .control_data import ControlMessage, packed
from .destination import destination

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...winapi import WSABUF
    from .socket_handle import SocketHandle


class DatagramSend(Operation):
    """A send on a datagram socket; ``array`` are its buffers as the kernel takes them."""

    __slots__ = ("array",)

    def __init__(self, datagram: SocketHandle, kind: str, data: Any) -> None:
        super().__init__(datagram, kind)
        self.buffers = tuple(data) if isinstance(data, list | tuple) else (data,)
        self.array: ctypes.Array[WSABUF] = wsabufs(*self.buffers, read_only=True)

    @property
    def length(self) -> int:
        """How many bytes the buffers have together."""
        return sum(wsabuf.len for wsabuf in self.array)


class SendToOperation(DatagramSend):
    """A send to an address: WSASendTo."""

    __slots__ = ()

    def __init__(self, datagram: SocketHandle, data: Any, address: Any) -> None:
        super().__init__(datagram, "send_to", data)
        target = destination(datagram.family, address)
        self._calls(
            "WSASendTo",
            datagram.home.kernel.WSASendTo,
            SOCKET_ERROR,
            SOCKET(datagram.number),
            ctypes.byref(self.array),
            DWORD(len(self.array)),
            None,
            DWORD(0),
            ctypes.byref(target),
            ctypes.c_int(ctypes.sizeof(target)),
            ctypes.byref(self.overlapped),
            None,
        )


class SendMessageOperation(DatagramSend):
    """A send with control data: WSASendMsg."""

    __slots__ = ("_pointed_to",)

    def __init__(
        self, datagram: SocketHandle, data: Any, address: Any, messages: Sequence[ControlMessage]
    ) -> None:
        super().__init__(datagram, "send_message", data)
        message = WSAMSG()
        message.lpBuffers = self.array  # cast() would make a cycle each time
        message.dwBufferCount = len(self.array)
        target = None if address is None else destination(datagram.family, address)
        if target is not None:
            message.name, message.namelen = LPSOCKADDR(target), ctypes.sizeof(target)
        control = packed(messages)
        if messages:
            message.Control.buf = ctypes.addressof(control)
            message.Control.len = ctypes.sizeof(control)
        # Lifetime: the message holds bare addresses, and a provider may read what is at them
        # until the packet comes: it is kept as long as the operation.
        self._pointed_to = (self.array, target, control)
        self._calls(
            "WSASendMsg",
            datagram.extension(datagram.home.kernel.WSASendMsg),
            SOCKET_ERROR,
            SOCKET(datagram.number),
            ctypes.byref(message),
            DWORD(0),
            None,
            ctypes.byref(self.overlapped),
            None,
        )

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read, including the address and the control data."""
        return (*super().memory, self._pointed_to)
