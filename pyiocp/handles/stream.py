"""Stream: a connection-oriented socket on a completion port, TCP over IPv4 or IPv6.

Every operation is posted by the method that names it and ends in one completion from
``CompletionPort.wait``. An operation holds its buffers until then: a bytearray cannot be
resized meanwhile, and nobody may look at it before the completion has come.

What belongs here: the operations of a stream. What a server makes of them is ring 3.
"""

from __future__ import annotations

import ctypes
import socket
from typing import TYPE_CHECKING, Any

from ..errors import HandleClosedError, IocpError, error_of_code
from ..operation import PENDING, Operation
from ..winapi import (
    DWORD,
    INVALID_SOCKET,
    LPSOCKADDR,
    MSG_PEEK,
    SD_BOTH,
    SD_RECEIVE,
    SD_SEND,
    SO_EXCLUSIVEADDRUSE,
    SO_PROTOCOL_INFOW,
    SO_UPDATE_ACCEPT_CONTEXT,
    SO_UPDATE_CONNECT_CONTEXT,
    SOCKADDR_STORAGE,
    SOCKET,
    SOCKET_ERROR,
    SOL_SOCKET,
    TF_REUSE_SOCKET,
    WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED,
    WSAPROTOCOL_INFOW,
    XP1_IFS_HANDLES,
    address_of,
    sockaddr,
    wsabufs,
)
from ..winapi.errorcodes import STATUS_PENDING, WSAEINVAL
from .handle import Handle

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ..completion import Completion
    from ..completion_queue import CompletionQueue
    from ..kernel import Kernel

#: What AcceptEx wants for each of the two addresses: 16 bytes more than the largest.
_ADDRESS_SIZE = ctypes.sizeof(SOCKADDR_STORAGE) + 16
_RECEIVED_MAX = 0xFFFFFFFF - 2 * _ADDRESS_SIZE

_WILDCARD = {int(socket.AF_INET): ("", 0), int(socket.AF_INET6): ("::", 0)}


def open_socket(kernel: Kernel, family: int) -> int:
    """Return a new overlapped stream socket, which child processes do not inherit.

    Raises an `IocpError`: ``WSAEMFILE`` (10024) when the process has too many sockets,
    ``WSAEAFNOSUPPORT`` (10047) for a family that this system lacks.
    """
    number = kernel.WSASocketW(
        family, socket.SOCK_STREAM, 0, None, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT
    )
    if number == INVALID_SOCKET:
        raise error_of_code("WSASocketW", kernel.last_error())
    return number


def has_ifs_handles(port: CompletionQueue, number: int, family: int) -> bool:
    """Tell whether the family's stream sockets are real file handles; asked once a port.

    Sockets of a layered provider that are not lose packets, or see them twice, when
    skip-on-success is set on them, although setting it succeeds.
    """
    answers = port.ifs_handles_by_family
    if family not in answers:
        information = WSAPROTOCOL_INFOW()
        size = ctypes.c_int(ctypes.sizeof(information))
        asked = port.kernel.getsockopt(
            number, SOL_SOCKET, SO_PROTOCOL_INFOW, ctypes.byref(information), ctypes.byref(size)
        )
        answers[family] = not asked and bool(information.dwServiceFlags1 & XP1_IFS_HANDLES)
    return answers[family]


