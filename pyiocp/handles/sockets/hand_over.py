"""Handing a socket over to another process: WSADuplicateSocketW here, WSASocketW there.

What is passed is a WSAPROTOCOL_INFOW as bytes, which Python's ``socket.share`` and
``socket.fromshare`` use too. It may be written to a pipe; it is valid for one process and one
use.
"""

from __future__ import annotations

import ctypes
import operator
from typing import TYPE_CHECKING, Any

from ...errors import error_of_code
from ...winapi import (
    FROM_PROTOCOL_INFO,
    INVALID_SOCKET,
    SOCK_STREAM,
    WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED,
    WSAPROTOCOL_INFOW,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ...engine.kernel import Kernel


def share(kernel: Kernel, number: int, process_id: int, subject: Any) -> bytes:
    """Return the pass with which another process can open this process's socket.

    Raises ValueError for a number that is no process id, an `IocpError` (``WSAEINVAL``
    10022: no such process).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw
    """
    if operator.index(process_id) <= 0:
        raise ValueError(f"the id of a process is needed, not {process_id!r}")
    information = WSAPROTOCOL_INFOW()
    if kernel.WSADuplicateSocketW(number, process_id, ctypes.byref(information)):
        raise error_of_code("WSADuplicateSocketW", kernel.last_error(), None, subject)
    return bytes(information)


def open_shared(kernel: Kernel, shared: Buffer) -> tuple[int, int]:
    """Return the number and the family of a stream socket that was shared with this process.

    shared: the pass, which is copied.

    Raises ValueError for what is not a pass to a stream socket, an `IocpError` for a pass that
    has been used, or was made for another process.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw
    """
    size, length = ctypes.sizeof(WSAPROTOCOL_INFOW), memoryview(shared).nbytes
    if length != size:
        raise ValueError(f"a shared socket is {size} bytes from share(), not {length}")
    information = WSAPROTOCOL_INFOW.from_buffer_copy(shared)
    if information.iSocketType != SOCK_STREAM:
        raise ValueError("a stream socket is needed: this is a share of one of another kind")
    number = kernel.WSASocketW(
        FROM_PROTOCOL_INFO,
        FROM_PROTOCOL_INFO,
        FROM_PROTOCOL_INFO,
        ctypes.byref(information),
        0,
        WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT,
    )
    if number == INVALID_SOCKET:
        raise error_of_code("WSASocketW", kernel.last_error())
    return number, information.iAddressFamily
