"""Extension functions of Winsock: looked up by GUID on a socket, per provider.

AcceptEx and its kin belong to the transport provider behind a socket, not to a DLL's
export table. mswsock.dll does export some of them, but the export asks for the pointer
again with every call, and a pointer of one provider must not be used on another one's
socket: IPv4 and IPv6, stream and datagram, a VPN's layered provider. So the pointer is
asked of the socket itself, with WSAIoctl, and kept per address family, socket type,
protocol and catalogue entry.

A declaration reads like any other::

    @extension(WSAID_CONNECTEX, since="Windows XP")
    def ConnectEx(s: SOCKET, …) -> BOOL:
        '''Connect a socket …'''

``ConnectEx.on(s)`` returns the typed function of that socket's provider: the way for code
that calls it often. ``ConnectEx(s, …)`` looks it up for its first argument, every time.

Lifetime: a pointer leads into the provider's DLL, which stays loaded as long as Winsock
is not ended; pyiocp's own start (ws2_32/startup.py) sees to that.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from ctypes import byref
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from .binding import (
    DECLARED,
    WINDOWS,
    Declaration,
    Function,
    FunctionUnavailableError,
    _Missing,
    last_error,
    typed_pointer,
)
from .errorcodes import WSAEINVAL, WSAEOPNOTSUPP, error_name
from .types import DWORD, INT, PVOID
from .ws2_32.addresses import AF_INET, AF_INET6, AF_UNIX
from .ws2_32.constants import (
    INVALID_SOCKET,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOCKET_ERROR,
    WSA_FLAG_OVERLAPPED,
)
from .ws2_32.guid import GUID
from .ws2_32.ioctls import SIO_GET_EXTENSION_FUNCTION_POINTER, WSAIoctl
from .ws2_32.options import SO_PROTOCOL_INFOW, SOL_SOCKET, getsockopt
from .ws2_32.sockets import WSAPROTOCOL_INFOW, WSASocketW, closesocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

R = TypeVar("R")

_FAMILIES = {AF_INET: "AF_INET", AF_INET6: "AF_INET6", AF_UNIX: "AF_UNIX"}
_TYPES = {SOCK_STREAM: "stream", SOCK_DGRAM: "datagram"}


class Provider(NamedTuple):
    """What tells one provider's sockets from another's."""

    family: int
    type: int
    protocol: int
    catalog_entry: int

    @classmethod
    def of(cls, socket: int) -> Provider:
        """Ask a socket. Raises OSError, with Winsock's code, for what is no socket."""
        info = WSAPROTOCOL_INFOW()
        size = INT(ctypes.sizeof(info))
        result = getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, byref(info), byref(size))
        if result == SOCKET_ERROR:
            raise winsock_error("getsockopt(SO_PROTOCOL_INFOW)", last_error())
        return cls(info.iAddressFamily, info.iSocketType, info.iProtocol, info.dwCatalogEntryId)

    def __str__(self) -> str:
        family = _FAMILIES.get(self.family, f"family {self.family}")
        return f"{family} {_TYPES.get(self.type, f'type {self.type}')} socket"


