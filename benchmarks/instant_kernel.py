"""InstantKernel: a port's kernel whose calls return at once, so that Python's work shows alone.

The functions of the hot path are those of ``instant.c``, called through ctypes exactly as
Windows' own are; the others say yes to sockets that do not exist.
"""

from __future__ import annotations

import ctypes
import itertools
import socket
from collections.abc import Callable
from typing import Any

from pyiocp import CompletionPort, Datagram, DatagramSession, Session, Stream, winapi
from pyiocp.engine.kernel import Kernel
from pyiocp.servers.tcp.listener import Listener
from pyiocp.servers.udp.datagram_server import DatagramServer
from pyiocp.winapi.binding import typed_pointer

_MEASURED = 0x10000000
"""The first number of a socket that does not exist; also in ``instant.c``."""

_PEER = ("127.0.0.1", 9)


class InstantKernel(Kernel):
    """See the module. `program` is the path of the DLL that ``instant.c`` makes."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = ctypes.CDLL(program)
        transfers = ("WSARecv", "WSASend", "WSARecvFrom", "WSASendTo", "recvfrom", "send", "sendto")
        for name in transfers:
            setattr(self, name, winapi.untyped(self._instant(name), keeps_gil=True))
        queued = self._instant("GetQueuedCompletionStatusEx")
        self.GetQueuedCompletionStatusEx = winapi.untyped(queued)
        self.PostQueuedCompletionStatus = self._instant("PostQueuedCompletionStatus")
        self.WSASocketW = self._instant("WSASocketW")
        self.getsockname = self._instant("getsockname")
        for name, answer in (
            ("CreateIoCompletionPort", 1),
            ("SetFileCompletionNotificationModes", 1),
            ("CancelIoEx", 1),
            ("closesocket", 0),
            ("setsockopt", 0),
            ("shutdown", 0),
            ("WSAIoctl", 0),
            ("ioctlsocket", 0),
        ):
            setattr(self, name, _say(answer, getattr(self, name)))

    def _instant(self, name: str) -> Any:
        declaration = getattr(winapi, name).declaration
        return typed_pointer(declaration, (f"instant_{name}", self._program))

    def AcceptEx(self, socket: int) -> Callable[..., int]:
        """Return the one that has a client at once."""
        return winapi.untyped(self._instant("AcceptEx"))

    def GetAcceptExSockaddrs(self, socket: int) -> Callable[..., None]:
        """Return the one that knows where such a client is."""
        addresses: Callable[..., None] = self._instant("GetAcceptExSockaddrs")
        return addresses

    def set(self, name: str, value: int) -> None:
        """Set a variable of ``instant.c``."""
        ctypes.c_int.in_dll(self._program, name).value = value


def _say(answer: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that says `answer` for measured sockets, and asks Windows for others."""

    def function(number: int, *arguments: Any) -> Any:
        measured = _MEASURED <= number < 2 * _MEASURED
        return answer if measured else real(number, *arguments)

    return function


_numbers = itertools.count(_MEASURED)


def make_stream(port: CompletionPort) -> Stream:
    """Return a connected stream."""
    port._queue.ifs_handles_by_family[socket.AF_INET] = True
    return Stream(port._queue, next(_numbers), family=socket.AF_INET, local=_PEER, peer=_PEER)


def make_listener(port: CompletionPort, factory: Callable[[], Session], accepts: int) -> Listener:
    """Return a listener with clients waiting for so many accepts."""
    return Listener(
        port._service,
        lambda: make_stream(port),
        factory,
        accepts=accepts,
        first_data=0,
        first_data_timeout=1.0,
        limits=None,
    )


def make_datagram(port: CompletionPort) -> Datagram:
    """Return a datagram socket."""
    return Datagram(port._queue, next(_numbers), family=socket.AF_INET)


def make_datagram_server(
    port: CompletionPort, factory: Callable[[], DatagramSession]
) -> DatagramServer:
    """Return a server that has 64 datagrams at a time."""
    return DatagramServer(
        port._service,
        lambda: make_datagram(port),
        factory,
        admit=None,
        datagram_size=2048,
        receive_buffer=None,
        sends=16384,
        limits=None,
    )


def make_session(port: CompletionPort, factory: Callable[[], Session]) -> Session:
    """Return a session that has just begun, as a listener's."""
    session = factory()
    port._service.attach_session(session).attach(make_stream(port), _PEER)
    return session
