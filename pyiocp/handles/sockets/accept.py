"""AcceptOperation: accepts a connection on a listening stream, with AcceptEx."""

from __future__ import annotations

import ctypes
import socket
from typing import TYPE_CHECKING, Any

from ...engine.operation import Operation
from ...errors import HandleClosedError, PortClosedError, error_of_code
from ...memory.pages import extent_of
from ...winapi import (
    AF_UNIX,
    DWORD,
    INVALID_SOCKET,
    LPSOCKADDR,
    SO_CONNECT_TIME,
    SO_UPDATE_ACCEPT_CONTEXT,
    SOCKADDR_STORAGE,
    SOCKET,
    SOL_SOCKET,
    address_of,
)
from ...winapi.errorcodes import WSA_OPERATION_ABORTED
from .socket_handle import open_socket

if TYPE_CHECKING:
    from ...engine.completion import Completion
    from ...memory.pages import Extent
    from ...winapi import SOCKADDR
    from .stream import Stream

#: The room that AcceptEx requires for each of the two addresses: the largest, and 16 bytes.
_ADDRESS_SIZE = ctypes.sizeof(SOCKADDR_STORAGE) + 16

_NO_ADDRESSES = bytes(2 * _ADDRESS_SIZE)

#: SO_CONNECT_TIME of a socket that is not connected.
_NOT_CONNECTED = 0xFFFFFFFF

#: The most bytes of first data: with the addresses, the block has a size of 32 bits.
FIRST_DATA_MAX = 0xFFFFFFFF - 2 * _ADDRESS_SIZE