class ExtensionFunction(Function[R]):
    """A Win32 function that a socket's provider gives out by GUID.

    Any thread may use it, also without a GIL.
    """

    def __init__(self, declaration: Declaration, guid: GUID) -> None:
        self.declaration = declaration
        self.guid = guid
        self.__doc__ = declaration.help
        self.__name__ = declaration.name
        self._pointers: dict[Provider, Function[R]] = {}
        self._lock = threading.Lock()

    def on(self, socket: int) -> Function[R]:
        """Return the function of the provider behind `socket`, with types.

        `untyped()` takes the result. It may be kept, and used on every socket of the
        same family, type, protocol and provider, also after `socket` is closed.

        Raises FunctionUnavailableError when the provider does not have the function, and
        OSError when `socket` is no socket.
        """
        if not WINDOWS:
            return _Missing(self.declaration)
        provider = Provider.of(socket)
        pointer = self._pointers.get(provider)
        if pointer is None:
            # Without the lock two threads would only ask twice, for the same answer.
            with self._lock:
                pointer = self._pointers.get(provider)
                if pointer is None:
                    pointer = typed_pointer(self.declaration, self._address(socket, provider))
                    self._pointers[provider] = pointer
        return pointer

    def __call__(self, *arguments: Any) -> R:
        """Call the function of the provider behind the first argument, a socket."""
        if not arguments:
            raise TypeError(f"{self.declaration} takes a socket first")
        return self.on(arguments[0])(*arguments)

    def offered(self) -> bool:
        """Tell whether the provider of ordinary IPv4 sockets has it, by asking a new one."""
        if not WINDOWS:
            return False
        for kind in (SOCK_STREAM, SOCK_DGRAM):
            with _new_socket(kind) as socket, contextlib.suppress(FunctionUnavailableError):
                self.on(socket)
                return True
        return False

    def _address(self, socket: int, provider: Provider) -> int:
        """Ask `socket` for the function's address."""
        pointer = PVOID()
        error = look_up(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, self.guid, pointer)
        if error in {WSAEINVAL, WSAEOPNOTSUPP} or (not error and not pointer.value):
            declaration = self.declaration
            raise unavailable(declaration.name, declaration.since, f"on this {provider}")
        if error:
            raise winsock_error(f"WSAIoctl({self.declaration.name})", error)
        return pointer.value or 0


class SocketlessExtensionFunction(ExtensionFunction[R]):
    """One without a socket among its arguments.

    A direct call uses the function of the provider of ordinary IPv4 stream sockets,
    asked of a new one the first time. (mswsock.dll's export of the same name is no
    substitute: some systems' does nothing until the DLL's own AcceptEx has been called.)
    """

    def __init__(self, declaration: Declaration, guid: GUID) -> None:
        super().__init__(declaration, guid)
        self._usual: Function[R] | None = None

    def __call__(self, *arguments: Any) -> R:
        """Call the function of the usual provider."""
        usual = self._usual
        if usual is None:
            with _new_socket(SOCK_STREAM) as socket:
                usual = self._usual = self.on(socket)
        return usual(*arguments)


def look_up(socket: int, code: int, guid: GUID, result: Any) -> int:
    """Have `socket` fill `result` with what `guid` names; return the error, 0 for success."""
    done = DWORD()
    failed = WSAIoctl(
        socket,
        code,
        byref(guid),
        ctypes.sizeof(guid),
        byref(result),
        ctypes.sizeof(result),
        byref(done),
        None,
        None,
    )
    return last_error() if failed else 0


class extension:
    """The decorator for a signature of an extension function.

    guid: its name, WSAID_…
    since: the first Windows version with the function.
    takes_socket: whether its first argument is the socket to ask.
    """

    def __init__(self, guid: GUID, *, since: str, takes_socket: bool = True) -> None:
        self._guid = guid
        self._since = since
        self._kind = ExtensionFunction if takes_socket else SocketlessExtensionFunction

    @overload
    def __call__(self, signature: Callable[..., None]) -> ExtensionFunction[None]: ...
    @overload
    def __call__(self, signature: Callable[..., Any]) -> ExtensionFunction[int]: ...
    def __call__(self, signature: Callable[..., Any]) -> ExtensionFunction[Any]:
        """Turn a signature into the function."""
        declaration = Declaration.of(signature, "mswsock.dll", self._since)
        function: ExtensionFunction[Any] = self._kind(declaration, self._guid)
        DECLARED[declaration.name] = function
        return function


@contextlib.contextmanager
def _new_socket(kind: int) -> Iterator[int]:
    """Give an IPv4 socket to ask, and close it."""
    if not WINDOWS:
        yield INVALID_SOCKET
        return
    socket = WSASocketW(AF_INET, kind, 0, None, 0, WSA_FLAG_OVERLAPPED)
    if socket == INVALID_SOCKET:
        raise winsock_error("WSASocketW", last_error())
    try:
        yield socket
    finally:
        closesocket(socket)


def unavailable(name: str, since: str, where: str) -> FunctionUnavailableError:
    """Return the error of a function that a provider does not have."""
    return FunctionUnavailableError(
        f"there is no {name} {where}: it came with {since}, and is the provider's to have"
    )


def winsock_error(what: str, code: int) -> OSError:
    """Return the OSError of a Winsock error code."""
    return OSError(None, f"{what}: {error_name(code)}", None, code)
