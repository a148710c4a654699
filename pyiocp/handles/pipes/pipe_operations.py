"""What is posted on a pipe: reads, writes and transactions, and the completion of reads.

How a read ends, other than with bytes:

- The other end has been closed, and what it wrote has been read: the read completes with 0
  bytes and no error, as on a stream, whether it was pending then or posted afterwards.
- The message is longer than the buffer: the read completes with the bytes that fit and no
  error, and says that more follows. The rest comes with the next read.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from ...engine.completion import Completion
from ...engine.operation import Operation
from ...engine.packet import Ends
from ...winapi import DWORD, HANDLE, WSABUF
from ...winapi.errorcodes import (
    ERROR_BROKEN_PIPE,
    ERROR_MORE_DATA,
    STATUS_BUFFER_OVERFLOW,
    STATUS_PIPE_BROKEN,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ...errors import IocpError
    from ..handle import Handle


class PipeCompletion(Completion):
    """The end of a read or a transaction on a pipe.

    0 ``bytes`` are the end of the pipe or an empty message: ``ended`` tells which.

    A plain value, like every completion.
    """

    __slots__ = ()

    @property
    def more_data(self) -> bool:
        """Whether the message is longer than the buffer: the next read gets the rest."""
        return self.status == STATUS_BUFFER_OVERFLOW

    @property
    def ended(self) -> bool:
        """Whether the other end has been closed, and everything has been read."""
        return self.status == STATUS_PIPE_BROKEN

    def _details(self) -> list[str]:
        return ["more_data"] * self.more_data + ["ended"] * self.ended

    def _make_error(self) -> IocpError | None:
        return None if self.more_data else super()._make_error()


class PipeOperation(Operation):
    """A write on a pipe."""

    __slots__ = ("_exports",)

    def __init__(self, pipe: Handle, kind: str) -> None:
        super().__init__(pipe, kind)
        self._exports: tuple[WSABUF, ...] = ()

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read or write, including the exports of the buffers."""
        return (*super().memory, self._exports)

    def export(self, buffer: Buffer, *, read_only: bool = False) -> tuple[Any, Any]:
        """Return address and size of a buffer, as arguments.

        Raises TypeError for a read-only buffer without `read_only`, ValueError for one that
        is larger than 4,294,967,295 bytes, BufferError for one that is not contiguous.

        Lifetime: the buffer is exported for as long as the operation lives.
        """
        # Lifetime: the export is the operation's, and the in-flight table has the operation.
        exported = WSABUF.over(buffer, read_only=read_only)
        self._exports = (*self._exports, exported)
        return ctypes.c_void_p(exported.buf), DWORD(exported.len)


class PipeRead(PipeOperation):
    """A read on a pipe, which ends in a `PipeCompletion`."""

    __slots__ = ()

    # No packet comes for a read at the end of the pipe, whose status is an error. One comes for a
    # message longer than the buffer, whose status is a warning (see Pipe on skip-on-success).
    ends = Ends(
        statuses={ERROR_BROKEN_PIPE: STATUS_PIPE_BROKEN},
        ordinary=frozenset((STATUS_PIPE_BROKEN,)),
        warnings=frozenset((ERROR_MORE_DATA,)),
    )

    def finish(self, count: int, status: int) -> PipeCompletion:
        """Return the completion, with 0 bytes at the end of the pipe."""
        return PipeCompletion(self, self.key, count, status)


class PipeTransaction(PipeRead):
    """A message and its answer. A pipe that ends before the answer is an error here."""

    __slots__ = ()

    ends = Ends(warnings=frozenset((ERROR_MORE_DATA,)))


def read_operation(pipe: Handle, buffer: Buffer) -> PipeRead:
    """Return a read that has not been posted yet, to be posted again and again."""
    operation = PipeRead(pipe, "read")
    operation.buffers = (buffer,)
    operation._calls(
        "ReadFile",
        pipe.home.kernel.ReadFile,
        0,
        HANDLE(pipe.number),
        *operation.export(buffer),
        None,
        ctypes.byref(operation.overlapped),
    )
    return operation


def write_operation(pipe: Handle, data: Buffer) -> PipeOperation:
    """Return a write that has not been posted yet."""
    operation = PipeOperation(pipe, "write")
    operation.buffers = (data,)
    operation._calls(
        "WriteFile",
        pipe.home.kernel.WriteFile,
        0,
        HANDLE(pipe.number),
        *operation.export(data, read_only=True),
        None,
        ctypes.byref(operation.overlapped),
    )
    return operation


def transact_operation(pipe: Handle, message: Buffer, buffer: Buffer) -> PipeTransaction:
    """Return a transaction that has not been posted yet; the answer goes into `buffer`."""
    operation = PipeTransaction(pipe, "transact")
    operation.buffers = (buffer, message)
    operation._calls(
        "TransactNamedPipe",
        pipe.home.kernel.TransactNamedPipe,
        0,
        HANDLE(pipe.number),
        *operation.export(message, read_only=True),
        *operation.export(buffer),
        None,
        ctypes.byref(operation.overlapped),
    )
    return operation
