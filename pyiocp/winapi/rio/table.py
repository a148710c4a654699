"""RIO's table of functions, and how to get it from a socket."""

from __future__ import annotations

import ctypes

from ..binding import WINDOWS
from ..errorcodes import WSAEINVAL, WSAEOPNOTSUPP
from ..extension import Provider, look_up, unavailable, winsock_error
from ..structure import Structure
from ..types import DWORD, Pointer
from ..ws2_32.guid import GUID
from ..ws2_32.ioctls import SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER
from .functions import (
    LPFN_RIOCLOSECOMPLETIONQUEUE,
    LPFN_RIOCREATECOMPLETIONQUEUE,
    LPFN_RIOCREATEREQUESTQUEUE,
    LPFN_RIODEQUEUECOMPLETION,
    LPFN_RIODEREGISTERBUFFER,
    LPFN_RIONOTIFY,
    LPFN_RIORECEIVE,
    LPFN_RIORECEIVEEX,
    LPFN_RIOREGISTERBUFFER,
    LPFN_RIORESIZECOMPLETIONQUEUE,
    LPFN_RIORESIZEREQUESTQUEUE,
    LPFN_RIOSEND,
    LPFN_RIOSENDEX,
)

# The name of the table.
WSAID_MULTIPLE_RIO = GUID.of("8509e081-96dd-4005-b165-9e2ee8c79e3f")


class RIO_EXTENSION_FUNCTION_TABLE(Structure):
    """RIO's functions, typed; :func:`rio_functions` fills it in.

    Take a function out once and keep it: each look at a field makes a new function object.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/ns-mswsock-rio_extension_function_table
    """

    _fields_ = (
        ("cbSize", DWORD),
        ("RIOReceive", LPFN_RIORECEIVE),
        ("RIOReceiveEx", LPFN_RIORECEIVEEX),
        ("RIOSend", LPFN_RIOSEND),
        ("RIOSendEx", LPFN_RIOSENDEX),
        ("RIOCloseCompletionQueue", LPFN_RIOCLOSECOMPLETIONQUEUE),
        ("RIOCreateCompletionQueue", LPFN_RIOCREATECOMPLETIONQUEUE),
        ("RIOCreateRequestQueue", LPFN_RIOCREATEREQUESTQUEUE),
        ("RIODequeueCompletion", LPFN_RIODEQUEUECOMPLETION),
        ("RIODeregisterBuffer", LPFN_RIODEREGISTERBUFFER),
        ("RIONotify", LPFN_RIONOTIFY),
        ("RIORegisterBuffer", LPFN_RIOREGISTERBUFFER),
        ("RIOResizeCompletionQueue", LPFN_RIORESIZECOMPLETIONQUEUE),
        ("RIOResizeRequestQueue", LPFN_RIORESIZEREQUESTQUEUE),
    )


PRIO_EXTENSION_FUNCTION_TABLE = Pointer[RIO_EXTENSION_FUNCTION_TABLE]


_TABLES: dict[Provider, RIO_EXTENSION_FUNCTION_TABLE] = {}


def rio_functions(socket: int) -> RIO_EXTENSION_FUNCTION_TABLE:
    """Return the RIO functions of the provider behind `socket`.

    The table may be kept, and used on every socket of the same family, type, protocol
    and provider. Any thread may call this.

    Raises FunctionUnavailableError when the provider has no RIO (Windows 7, most layered
    providers), and OSError when `socket` is no socket.
    """
    if not WINDOWS:
        raise unavailable("RIO", "Windows 8", "off Windows")
    provider = Provider.of(socket)
    if provider not in _TABLES:
        table = RIO_EXTENSION_FUNCTION_TABLE(cbSize=ctypes.sizeof(RIO_EXTENSION_FUNCTION_TABLE))
        code = SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER
        error = look_up(socket, code, WSAID_MULTIPLE_RIO, table)
        if error in {WSAEINVAL, WSAEOPNOTSUPP}:
            raise unavailable("RIO", "Windows 8", f"on this {provider}")
        if error:
            raise winsock_error("WSAIoctl(WSAID_MULTIPLE_RIO)", error)
        # Two threads that get here at once have asked for the same pointers.
        _TABLES[provider] = table
    return _TABLES[provider]
