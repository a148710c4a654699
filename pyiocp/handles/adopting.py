"""Adopting: putting a handle that the caller already has on a completion port.

The system is asked what the number stands for: the type of its object and, for what Windows
calls a File, whether it is a socket, a pipe, a file or a directory, and how it was opened. So
the error for an unsuitable handle says what it is, before the handle is on a port.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import HandleInvalidError, error_of_code
from ..winapi import (
    DWORD,
    ERROR_INVALID_HANDLE,
    FILE_NO_INTERMEDIATE_BUFFERING,
    FILE_TYPE_CHAR,
    FILE_TYPE_PIPE,
    PIPE_READMODE_MESSAGE,
    PIPE_SERVER_END,
)
from .association import file_mode, is_directory, object_type, socket_protocol
from .files.file import File
from .pipes.pipe import Pipe
from .sockets.datagram import Datagram
from .sockets.socket_handle import SocketHandle
from .sockets.stream import Stream
from .waits.event import Event
from .waits.job import Job
from .waits.process import Process
from .waits.waitable import Waitable, duplicate

if sys.platform == "win32":
    import msvcrt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..engine.queue import CompletionQueue
    from ..winapi import WSAPROTOCOL_INFOW
    from .handle import Handle

_P = TypeVar("_P", bound=Pipe)

_WAITABLES: dict[str, type[Waitable]] = {
    "Event": Event,
    "Process": Process,
    "Semaphore": Waitable,
    "Thread": Waitable,
    "Timer": Waitable,
}
"""The class for each type of object that can be waited for."""

_SOCKETS: dict[int, type[Stream | Datagram]] = {
    int(socket.SOCK_STREAM): Stream,
    int(socket.SOCK_DGRAM): Datagram,
}


def adopt(home: CompletionQueue, source: Any, key: Any) -> Handle:
    """Return the handle, on the port, of what the caller has; see ``CompletionPort.adopt``.

    Raises what that raises: TypeError, ValueError, `HandleInvalidError` and so on.

    Source: https://learn.microsoft.com/windows/win32/fileio/createiocompletionport
    """
    if isinstance(source, socket.socket):
        if source.fileno() < 0:
            raise ValueError(f"{source!r} is closed")
        handle = _adopt_number(home, source.fileno(), key)
        assert isinstance(handle, SocketHandle), "that is what Python's sockets become"
        handle.take_over(source)
        return handle
    if isinstance(source, int) and not isinstance(source, bool):
        return _adopt_number(home, source, key)
    number = duplicate(home.kernel, _number_of(source))
    try:
        return _adopt_number(home, number, key)
    except BaseException:
        home.kernel.CloseHandle(number)
        raise


def _number_of(source: Any) -> int:
    """Return the handle of a Python object, which goes on owning it."""
    connection = sys.modules.get("multiprocessing.connection")
    if connection is not None and isinstance(source, connection.PipeConnection):
        return int(source.fileno())  # a handle, not a descriptor
    for name in ("sentinel", "_handle"):  # of a multiprocessing.Process, a Popen
        number = getattr(source, name, None)
        if isinstance(number, int):
            return int(number)
    fileno = getattr(source, "fileno", None)
    if fileno is None:
        raise TypeError(
            "a socket, a file, a Popen, a multiprocessing.Process or PipeConnection, or the"
            f" number of a handle is needed, not {source!r}"
        )
    return msvcrt.get_osfhandle(fileno())


def _adopt_number(home: CompletionQueue, number: int, key: Any) -> Handle:
    """Return the handle, on the port, of a number, which belongs to it from then on."""
    kernel = home.kernel
    if number <= 0:
        raise ValueError(f"{number} is not the number of a handle")
    kind = object_type(kernel, number)
    if kind is None:
        raise HandleInvalidError("NtQueryObject", ERROR_INVALID_HANDLE, None, f"{number:#x}")
    if kind == "File":
        return _adopt_file(home, number, key)
    if kind == "Job":
        return Job(home, number, key=key)
    if kind in _WAITABLES:
        return _WAITABLES[kind](home, number, key=key)
    reason = "has no operations and no signal that a port could take"
    if kind == "Mutant":
        reason = "would belong to a thread of the system's, if that waited for it"
    raise ValueError(f"handle {number:#x} is of the type {kind}, which {reason}")


def _adopt_file(home: CompletionQueue, number: int, key: Any) -> Handle:
    """Return the handle of what Windows calls a File."""
    kernel = home.kernel
    file_type = kernel.GetFileType(number)
    if file_type == FILE_TYPE_PIPE:
        protocol = socket_protocol(kernel, number)
        return (
            adopt_pipe(home, number, key, Pipe)
            if protocol is None
            else _adopt_socket(home, number, protocol, key)
        )
    if file_type == FILE_TYPE_CHAR:
        raise ValueError(f"handle {number:#x} is of a console or another character device")
    if is_directory(kernel, number):
        raise ValueError(f"handle {number:#x} is of a directory: port.directory() watches those")
    unbuffered = bool(file_mode(kernel, number) & FILE_NO_INTERMEDIATE_BUFFERING)
    return File(home, number, key=key, name=f"handle {number:#x}", unbuffered=unbuffered)


def _adopt_socket(
    home: CompletionQueue, number: int, protocol: WSAPROTOCOL_INFOW, key: Any
) -> Handle:
    kind = _SOCKETS.get(protocol.iSocketType)
    if kind is None:
        raise ValueError(f"socket {number:#x} is neither a stream nor a datagram socket")
    return kind(home, number, key=key, family=protocol.iAddressFamily)


def adopt_pipe(home: Home, number: int, key: Any, kind: Callable[..., _P]) -> _P:
    """Return the pipe of a number, which belongs to it from then on.

    kind: makes it, as `Pipe` does.

    Raises what ``CompletionPort.adopt`` raises; the number is then still the caller's.

    Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-getnamedpipeinfo
    """
    kernel, flags, state = home.kernel, DWORD(), DWORD()
    if not kernel.GetNamedPipeInfo(number, ctypes.byref(flags), None, None, None):
        raise error_of_code("GetNamedPipeInfo", kernel.last_error(), None, f"handle {number:#x}")
    kernel.GetNamedPipeHandleStateW(number, ctypes.byref(state), None, None, None, None, 0)
    return kind(
        home,
        number,
        name=f"handle {number:#x}",
        message=bool(state.value & PIPE_READMODE_MESSAGE),
        server=bool(flags.value & PIPE_SERVER_END),
        key=key,
    )
