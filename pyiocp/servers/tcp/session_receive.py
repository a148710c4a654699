"""The receives of a session: one with a buffer, and one that waits without any.

The second is a receive of zero bytes: it completes when there is something to receive, and until
then no memory is locked and no buffer needed. Then the first, borrowed from the port, takes what
is there.
"""

from __future__ import annotations

import ctypes
from sys import getrefcount
from typing import TYPE_CHECKING

from ...winapi import DWORD, SOCKET, SOCKET_ERROR, WSABUF, wsabufs

if TYPE_CHECKING:
    from ...engine.operation import Operation
    from ...engine.packet import Receiver
    from ...handles.sockets.stream import Stream


_NO_BYTES = (WSABUF * 1)()
_ONE = DWORD(1)


class BufferedReceive:
    """A receive into ``buffer``, its own bytearray; sessions use it in turn.

    ``operation`` is a plain `Operation`; see `GatheredSend` for why.
    """

    __slots__ = ("_socket", "buffer", "operation", "references")

    def __init__(self, stream: Stream, size: int) -> None:
        self.operation = stream.operation_class(stream, "receive")
        # Lifetime: the operation holds the buffer and exports it, and so does each view.
        self.buffer = bytearray(size)
        self.operation.buffers = (self.buffer,)
        array = wsabufs(self.buffer)
        self._socket = SOCKET(stream.number)
        self.operation._calls(
            "WSARecv",
            stream.home.kernel.WSARecv,
            SOCKET_ERROR,
            self._socket,
            ctypes.byref(array),
            _ONE,
            None,
            ctypes.byref(DWORD(0)),
            ctypes.byref(self.operation.overlapped),
            None,
        )
        self.references = getrefcount(self.buffer)
        """The reference count of the buffer while there is no view of it."""

    def aim(self, stream: Stream, receiver: Receiver) -> None:
        """Use it for this stream, while it is not under way."""
        self.operation.handle = stream
        self.operation.receiver = receiver
        self._socket.value = stream.number

    @property
    def kept(self) -> bool:
        """Whether there is a view of the buffer, which must then stay as it is."""
        return getrefcount(self.buffer) != self.references


def zero_byte_receive(stream: Stream, receiver: Receiver) -> Operation:
    """Return a receive that completes when there is something to receive, and takes nothing."""
    operation = stream.operation_class(stream, "receive")
    operation.receiver = receiver
    # All share what they can: an idle connection consists of little else.
    operation._calls(
        "WSARecv",
        stream.home.kernel.WSARecv,
        SOCKET_ERROR,
        SOCKET(stream.number),
        _NO_BYTES,
        _ONE,
        None,
        (DWORD * 1)(),
        ctypes.byref(operation.overlapped),
        None,
    )
    return operation