class AcceptOperation(Operation):
    """An accept: ``accepted`` is the new `Stream` once its completion says success.

    The first bytes that the client sent, if they were asked for, are the completion's
    ``data``.
    """

    __slots__ = (
        "_accept_number",
        "_block",
        "_into",
        "_last_local",
        "_listening",
        "_local",
        "_look_up_arguments",
        "_peer",
        "_room",
        "_socket",
        "accepted",
    )

    def __init__(self, listening: Stream, room: int, into: Stream | None = None) -> None:
        super().__init__(listening, "accept")
        self._listening = listening
        self._room = room
        self._into = into
        # Lifetime: the kernel writes the data and both addresses here; the operation
        # keeps the block, the in-flight table keeps the operation.
        self._block = bytearray(room + 2 * _ADDRESS_SIZE)
        #: The socket that is accepted into.
        self._accept_number = int(INVALID_SOCKET)
        #: The same as an argument of the call; None before the first call.
        self._socket: Any = None
        self._local, self._peer = LPSOCKADDR(), LPSOCKADDR()
        self.accepted: Stream | None = None
        #: The local address of the last connection, which the next one usually has too: they
        #: then share the object, which saves 140 bytes a connection.
        self._last_local: Any = None
        if room:
            self.buffers = (self._block,)

    @property
    def extents(self) -> list[Extent]:
        """Where the block is: it has the addresses, even without room for first data."""
        return [extent_of(self._block)]

    prepares = True

    def prepare(self) -> None:
        """Open a new socket to accept into, unless there is a stream for that."""
        listening = self._listening
        self._forget_last()
        if self._socket is None:  # first, because the system may lack AcceptEx
            self._make_calls()
        if self._into is None:
            kernel = listening.home.kernel
            self._accept_number = open_socket(kernel, listening.family, socket.SOCK_STREAM)
        else:
            self._into.check_reusable("accept")
            self._accept_number = self._into.number
        self._socket.value = self._accept_number
        self._block[self._room :] = _NO_ADDRESSES  # not those of the previous client

    def _forget_last(self) -> None:
        """Forget the last connection; close a socket that an interrupted submission has left."""
        if self.accepted is None:
            self._close_accepted()
        else:
            self._give_up_number()
            self.accepted = None

    def _make_calls(self) -> None:
        """Make the arguments of the calls, once for all accepts of this operation."""
        listening = self._listening
        block = ctypes.byref(ctypes.c_char.from_buffer(self._block))
        self._socket = SOCKET()
        self._calls(
            "AcceptEx",
            listening.extension(listening.home.kernel.AcceptEx),
            0,
            SOCKET(listening.number),
            self._socket,
            block,
            DWORD(self._room),
            DWORD(_ADDRESS_SIZE),
            DWORD(_ADDRESS_SIZE),
            None,
            ctypes.byref(self.overlapped),
        )
        self._look_up_arguments = (
            block,
            self._room,
            _ADDRESS_SIZE,
            _ADDRESS_SIZE,
            ctypes.byref(self._local),
            ctypes.byref(ctypes.c_int()),
            ctypes.byref(self._peer),
            ctypes.byref(ctypes.c_int()),
        )

    def refused(self) -> None:
        """Close the socket that would have been accepted into."""
        self._close_accepted()

    def finish(self, count: int, status: int) -> Completion:
        """Put the accepted socket on the port, as a stream with its addresses."""
        try:
            completion = super().finish(count, status)
            if completion.error is None:
                self._make_stream()
        except (PortClosedError, HandleClosedError):  # by another thread, just now
            aborted = error_of_code("AcceptEx", WSA_OPERATION_ABORTED, None, self)
            completion = type(completion)(self, self.key, 0, status, aborted)
        except OSError as error:
            completion = type(completion)(self, self.key, 0, status, error)
        finally:  # also after a MemoryError, or what a signal handler raises
            if self.accepted is None:
                self._close_accepted()
        return completion

    def _make_stream(self) -> None:
        """Have ``accepted`` be a stream of the connection."""
        listening = self._listening
        kernel = listening.home.kernel
        # Until the context is updated, getpeername and shutdown do not work on the socket. It
        # fails when the client has gone away in the meantime.
        listener = SOCKET(listening.number)
        if self._into is not None:
            # Through the stream's own method: another thread may have closed it just now.
            context = ctypes.byref(listener), ctypes.sizeof(listener)
            self._into.call("setsockopt", SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, *context)
            self._into.connected_between(*self._addresses())
            self.accepted = self._into
            self._give_up_number()
            return
        if kernel.setsockopt(
            self._accept_number,
            SOL_SOCKET,
            SO_UPDATE_ACCEPT_CONTEXT,
            ctypes.byref(listener),
            ctypes.sizeof(listener),
        ):
            raise error_of_code("setsockopt", kernel.last_error(), None, self)
        local, peer = self._addresses()
        if local != self._last_local:
            self._last_local = local
        # Lifetime: from here on the number is the stream's. So there is no call between, after
        # which a signal handler might raise, and the number be closed twice.
        number = (self._accept_number,)
        made = map(listening.sibling, number, (self._last_local,), (peer,))
        for self.accepted in made:
            break
        self._give_up_number()

    def _addresses(self) -> tuple[Any, Any]:
        """Return the local address and the peer's from the block."""
        listening = self._listening
        look_up = listening.extension(listening.home.kernel.GetAcceptExSockaddrs)
        look_up(*self._look_up_arguments)
        return self._address(self._local), self._address(self._peer)

    def _address(self, pointer: ctypes._Pointer[SOCKADDR]) -> Any:
        """Return an address; for an AF_UNIX peer without a path, an empty string.

        None if there is none: Wine writes no addresses for a client that has closed before
        it sent the first data. The stream then asks the system.
        """
        try:
            return address_of(pointer)
        except ValueError:
            return "" if self._listening.family == AF_UNIX else None

    def connected_seconds(self) -> int | None:
        """Return for how long a client has been connected that this accept still waits for.

        An accept with room for first data completes only when the client sends some, so a
        client that never does keeps it pending for ever: ask now and then, and when it has been
        too long ``cancel()`` the accept, which disconnects the client. Whole seconds; None if
        no client is there, or the accept has completed.

        Raises an `IocpError` if the system refuses. Any thread may call it.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex
        """
        seconds = DWORD()
        size = ctypes.c_int(ctypes.sizeof(seconds))
        kernel = self.handle.home.kernel
        # Lifetime: under the lock the number stays this socket's; see `_give_up_number`.
        with self.handle.lock:
            if self._accept_number == INVALID_SOCKET:
                return None
            if not kernel.getsockopt(
                self._accept_number,
                SOL_SOCKET,
                SO_CONNECT_TIME,
                ctypes.byref(seconds),
                ctypes.byref(size),
            ):
                return None if seconds.value == _NOT_CONNECTED else seconds.value
            code = kernel.last_error()
        raise error_of_code("getsockopt", code, None, self)

    def _give_up_number(self) -> int:
        """Forget the socket that is accepted into; return its number."""
        with self.handle.lock:
            number, self._accept_number = self._accept_number, int(INVALID_SOCKET)
        return number

    def _close_accepted(self) -> None:
        number = self._give_up_number()
        if number != INVALID_SOCKET and self._into is None:
            self.handle.home.kernel.closesocket(number)
