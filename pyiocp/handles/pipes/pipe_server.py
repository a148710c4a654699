"""PipeServer: a named pipe's name, and the instances that wait for its clients.

While a server is open, at least one instance of its pipe is free to be connected to, even before
the first accept and after the last. So clients find the pipe busy only for as long as it takes to
make the next instance, and no other process can take the name.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from typing import TYPE_CHECKING, Any

from ...errors import (
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    PortClosedError,
    closed_error,
    error_of_code,
)
from ...winapi import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    INVALID_HANDLE_VALUE,
    PIPE_ACCEPT_REMOTE_CLIENTS,
    PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_INBOUND,
    PIPE_ACCESS_OUTBOUND,
    PIPE_READMODE_BYTE,
    PIPE_READMODE_MESSAGE,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES,
    PIPE_WAIT,
)
from .pipe import Pipe, PipeAccept, pipe_path
from .security import SecurityDescriptor

if TYPE_CHECKING:
    from typing import Self

    from ...engine.home import Home
    from ...engine.packet import Receiver
    from ...port import CompletionPort

#: The directions of a pipe, by the mode of its server.
_ACCESS = {"r+": PIPE_ACCESS_DUPLEX, "r": PIPE_ACCESS_INBOUND, "w": PIPE_ACCESS_OUTBOUND}

_BUFFER_MAX = 0x7FFFFFFF


class PipeServer:
    r"""A named pipe that clients can connect to; made by ``CompletionPort.pipe_server``.

    ``port`` is the `CompletionPort`, ``name`` the pipe's path, ``\\.\pipe\name``. ``key`` is what
    its accepts are completed with: instances made from now on have it. ``sddl`` says who may
    connect.

    Thread safety: any thread may call any method.

    Lifetime: pipes that have been accepted live on after `close`.
    """

    def __init__(
        self,
        home: Home,
        name: str,
        *,
        mode: str,
        message: bool,
        instances: int | None,
        buffer_size: int,
        exclusive: bool,
        security: str | None,
        remote: bool,
        key: Any,
        internal: bool = False,
    ) -> None:
        path = pipe_path(name)
        if not path.startswith("\\\\.\\"):
            raise ValueError(f"a pipe is served on this machine only, not at {path!r}")
        if mode not in _ACCESS:
            raise ValueError(f"mode must be 'r', 'w' or 'r+', not {mode!r}")
        if instances is not None and not 1 <= instances < PIPE_UNLIMITED_INSTANCES:
            raise ValueError(f"instances must be None or between 1 and 254, not {instances}")
        if not 0 <= buffer_size <= _BUFFER_MAX:
            raise ValueError(f"buffer_size must be 0 to {_BUFFER_MAX} bytes, not {buffer_size}")
        self.home = home
        self.port: CompletionPort = home.port
        self.name = path
        self.message = message
        self.key = key
        self.closed = False
        self._internal = internal
        self._open_mode = _ACCESS[mode] | FILE_FLAG_OVERLAPPED
        self._pipe_mode = (
            PIPE_WAIT
            | (PIPE_TYPE_MESSAGE if message else PIPE_TYPE_BYTE)
            | (PIPE_READMODE_MESSAGE if message else PIPE_READMODE_BYTE)
            | (PIPE_ACCEPT_REMOTE_CLIENTS if remote else PIPE_REJECT_REMOTE_CLIENTS)
        )
        self._instances = PIPE_UNLIMITED_INSTANCES if instances is None else instances
        self._buffer_size = buffer_size
        self._security = (
            SecurityDescriptor.of_this_user(home.kernel)
            if security is None
            else SecurityDescriptor(home.kernel, security)
        )
        self._lock = threading.Lock()
        self._accepting: set[Pipe] = set()
        #: Instances without an accept; clients may be connected to them already.
        self._free = [self._make_instance(first=exclusive)]

    @property
    def sddl(self) -> str:
        """Who may connect, in the security descriptor definition language."""
        return self._security.sddl

    def accept(self) -> PipeAccept:
        """Wait for the next client, on an instance of its own.

        The operation's ``accepted`` is the `Pipe` when the completion says success. That is
        also the case if the client was faster, and if it has come and gone already: then
        reads of the pipe give what it has written, and the end.

        Raises `PipeBusyError` (``ERROR_PIPE_BUSY`` 231) when as many instances as allowed
        have clients, `HandleClosedError` once the server is closed. Completes with
        `OperationCancelledError` if it is cancelled, or the server closed.

        Source: https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe
        """
        return self._accept_for(None)

    def _accept_for(self, receiver: Receiver | None) -> PipeAccept:
        """Wait for the next client, as `accept` does; the receiver gets the operation."""
        with self._lock:
            if self.closed:
                raise closed_error(self, "it accepts nobody", HandleClosedError)
            pipe = self._free.pop() if self._free else self._make_instance()
            self._accepting.add(pipe)
        operation = PipeAccept(pipe, self._on_end)
        operation.receiver = receiver
        try:
            operation.post()
        except BaseException as error:
            self._on_end(pipe, error)
            raise
        return operation

    def close(self) -> None:
        """Stop listening: accepts still pending end as cancelled. Pipes accepted stay open.

        Closing twice does nothing. Any thread may call it.

        Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-closehandle
        """
        with self._lock:
            self.closed = True
            pipes = [*self._free, *self._accepting]
            self._free.clear()
            self._accepting.clear()
        for pipe in pipes:
            pipe.close()

    def _make_instance(self, *, first: bool = False) -> Pipe:
        """Return a new instance on the port; an `IocpError` if the system gives none."""
        kernel = self.home.kernel
        number = kernel.CreateNamedPipeW(
            self.name,
            self._open_mode | (FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0),
            self._pipe_mode,
            self._instances,
            self._buffer_size,
            self._buffer_size,
            0,
            ctypes.byref(self._security.attributes),
        )
        if number is None or number == INVALID_HANDLE_VALUE:
            raise error_of_code("CreateNamedPipeW", kernel.last_error(), None, self)
        try:
            pipe = Pipe(
                self.home, number, name=self.name, message=self.message, server=True, key=self.key
            )
        except BaseException:
            kernel.CloseHandle(number)
            raise
        pipe.internal = self._internal
        return pipe

    def _on_end(self, pipe: Pipe, error: BaseException | None) -> None:
        """Make sure that an instance is free, now that an accept on this one has ended."""
        unused = isinstance(error, OperationCancelledError)
        with self._lock:
            self._accepting.discard(pipe)
            open_still = not (self.closed or self.home.closing)
            if open_still and unused and not pipe.closed:
                self._free.append(pipe)
            elif open_still and not self._free and not self._accepting:
                # If this is refused, as when all instances have clients, the next accept() tries
                # again, and raises the error.
                with contextlib.suppress(IocpError, PortClosedError):
                    self._free.append(self._make_instance())
        if error is not None and not (unused and open_still):
            pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PipeServer {self.name}{' closed' if self.closed else ''}>"
