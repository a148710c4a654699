"""AcceptOperation: takes a connection off a listening stream.

What belongs here: AcceptEx, and what has to be done to the socket that it accepted into.
"""

from __future__ import annotations

import ctypes
import socket
from typing import TYPE_CHECKING, Any

from ..errors import PortClosedError, error_of_code
from ..operation import PENDING, Operation
from ..pages import extent_of
from ..winapi import (
    DWORD,
    INVALID_SOCKET,
    LPSOCKADDR,
    SO_UPDATE_ACCEPT_CONTEXT,
    SOCKADDR_STORAGE,
    SOCKET,
    SOL_SOCKET,
    address_of,
)
from ..winapi.errorcodes import WSA_OPERATION_ABORTED
from .socket_handle import open_socket

if TYPE_CHECKING:
    from ..completion import Completion
    from ..pages import Extent
    from .stream import Stream

#: What AcceptEx wants for each of the two addresses: 16 bytes more than the largest.
_ADDRESS_SIZE = ctypes.sizeof(SOCKADDR_STORAGE) + 16

#: The most bytes of first data that fit into the block with the addresses.
FIRST_DATA_MAX = 0xFFFFFFFF - 2 * _ADDRESS_SIZE


class AcceptOperation(Operation):
    """An accept: ``accepted`` is the new `Stream` once its completion says success.

    The first bytes that the client sent, if they were asked for, are the completion's
    ``data``.
    """

    __slots__ = ("_accept_number", "_block", "_listening", "_room", "accepted")

    def __init__(self, listening: Stream, room: int) -> None:
        super().__init__(listening, "accept")
        self._listening = listening
        self._room = room
        # Lifetime: the kernel writes the data and both addresses here; the operation
        # keeps the block, the in-flight table keeps the operation.
        self._block = bytearray(room + 2 * _ADDRESS_SIZE)
        self._accept_number = int(INVALID_SOCKET)
        self.accepted: Stream | None = None
        if room:
            self.buffers = (self._block,)

    @property
    def extents(self) -> list[Extent]:
        """Where the block is, also without room for first data: the addresses go there."""
        return [extent_of(self._block)]

    def post(self) -> None:
        """Submit the accept, with a new socket to accept into."""
        if self.state is PENDING:
            super().post()  # which refuses; the socket that it accepts into stays
        listening = self._listening
        kernel = listening.port.kernel
        self.accepted = None
        self._accept_number = open_socket(kernel, listening.family, socket.SOCK_STREAM)
        self._calls(
            "AcceptEx",
            listening.extension(kernel.AcceptEx),
            0,
            SOCKET(listening.number),
            SOCKET(self._accept_number),
            ctypes.byref(ctypes.c_char.from_buffer(self._block)),
            DWORD(self._room),
            DWORD(_ADDRESS_SIZE),
            DWORD(_ADDRESS_SIZE),
            None,
            ctypes.byref(self.overlapped),
        )
        try:
            super().post()
        except BaseException:
            self._close_accepted()
            raise

    def finish(self, count: int, status: int) -> Completion:
        """Make a stream of the accepted socket: on the port, and with its addresses."""
        completion = super().finish(count, status)
        if completion.error is None:
            try:
                self.accepted = self._make_stream()
            except PortClosedError:  # by another thread, just now
                aborted = error_of_code("AcceptEx", WSA_OPERATION_ABORTED, None, self)
                completion = type(completion)(self, self.key, 0, status, aborted)
            except OSError as error:
                completion = type(completion)(self, self.key, 0, status, error)
        if self.accepted is None:
            self._close_accepted()
        return completion

    def _make_stream(self) -> Stream:
        listening = self._listening
        kernel = listening.port.kernel
        # Until this is done getpeername and shutdown do not work on the socket. It fails
        # when the client has gone away in the meantime.
        listener = SOCKET(listening.number)
        if kernel.setsockopt(
            self._accept_number,
            SOL_SOCKET,
            SO_UPDATE_ACCEPT_CONTEXT,
            ctypes.byref(listener),
            ctypes.sizeof(listener),
        ):
            raise error_of_code("setsockopt", kernel.last_error(), None, self)
        local, peer = self._addresses()
        stream = listening.sibling(self._accept_number, local, peer)
        self._accept_number = int(INVALID_SOCKET)
        return stream

    def _addresses(self) -> tuple[Any, Any]:
        """Return the local and the peer's address, out of the block."""
        local, peer = LPSOCKADDR(), LPSOCKADDR()
        sizes = ctypes.c_int(), ctypes.c_int()
        listening = self._listening
        listening.extension(listening.port.kernel.GetAcceptExSockaddrs)(
            ctypes.byref(ctypes.c_char.from_buffer(self._block)),
            self._room,
            _ADDRESS_SIZE,
            _ADDRESS_SIZE,
            ctypes.byref(local),
            ctypes.byref(sizes[0]),
            ctypes.byref(peer),
            ctypes.byref(sizes[1]),
        )
        return address_of(local), address_of(peer)

    def _close_accepted(self) -> None:
        if self._accept_number != INVALID_SOCKET:
            self.handle.port.kernel.closesocket(self._accept_number)
            self._accept_number = int(INVALID_SOCKET)
