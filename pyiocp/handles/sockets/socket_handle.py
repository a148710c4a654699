"""SocketHandle: what every kind of socket on a completion port has in common."""

from __future__ import annotations

import ctypes
import socket
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...engine.operation import Operation
from ...errors import SOCKET_WINERROR_OF, error_of_code
from ...winapi import (
    DWORD,
    FIONBIO,
    INVALID_SOCKET,
    MSG_PEEK,
    SO_EXCLUSIVEADDRUSE,
    SO_RCVBUF,
    SO_SNDBUF,
    SOCKADDR_STORAGE,
    SOCKET,
    SOCKET_ERROR,
    SOL_SOCKET,
    ULONG,
    WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED,
    address_of,
    sockaddr,
    wsabufs,
)
from ..handle import Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Buffer

    from ...engine.home import Home
    from ...engine.kernel import Kernel

_FIONBIO = FIONBIO - (1 << 32)
"""FIONBIO as a signed number, which ioctlsocket takes."""


_OPTION_SIZE_MAX = 65536
_BUFFER_SIZE_MAX = 0x7FFFFFFF


def open_socket(kernel: Kernel, family: int, kind: int) -> int:
    """Return a new overlapped socket, which child processes do not inherit.

    family: AF_INET or AF_INET6. kind: SOCK_STREAM or SOCK_DGRAM.

    Raises an `IocpError`: ``WSAEMFILE`` (10024) when the process has too many sockets,
    ``WSAEAFNOSUPPORT`` (10047) for a family that this system lacks.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw
    """
    number = kernel.WSASocketW(
        family, kind, 0, None, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT
    )
    if number == INVALID_SOCKET:
        raise error_of_code("WSASocketW", kernel.last_error())
    return number


_KINDS = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "datagram"}


def number_and_family(
    sock: socket.socket | int, kind: socket.SocketKind, family: int | None
) -> tuple[int, int]:
    """Return the number and family of a caller's socket, which must be of the given kind.

    Raises TypeError for what is neither a socket nor a number, ValueError for a socket that is
    of another kind or closed.
    """
    if isinstance(sock, int):
        return sock, socket.AF_INET if family is None else family
    if not isinstance(sock, socket.socket):
        raise TypeError(f"a socket or its number is needed, not {sock!r}")
    if sock.type != kind:
        raise ValueError(f"a {_KINDS[kind]} socket is needed, not {sock!r}")
    if sock.fileno() < 0:
        raise ValueError(f"{sock!r} is closed")
    return sock.fileno(), sock.family


