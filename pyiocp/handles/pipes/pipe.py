r"""Pipe: one end of a named pipe on a completion port, a server's or a client's.

A named pipe is a name, ``\\.\pipe\name``, and instances of it that its server makes; each
instance serves one client at a time. What is written on one end is read on the other, as
bytes, or as messages with their boundaries.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, NamedTuple

from ...engine.operation import Operation
from ...engine.packet import Ends
from ...errors import error_of_code
from ...winapi import (
    DWORD,
    FILE_FLAG_OVERLAPPED,
    FILE_WRITE_ATTRIBUTES,
    GENERIC_READ,
    GENERIC_WRITE,
    HANDLE,
    INVALID_HANDLE_VALUE,
    OPEN_EXISTING,
    PIPE_READMODE_MESSAGE,
    SECURITY_IDENTIFICATION,
    SECURITY_SQOS_PRESENT,
    ULONG,
)
from ...winapi.errorcodes import (
    ERROR_NO_DATA,
    ERROR_PIPE_CONNECTED,
    STATUS_PIPE_CLOSING,
    STATUS_PIPE_CONNECTED,
)
from ..handle import Handle
from .pipe_operations import (
    PipeOperation,
    PipeRead,
    PipeTransaction,
    read_operation,
    transact_operation,
    write_operation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ...engine.completion import Completion
    from ...engine.home import Home

_LOCAL = "\\\\.\\pipe\\"

#: The most characters in a pipe's path.
_PATH_MAX = 256

#: What a client asks for, by the mode that it opens the pipe with.
_ACCESS = {
    "r+": GENERIC_READ | GENERIC_WRITE,
    # Setting the read mode needs the right to write attributes.
    "r": GENERIC_READ | FILE_WRITE_ATTRIBUTES,
    "w": GENERIC_WRITE,
}


def pipe_path(name: str) -> str:
    r"""Return the path of the pipe `name`: ``\\.\pipe\name``, unless it is a path already.

    Raises ValueError for a name that no pipe can have, TypeError for what is not a str.

    Source: https://learn.microsoft.com/windows/win32/ipc/pipe-names
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a pipe is a str, not {name!r}")
    if name.startswith("\\\\"):
        path = name
        host, _, rest = name[2:].partition("\\")
        folder, _, short = rest.partition("\\")
        if not host or folder.lower() != "pipe":
            raise ValueError(f"{name!r} is no path of a pipe: \\\\.\\pipe\\name is one")
    else:
        path, short = _LOCAL + name, name
    if not short or "\\" in short or "\0" in short:
        raise ValueError(f"a pipe needs a name without backslashes, not {name!r}")
    if len(path) > _PATH_MAX:
        raise ValueError(f"a pipe's path has at most {_PATH_MAX} characters: {path!r}")
    return path


class PipeContents(NamedTuple):
    """What waits in a pipe to be read."""

    bytes: int
    """All of it."""
    message_bytes: int
    """What is left of the first message; 0 on a pipe of bytes."""


