"""TlsFile: a file that a session over TLS sends: read block by block, through the port.

The system cannot encrypt what it sends from a file, so the bytes have to be read here. The user's
handle may belong to a Python file, which a port cannot read; so the file is opened once more
through that handle (ReOpenFile), for overlapped reads. That also leaves the user's position in
the file alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import error_of_code
from ...handles.files.file import File
from ...handles.sockets.transmit import range_of
from ...winapi import (
    FILE_FLAG_OVERLAPPED,
    FILE_FLAG_SEQUENTIAL_SCAN,
    FILE_SHARE_DELETE,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    GENERIC_READ,
    INVALID_HANDLE_VALUE,
)
from ..tcp.queued_file import LentFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.home import Home
    from ...engine.operation import Operation
    from ...handles.files.file_operation import FileOperation
    from ...handles.sockets.transmit import FilePart

BLOCK = 1 << 17
"""Bytes that are read at a time: 8 records of TLS."""


class TlsFile(LentFile):
    """A file to be read and encrypted; for one thread at a time.

    on_read: called by a worker, with what `take` wants, when a block has been read.
    """

    __slots__ = ("_at", "_end", "_file", "_on_read", "_operation", "reading")

    def __init__(
        self, part: FilePart, on_read: Callable[[TlsFile, int, int], None], *, close: bool
    ) -> None:
        super().__init__(part, close=close)
        self._on_read = on_read
        self._file: File | None = None
        self._operation: FileOperation | None = None
        self._at = self._end = 0
        self.reading = False
        """Whether a block is being read."""

    def read(self, home: Home) -> bool:
        """Begin to read the next block; False if there is none.

        Raises an `IocpError` if the system refuses, ValueError if the file is closed.
        """
        if self._operation is None:
            self._operation = self._open(home)
        if self._at >= self._end:
            return False
        self._operation.offset = self._at
        self.reading = True
        try:
            self._operation.post()
        except BaseException:
            self.reading = False
            raise
        return True

    def _open(self, home: Home) -> FileOperation:
        """Open the file once more, and return what reads it."""
        kernel = home.kernel
        number, self._at, self._end = range_of(kernel, self.part, self)
        again = kernel.ReOpenFile(
            number,
            GENERIC_READ,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            FILE_FLAG_OVERLAPPED | FILE_FLAG_SEQUENTIAL_SCAN,
        )
        if again is None or again == INVALID_HANDLE_VALUE:
            raise error_of_code("ReOpenFile", kernel.last_error(), None, self)
        try:
            self._file = File(home, again, mode="r")
        except BaseException:
            kernel.CloseHandle(again)
            raise
        # Lifetime: the operation owns the block while the kernel reads into it, also when
        # the session has ended and the file is closed.
        size = max(1, min(BLOCK, self._end - self._at))
        operation = self._file.read_operation(bytearray(size), self._at)
        operation.receiver = self._block_read
        return operation

    def _block_read(self, operation: Operation, count: int, status: int) -> None:
        self._on_read(self, count, status)

    def take(self, count: int, status: int) -> memoryview:
        """Return the block that has been read, valid until the next `read`.

        Raises the error that the read ended in, if it did.
        """
        assert self._operation is not None, "it was posted"
        self.reading = False
        completion = self._operation.finish(count, status)
        if completion.error is not None:
            raise completion.error
        count = min(completion.bytes, self._end - self._at)
        self._at += count
        if not count:  # the file has become shorter
            self._end = self._at
        return memoryview(self._operation.buffers[0])[:count]

    def end(self) -> None:
        """Stop reading: it has been sent, or will not be."""
        if self._file is not None:
            self._file.close()
        super().end()