class SocketHandle(Handle):
    """A socket on a completion port. ``family`` is AF_INET or AF_INET6."""

    kind = "socket"
    winerror_of = SOCKET_WINERROR_OF
    may_wait = True
    """Whether a call without an OVERLAPPED would wait: see `set_blocking`."""

    _to_wait_again = False
    """Whether calls waited until `stop_waiting`, and shall do so again when it is given back."""

    _extensions: Mapping[str, Callable[..., Any]] = MappingProxyType({})
    """The extension functions looked up so far; most connections need none."""

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        family: int,
        key: Any = None,
        skip_on_success: bool = False,
        internal: bool = False,
    ) -> None:
        self.family = int(family)
        super().__init__(home, number, key=key, skip_on_success=skip_on_success, internal=internal)

    def receive_operation(self, *buffers: Buffer, peek: bool = False) -> Operation:
        """Return a receive that has not been posted yet, to be posted again and again."""
        operation = Operation(self, "receive")
        operation.buffers = buffers
        array = wsabufs(*(buffers or (bytearray(),)))
        operation._calls(
            "WSARecv",
            self.home.kernel.WSARecv,
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

    def send_operation(self, *buffers: Buffer) -> Operation:
        """Return a send that has not been posted yet, to be posted again and again.

        Raises ValueError without buffers.
        """
        if not buffers:
            raise ValueError("send() needs at least one buffer")
        operation = Operation(self, "send")
        operation.buffers = buffers
        array = wsabufs(*buffers, read_only=True)
        operation._calls(
            "WSASend",
            self.home.kernel.WSASend,
            SOCKET_ERROR,
            SOCKET(self.number),
            ctypes.byref(array),
            DWORD(len(array)),
            None,
            DWORD(0),
            ctypes.byref(operation.overlapped),
            None,
        )
        return operation

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
        self.call("bind", ctypes.byref(target), ctypes.sizeof(target))

    def take_over(self, sock: socket.socket) -> None:
        """Detach the Python socket that this handle was made of, and remember its mode."""
        self.may_wait = sock.gettimeout() is None  # with a time-out it does not block, either
        sock.detach()

    def set_option(self, level: int, option: int, value: int | Buffer) -> None:
        """Set a socket option to an integer or to the bytes of a structure.

        level, option: such as ``SOL_SOCKET, SO_RCVBUF``; ``pyiocp.winapi`` has the numbers.
        value: an integer of 32 bits, with or without a sign, or a buffer.

        Raises an `IocpError` (``WSAENOPROTOOPT`` 10042: this system, or this kind of socket,
        does not have it; ``WSAEINVAL`` 10022), ValueError for a larger integer, TypeError for
        what is neither.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-setsockopt
        """
        if isinstance(value, int):
            if not -(1 << 31) <= value < 1 << 32:
                raise ValueError(f"an option is an integer of 32 bits, or a buffer, not {value}")
            data = bytearray(ctypes.c_int32(value))
        else:
            data = bytearray(memoryview(value))
        memory = (ctypes.c_char * len(data)).from_buffer(data)
        self.call("setsockopt", level, option, ctypes.byref(memory), len(data))

    def get_option(self, level: int, option: int) -> int:
        """Return a socket option that is an integer.

        level, option: as for `set_option`.

        Raises an `IocpError` (``WSAENOPROTOOPT`` 10042: this system, or this kind of socket,
        does not have it).

        Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockopt
        """
        size = ctypes.sizeof(DWORD)
        return int.from_bytes(self.get_option_bytes(level, option, size), "little", signed=True)

    def get_option_bytes(self, level: int, option: int, size: int) -> bytes:
        """Return a socket option that is a structure, as its bytes.

        level, option: as for `set_option`.
        size: how many bytes there is room for, 1 to 65,536; fewer may come.

        Raises an `IocpError` (``WSAENOPROTOOPT`` 10042: this system, or this kind of socket,
        does not have it; ``WSAEFAULT`` 10014: `size` is too small), ValueError for a bad
        `size`.

        Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockopt
        """
        if not 1 <= size <= _OPTION_SIZE_MAX:
            raise ValueError(f"size must be between 1 and {_OPTION_SIZE_MAX} bytes, not {size}")
        memory, length = (ctypes.c_char * size)(), ctypes.c_int(size)
        self.call("getsockopt", level, option, ctypes.byref(memory), ctypes.byref(length))
        return memory.raw[: length.value]

    def set_buffer_sizes(self, *, receive: int | None = None, send: int | None = None) -> None:
        """Set how many bytes the system keeps for the socket; None leaves it as it is.

        receive: what came and has not been received (``SO_RCVBUF``). A datagram that finds no
            room is lost; a stream's peer has to wait. Windows chooses and adapts it for a
            stream by itself, until it is set.
        send: what has been sent and not acknowledged (``SO_SNDBUF``). With 0 nothing is copied
            on a stream: a send ends when the peer has it, and its pages stay locked until then.

        Each is 0 to 2,147,483,647; ValueError if not. The system may choose another size.
        Raises an `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options
        """
        for name, option, size in (("receive", SO_RCVBUF, receive), ("send", SO_SNDBUF, send)):
            if size is None:
                continue
            if not 0 <= size <= _BUFFER_SIZE_MAX:
                most = _BUFFER_SIZE_MAX
                raise ValueError(f"{name} must be between 0 and {most} bytes, not {size}")
            self.set_option(SOL_SOCKET, option, size)

    def set_blocking(self, blocking: bool) -> None:
        """Have calls without an OVERLAPPED wait, or fail with WSAEWOULDBLOCK.

        Operations are not affected: they never block. An accepted socket starts out like the
        listening one. `detach` and ``share`` give the socket back in the mode that was set
        last by this, or that it came with: the system does not tell a socket's mode, so one
        that came by its number counts as one that blocks.

        Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-ioctlsocket
        """
        self._set_blocking(blocking)
        self._to_wait_again = False

    def stop_waiting(self) -> None:
        """Have calls without an OVERLAPPED fail instead of waiting, until it is given back."""
        waited = self.may_wait
        self._set_blocking(False)
        self._to_wait_again = self._to_wait_again or waited

    def _set_blocking(self, blocking: bool) -> None:
        self.call("ioctlsocket", _FIONBIO, ctypes.byref(ULONG(not blocking)))
        self.may_wait = blocking

    def _restore(self) -> None:
        if self._to_wait_again:
            self.set_blocking(True)

    def local_address(self) -> Any:
        """Return this side's address, as Python's ``socket`` module writes addresses.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-getsockname
        """
        return self._address("getsockname")

    def extension(self, lookup: Callable[[int], Callable[..., Any]]) -> Callable[..., Any]:
        """Return the extension function of this socket's provider, looked up once."""
        name = lookup.__name__
        if name not in self._extensions:
            self._extensions = {**self._extensions, name: lookup(self.number)}
        return self._extensions[name]

    def _address(self, function: str) -> Any:
        storage = SOCKADDR_STORAGE()
        size = ctypes.c_int(ctypes.sizeof(storage))
        self.call(function, ctypes.byref(storage), ctypes.byref(size))
        return address_of(storage)

    def control(self, code: int, value: ctypes.Structure | DWORD) -> None:
        """Set what is no socket option, but has an IOCTL.

        code: such as ``SIO_UDP_CONNRESET``; ``pyiocp.winapi`` has the numbers.
        value: the structure, or number, that belongs to it.

        Raises an `IocpError` if the system refuses (``WSAEOPNOTSUPP`` 10045: it does not have
        that code, or not for this kind of socket).

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaioctl
        """
        done = DWORD()
        arguments = ctypes.byref(value), ctypes.sizeof(value), None, 0, ctypes.byref(done)
        self.call("WSAIoctl", code, *arguments, None, None)

    def call(self, function: str, *arguments: Any) -> None:
        """Call a Winsock function of this socket that returns 0 on success."""
        with self.lock:
            self.check_open(function)
            kernel = self.home.kernel
            if not getattr(kernel, function)(self.number, *arguments):
                return
            code = kernel.last_error()
        raise error_of_code(function, code, None, self)

    def _close_number(self) -> None:
        self.home.kernel.closesocket(self.number)