class AcceptOperation(Operation):
    """An accept: ``accepted`` is the new `Stream` once its completion says success.

    The first bytes that the client sent, if they were asked for, are the completion's
    ``data``.
    """

    __slots__ = ("_accept_number", "_block", "_room", "accepted")

    def __init__(self, listening: Stream, room: int) -> None:
        super().__init__(listening, "accept")
        self._room = room
        # Lifetime: the kernel writes the data and both addresses here; the operation
        # keeps the block, the in-flight table keeps the operation.
        self._block = bytearray(room + 2 * _ADDRESS_SIZE)
        self._accept_number = int(INVALID_SOCKET)
        self.accepted: Stream | None = None
        if room:
            self.buffers = (self._block,)

    def post(self) -> None:
        """Submit the accept, with a new socket to accept into."""
        if self.state is PENDING:
            super().post()  # which refuses; the socket that it accepts into stays
        listening = self.handle
        assert isinstance(listening, Stream)
        kernel = listening.port.kernel
        self.accepted = None
        self._accept_number = open_socket(kernel, listening.family)
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
                self.accepted = self._make_stream(count)
            except OSError as error:
                completion = type(completion)(self, self.key, 0, status, error)
        if self.accepted is None:
            self._close_accepted()
        return completion

    def _make_stream(self, count: int) -> Stream:
        listening = self.handle
        assert isinstance(listening, Stream)
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
        stream = Stream(listening.port, self._accept_number, family=listening.family)
        stream._local, stream._peer = self._addresses(count)
        self._accept_number = int(INVALID_SOCKET)
        return stream

    def _addresses(self, count: int) -> tuple[Any, Any]:
        """Return the local and the peer's address, out of the block."""
        local, peer = LPSOCKADDR(), LPSOCKADDR()
        sizes = ctypes.c_int(), ctypes.c_int()
        listening = self.handle
        assert isinstance(listening, Stream)
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


class ConnectOperation(Operation):
    """A connect; once it has completed without error the stream sends and receives."""

    __slots__ = ("_exported",)

    _exported: Any

    def finish(self, count: int, status: int) -> Completion:
        """Tell the socket that it is connected: getpeername and shutdown need that."""
        completion = super().finish(count, status)
        stream = self.handle
        assert isinstance(stream, Stream)
        if completion.error is None:
            try:
                stream._call("setsockopt", SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, None, 0)
            except HandleClosedError:
                pass  # closed just now, by another thread: there is nothing left to update
            except OSError as error:
                return type(completion)(self, self.key, 0, status, error)
        return completion


class DisconnectOperation(Operation):
    """A disconnect.

    A provider may finish it on the spot and yet report it as pending: then, with
    skip-on-success in force, no packet comes. Wine's does.
    """

    __slots__ = ()

    def _submit(self) -> bool:
        done = super()._submit()
        if not done and self.handle.skips_on_success and self._words[0] != STATUS_PENDING:
            self.handle.port.settle(self)
        return done