class Pipe(Handle):
    """One end of a named pipe on a completion port.

    Made by ``CompletionPort.pipe`` and ``CompletionPort.connect_pipe`` at a client, by
    `PipeServer` at a server. ``name`` is the pipe's path, ``message`` whether it is read
    message by message, ``server`` whether this is the server's end.

    Thread safety: any thread may call any method. Two reads pending at once are filled in
    the order of their posting, but on several threads their completions may be seen in
    either order: keep one read pending if the order matters.

    Lifetime: what has been written when an end is closed can still be read at the other.
    """

    kind = "pipe"

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        name: str,
        message: bool,
        server: bool,
        key: Any = None,
    ) -> None:
        self.name = name
        self.message = message
        self.server = server
        # A message longer than the buffer ends a read with a warning, and a packet comes. It is
        # not documented whether skip-on-success leaves that packet out (libuv#1672 is the same
        # with datagrams), and Wine does.
        super().__init__(home, number, key=key, skip_on_success=not message)

    @classmethod
    def open(cls, home: Home, name: str, *, mode: str, message: bool, key: Any) -> Pipe:
        """Return a client's end of the pipe; see ``CompletionPort.pipe``.

        Raises ValueError for a bad name or mode, and an `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/ipc/named-pipe-client
        """
        path = pipe_path(name)
        if mode not in _ACCESS:
            raise ValueError(f"mode must be 'r', 'w' or 'r+', not {mode!r}")
        kernel = home.kernel
        # The server may learn who the client is, but not act in its name, as it could by
        # default.
        flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION
        number = kernel.CreateFileW(path, _ACCESS[mode], 0, None, OPEN_EXISTING, flags, None)
        if number is None or number == INVALID_HANDLE_VALUE:
            raise error_of_code("CreateFileW", kernel.last_error(), None, path)
        try:
            pipe = cls(home, number, name=path, message=message, server=False, key=key)
        except BaseException:
            kernel.CloseHandle(number)
            raise
        if message:
            try:
                reads = ctypes.byref(DWORD(PIPE_READMODE_MESSAGE))
                pipe.call("SetNamedPipeHandleState", reads, None, None)
            except BaseException:
                pipe.close()
                raise
        return pipe

    # Operations

    def read_operation(self, buffer: Buffer) -> PipeRead:
        """Return a read that has not been posted yet, to be posted again and again."""
        return read_operation(self, buffer)

    def read(self, buffer: Buffer) -> PipeRead:
        """Read into a writable buffer: what there is, or one message.

        Its `PipeCompletion` has 0 bytes and no error when the other end has been closed
        and everything has been read; ``ended`` tells that from an empty message. If a
        message is longer than the buffer, ``more_data`` is true, and the next read gets
        the rest.

        An empty buffer waits until there is something to read, while nothing is locked
        in memory meanwhile.

        Lifetime: the buffer is the kernel's until the completion has been dequeued.

        Raises an `IocpError` if the system refuses (`PipeClosedError`:
        ``ERROR_PIPE_NOT_CONNECTED`` 233, the server has disconnected it;
        `NotConnectedError`: ``ERROR_PIPE_LISTENING`` 536, no client has come yet),
        TypeError for a read-only buffer. Completes with the same, `OperationCancelledError`
        and so on.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile
        """
        operation = read_operation(self, buffer)
        operation.post()
        return operation

    def write(self, data: Buffer) -> PipeOperation:
        """Write bytes; on a pipe of messages, one message, which may be empty.

        Completes when the pipe has taken all of it: at once while there is room in its
        buffer, and otherwise when the other end has read enough.

        Lifetime: the data may not change until the completion has been dequeued.

        Raises `PipeClosedError` (``ERROR_NO_DATA`` 232: the other end has been closed;
        ``ERROR_PIPE_NOT_CONNECTED`` 233) and what else the system refuses with. Completes
        with `PipeClosedError`, `OperationCancelledError` and so on.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile
        """
        operation = self.write_operation(data)
        operation.post()
        return operation

    def write_operation(self, data: Buffer) -> PipeOperation:
        """Return a write that has not been posted yet, to be posted again and again."""
        return write_operation(self, data)

    def transact(self, message: Buffer, buffer: Buffer) -> PipeTransaction:
        """Write a message and read the answer into `buffer`, in one operation.

        Its `PipeCompletion` says with ``more_data`` that the answer is longer than the
        buffer; a read gets the rest. A pipe that ends before the answer is an error.

        Lifetime: both are the kernel's until the completion has been dequeued.

        Raises ValueError unless this end reads messages; `PipeBusyError`
        (``ERROR_PIPE_BUSY`` 231: there is something unread in the pipe), `PipeClosedError`
        and what else the system refuses with.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-transactnamedpipe
        """
        if not self.message:
            raise ValueError(f"{self!r} is a pipe of bytes: a transaction takes message=True")
        operation = transact_operation(self, message, buffer)
        operation.post()
        return operation

    def accept(self) -> PipeAccept:
        """Wait for a client on this instance; after `disconnect`, for the next one.

        The operation's ``accepted`` is this pipe when the completion says success. That is
        also the case if the client was faster, and if it has come and gone already: then
        its reads give what the client has written, and the end.

        Raises ValueError at a client's end, an `IocpError` if the system refuses.
        Completes with `OperationCancelledError` and so on.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe
        """
        if not self.server:
            raise ValueError(f"{self!r} is a client's end: only a server's accepts")
        operation = PipeAccept(self)
        operation.post()
        return operation

    # The pipe itself

    def disconnect(self) -> None:
        """Throw the client out, so that the instance can `accept` the next one.

        What the client has not read is lost: `close` leaves it to be read. Operations
        pending here or at the client end in `PipeClosedError`.

        Raises ValueError at a client's end, an `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-disconnectnamedpipe
        """
        if not self.server:
            raise ValueError(f"{self!r} is a client's end: it is left with close()")
        self.call("DisconnectNamedPipe")

    def peek(self) -> PipeContents:
        """Tell how much waits to be read, without waiting and without taking it.

        Raises `PipeClosedError` (``ERROR_BROKEN_PIPE`` 109) at the end of the pipe.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe
        """
        available, left = DWORD(), DWORD()
        self.call("PeekNamedPipe", None, 0, None, ctypes.byref(available), ctypes.byref(left))
        return PipeContents(available.value, left.value)

    def peer_process_id(self) -> int:
        """Return the number of the process that opened, or made, the other end.

        It is no proof of identity: the process may have passed its end on, and numbers
        are used again.

        Raises an `IocpError` if the system does not know it, as for a remote client.

        Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipeclientprocessid
        """
        number = ULONG()
        whose = "Client" if self.server else "Server"
        self.call(f"GetNamedPipe{whose}ProcessId", ctypes.byref(number))
        return number.value

    def call(self, function: str, *arguments: Any) -> None:
        """Call a Win32 function of this handle that returns 0 on failure."""
        self._call(function, *arguments)


class PipeAccept(Operation):
    """An accept: ``accepted`` is the pipe with its client once its completion says success."""

    __slots__ = ("_on_end", "_pipe", "accepted")

    # The client was faster, or it has come and gone, and what it wrote can be read. In both cases
    # there is a pipe to hand over, and no packet comes.
    ends = Ends(
        statuses={ERROR_PIPE_CONNECTED: STATUS_PIPE_CONNECTED, ERROR_NO_DATA: STATUS_PIPE_CLOSING},
        ordinary=frozenset((STATUS_PIPE_CONNECTED, STATUS_PIPE_CLOSING)),
    )

    def __init__(
        self, pipe: Pipe, on_end: Callable[[Pipe, BaseException | None], None] | None = None
    ) -> None:
        super().__init__(pipe, "accept")
        self._pipe = pipe
        self._on_end = on_end
        self.accepted: Pipe | None = None
        self._calls(
            "ConnectNamedPipe",
            pipe.home.kernel.ConnectNamedPipe,
            0,
            HANDLE(pipe.number),
            ctypes.byref(self.overlapped),
        )

    def finish(self, count: int, status: int) -> Completion:
        """Hand the pipe over, and tell the server that its instance is no longer waiting."""
        completion = super().finish(count, status)
        if completion.error is None:
            self.accepted = self._pipe
        if self._on_end is not None:
            self._on_end(self._pipe, completion.error)
        return completion