class Stream(Handle):
    """A stream socket on a completion port: listening, connecting or connected.

    Made by ``CompletionPort.stream``. ``family`` is AF_INET or AF_INET6.

    Thread safety: any thread may call any method. Two receives pending at once are
    filled in the order of their posting, but on several threads their completions may be
    seen in either order: keep one receive pending if the order of the bytes matters.
    """

    kind = "stream"

    def __init__(
        self,
        port: CompletionQueue,
        number: int,
        *,
        key: Any = None,
        family: int = socket.AF_INET,
        skip_on_success: bool = True,
        internal: bool = False,
    ) -> None:
        self.family = int(family)
        self._local: Any = None
        self._peer: Any = None
        self._extensions: dict[str, Callable[..., Any]] = {}
        super().__init__(
            port,
            number,
            key=key,
            skip_on_success=skip_on_success and has_ifs_handles(port, number, self.family),
            internal=internal,
        )

    # Operations

    def receive(self, *buffers: Buffer, peek: bool = False) -> Operation:
        """Receive into one or several writable buffers, which are filled in order.

        A completion with 0 bytes means that the peer has shut down its sending side,
        unless the buffers are empty: then it means that there is something to receive,
        while nothing was locked in memory meanwhile (without buffers, that is what this
        does). peek: leave the bytes in the socket, to be received again.

        Lifetime: the buffers are the kernel's until the completion has been dequeued;
        a bytearray cannot be resized until then.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057,
        ``WSAENOBUFS`` 10055 when too many pages are locked), TypeError for a read-only
        buffer. Completes with `PeerResetError`, `ConnectionLostError`,
        `OperationCancelledError` and so on.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv
        """
        operation = self.receive_operation(*buffers, peek=peek)
        operation.post()
        return operation

    def receive_operation(self, *buffers: Buffer, peek: bool = False) -> Operation:
        """Return a receive that has not been posted yet, to be posted again and again."""
        operation = Operation(self, "receive")
        operation.buffers = buffers
        array = wsabufs(*(buffers or (bytearray(),)))
        operation._calls(
            "WSARecv",
            self.port.kernel.WSARecv,
            SOCKET_ERROR,
            SOCKET(self.number),
            ctypes.byref(array),
            DWORD(len(array)),
            None,
            ctypes.byref(DWORD(MSG_PEEK if peek else 0)),
            ctypes.byref(operation.overlapped),
            None,
        )
        return operation

    def send(self, *buffers: Buffer) -> Operation:
        """Send one or several buffers, one after the other, in one system call.

        Completes when the system has taken all the bytes, which says nothing about
        whether the peer has them.

        Lifetime: the buffers may not change until the completion has been dequeued.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057,
        ``WSAESHUTDOWN`` 10058, ``WSAECONNRESET`` 10054, ``WSAENOBUFS`` 10055), ValueError
        without buffers. Completes with `PeerResetError`, `ConnectionLostError` and so on.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasend
        """
        if not buffers:
            raise ValueError("send() needs at least one buffer")
        operation = Operation(self, "send")
        operation.buffers = buffers
        array = wsabufs(*buffers, read_only=True)
        operation._calls(
            "WSASend",
            self.port.kernel.WSASend,
            SOCKET_ERROR,
            SOCKET(self.number),
            ctypes.byref(array),
            DWORD(len(array)),
            None,
            DWORD(0),
            ctypes.byref(operation.overlapped),
            None,
        )
        operation.post()
        return operation

    def accept(self, receive: int = 0) -> AcceptOperation:
        """Accept one connection on this listening stream.

        The stream of the connection is the operation's ``accepted`` when the completion
        says success. receive: how many bytes of first data to wait for, at most; with
        more than 0 the accept completes when the client has sent something, so that a
        client that sends nothing keeps it pending for ever: set a deadline and cancel.

        Completes with `PeerResetError` or `NetworkTimeoutError` if the client went away
        before: that is the end of that client, not of the listening stream.

        Raises an `IocpError` if the system refuses (``WSAEINVAL`` 10022: the stream does
        not listen; ``WSAEMFILE`` 10024: no more sockets), ValueError for a bad `receive`.

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex
        """
        if not 0 <= receive <= _RECEIVED_MAX:
            raise ValueError(f"receive must be between 0 and {_RECEIVED_MAX}, not {receive}")
        operation = AcceptOperation(self, receive)
        operation.post()
        return operation

    def connect(self, address: Any, data: Buffer = b"") -> ConnectOperation:
        """Connect to a numeric address; a stream that is not bound is bound by itself.

        data: sent with the connect, as soon as it is established; the completion's
        ``bytes`` says how much of it went.

        Completes with `ConnectRefusedError`, `NetworkTimeoutError`, `UnreachableError`
        and so on; the stream can then be closed, not connected again.

        Raises ValueError for an address that is not numeric, an `IocpError` if the system
        refuses (``WSAEISCONN`` 10056).

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex
        """
        operation = self.connect_operation(address, data)
        operation.post()
        return operation

    def connect_operation(self, address: Any, data: Buffer = b"") -> ConnectOperation:
        """Return a connect that has not been posted yet; the stream is bound."""
        target = sockaddr(self.family, address)
        self._bind_for_connect()
        operation = ConnectOperation(self, "connect")
        operation.buffers = (data,)
        # Lifetime: ConnectEx takes a bare address; the array exports the data under it.
        operation._exported = array = wsabufs(data, read_only=True)
        operation._calls(
            "ConnectEx",
            self.extension(self.port.kernel.ConnectEx),
            0,
            SOCKET(self.number),
            ctypes.byref(target),
            ctypes.c_int(ctypes.sizeof(target)),
            ctypes.c_void_p(array[0].buf),
            DWORD(array[0].len),
            None,
            ctypes.byref(operation.overlapped),
        )
        return operation

    def disconnect(self, *, reuse: bool = False) -> Operation:
        """Shut the connection down, and with `reuse` make the socket fit for another.

        The socket may be accepted into or connected again only after the completion has
        come without error, and its options must then be set again.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057).

        Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_disconnectex
        """
        operation = DisconnectOperation(self, "disconnect")
        operation._calls(
            "DisconnectEx",
            self.extension(self.port.kernel.DisconnectEx),
            0,
            SOCKET(self.number),
            ctypes.byref(operation.overlapped),
            DWORD(TF_REUSE_SOCKET if reuse else 0),
            DWORD(0),
        )
        operation.post()
        return operation

    # The socket itself

    def bind(self, address: Any, *, exclusive: bool = False) -> None:
        """Bind to a numeric address; port 0 lets the system choose.

        exclusive: refuse to share the address with any other socket. By default Windows
        lets another process bind the same port with SO_REUSEADDR and take its clients.

        Raises `AddressUnavailableError` (``WSAEADDRINUSE`` 10048, ``WSAEADDRNOTAVAIL``
        10049), ValueError for an address that is not numeric.

        Source: https://learn.microsoft.com/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse
        """
        if exclusive:
            self.set_option(SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1)
        target = sockaddr(self.family, address)
        self._call("bind", ctypes.byref(target), ctypes.sizeof(target))

    def listen(self, backlog: int = 0x7FFFFFFF) -> None:
        """Listen; `backlog` connections may wait to be accepted, by default what fits.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen
        """
        self._call("listen", backlog)

    def shutdown(self, how: int = SD_BOTH) -> None:
        """Shut down sending (SD_SEND: the peer sees the end), receiving, or both.

        Raises an `IocpError` if the system refuses (``WSAENOTCONN`` 10057).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-shutdown
        """
        if how not in (SD_RECEIVE, SD_SEND, SD_BOTH):
            raise ValueError(f"how must be SD_RECEIVE, SD_SEND or SD_BOTH, not {how!r}")
        self._call("shutdown", how)

    def set_option(self, level: int, option: int, value: int | Buffer) -> None:
        """Set a socket option to an integer or to the bytes of a structure.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-setsockopt
        """
        data = bytearray(ctypes.c_int32(value)) if isinstance(value, int) else bytearray(value)
        memory = (ctypes.c_char * len(data)).from_buffer(data)
        self._call("setsockopt", level, option, ctypes.byref(memory), len(data))

    def local_address(self) -> Any:
        """Return this side's address, as Python's ``socket`` module writes addresses."""
        if self._local is None:
            return self._address("getsockname")
        return self._local

    def peer_address(self) -> Any:
        """Return the peer's address; an `IocpError` (``WSAENOTCONN``) if there is none."""
        if self._peer is None:
            self._peer = self._address("getpeername")
        return self._peer

    def extension(self, lookup: Callable[[int], Callable[..., Any]]) -> Callable[..., Any]:
        """Return the extension function of this socket's provider, looked up once."""
        name = lookup.__name__
        if name not in self._extensions:
            self._extensions[name] = lookup(self.number)
        return self._extensions[name]

    def _bind_for_connect(self) -> None:
        """Bind to any address if not bound yet: ConnectEx, unlike connect, asks for that."""
        try:
            self.bind(_WILDCARD[self.family])
        except IocpError as error:
            if error.winerror != WSAEINVAL:  # that one says: bound already
                raise

    def _address(self, function: str) -> Any:
        storage = SOCKADDR_STORAGE()
        size = ctypes.c_int(ctypes.sizeof(storage))
        self._call(function, ctypes.byref(storage), ctypes.byref(size))
        return address_of(storage)

    def _call(self, function: str, *arguments: Any) -> None:
        """Call a Winsock function of this socket that returns 0 on success."""
        with self.lock:
            self.check_open(function)
            kernel = self.port.kernel
            if not getattr(kernel, function)(self.number, *arguments):
                return
            code = kernel.last_error()
        raise error_of_code(function, code, None, self)

    def _close_number(self) -> None:
        self.port.kernel.closesocket(self.number)
