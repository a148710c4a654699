"""File: a file on a completion port, read and written at offsets of 64 bits.

An overlapped handle has no position that reads and writes would move: each has its own offset.
So any number of them may be in flight, in any order.
"""

from __future__ import annotations

import ctypes
import io
from ctypes import byref, sizeof
from typing import TYPE_CHECKING, Any, Self

from ...errors import error_of_code
from ...winapi import (
    DUPLICATE_SAME_ACCESS,
    DWORD,
    FILE_END_OF_FILE_INFO,
    HANDLE,
    LARGE_INTEGER,
    OVERLAPPED,
    WSABUF,
    FileEndOfFileInfo,
)
from ..handle import Handle
from .alignment import check_alignment, volume_sector_size
from .file_open import FileMode, file_name, open_file
from .file_operation import (
    AT_THE_END,
    OFFSET_MAX,
    ControlOperation,
    FileOperation,
    LockOperation,
    ReadOperation,
    check_range,
    pinned,
    range_length,
)
from .scatter import gather_operation, scatter_operation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ...engine.home import Home


class File(Handle):
    """A file on a completion port; made by ``CompletionPort.file``.

    ``name`` is what it was opened by, ``mode`` the letters, ``unbuffered`` whether the
    system's cache is left out, ``sector_size`` the bytes that offset, length and address
    must be multiples of then.

    Thread safety: any thread may call any method. Several reads and writes may be in
    flight; where their ranges overlap, the order is undefined.
    """

    kind = "file"

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        key: Any = None,
        name: str = "",
        mode: str = "r+",
        unbuffered: bool = False,
    ) -> None:
        """Associate a handle that was opened with FILE_FLAG_OVERLAPPED.

        name, mode and unbuffered say how it was opened, as far as known: requests that do not
        fit are refused before the kernel sees them.
        """
        self.name = name
        self._mode = FileMode.of(mode)
        self.unbuffered = unbuffered
        self.sector_size = volume_sector_size(home.kernel, number) if unbuffered else 1
        super().__init__(home, number, key=key)

    @classmethod
    def open(
        cls,
        home: Home,
        path: str | bytes | os.PathLike[Any],
        mode: str,
        *,
        key: Any = None,
        unbuffered: bool = False,
        **words: Any,
    ) -> File:
        """Open or create a file on the port; see `CompletionPort.file`."""
        name = file_name(path)
        number = open_file(home.kernel, name, mode, unbuffered=unbuffered, **words)
        try:
            return cls(home, number, key=key, name=name, mode=mode, unbuffered=unbuffered)
        except BaseException:
            home.kernel.CloseHandle(number)
            raise

    @property
    def mode(self) -> str:
        """The letters that it was opened with."""
        return self._mode.text

    # Reading and writing

    def read(self, buffer: Buffer, offset: int) -> FileOperation:
        """Read from a place in the file into a writable buffer.

        offset: bytes from the beginning of the file, 0 to 2**63 - 1. The completion's
        ``bytes`` says how many were read, its ``data`` is a view of them: fewer than the
        buffer takes if the file ends before, none and no error at or behind its end.

        On an unbuffered file, offset, length and the buffer's address must be multiples of
        ``sector_size``.

        Lifetime: the buffer is the kernel's until the completion has been dequeued; a
        bytearray cannot be resized until then.

        Raises io.UnsupportedOperation for a file not opened to be read, TypeError for a
        read-only buffer, ValueError for a bad offset, length or alignment, and an
        `IocpError` if the system refuses (``ERROR_LOCK_VIOLATION`` 33, which may come with
        the completion as well: `SharingViolationError`; ``ERROR_NOT_ENOUGH_QUOTA`` 1816:
        `ResourceLimitError`).

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile
        """
        operation = self.read_operation(buffer, offset)
        operation.post()
        return operation

    def read_operation(self, buffer: Buffer, offset: int) -> FileOperation:
        """Return a read that has not been posted yet, to be posted again and again.

        Its ``offset`` may be changed in between. Arguments and errors are those of `read`.
        """
        self._check_readable("read()")
        pin = pinned("read()", buffer, read_only=False)
        self._check_place("read()", offset, pin)
        operation = ReadOperation(self, "read", offset, pin.len, pin, sector_size=self.sector_size)
        operation.buffers = (buffer,)
        self._transfers(operation, "ReadFile", self.home.kernel.ReadFile, pin)
        return operation

    def write(self, data: Buffer, offset: int) -> FileOperation:
        """Write bytes at a place in the file; behind its end, the gap becomes zeros.

        offset: bytes from the beginning of the file, 0 to 2**63 - 1. Completes when the
        system has taken the bytes, with ``write_through`` when the disk has. Writes that
        make the file longer are done before the call returns: `truncate` it to its length
        first, and several run at a time.

        On an unbuffered file, offset, length and the data's address must be multiples of
        ``sector_size``.

        Lifetime: the data may not change until the completion has been dequeued.

        Raises io.UnsupportedOperation for a file not opened to be written, or opened for
        appending, ValueError for a bad offset, length or alignment, and an `IocpError` if
        the system refuses (``ERROR_DISK_FULL`` 112, ``ERROR_LOCK_VIOLATION`` 33, which may
        come with the completion as well).

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile
        """
        operation = self.write_operation(data, offset)
        operation.post()
        return operation

    def write_operation(self, data: Buffer, offset: int) -> FileOperation:
        """Return a write that has not been posted yet, to be posted again and again.

        Its ``offset`` may be changed in between. Arguments and errors are those of `write`.
        """
        self._check_writable("write()", anywhere=True)
        pin = pinned("write()", data, read_only=True)
        self._check_place("write()", offset, pin)
        return self._write("write", data, offset, pin)

    def append(self, data: Buffer) -> FileOperation:
        """Write bytes at the end of the file, wherever that is when the system gets to it.

        Appends of several threads, handles and processes do not overwrite each other; in
        which order those in flight arrive is not said.

        Lifetime: the data may not change until the completion has been dequeued.

        Raises io.UnsupportedOperation for a file not opened to be written, ValueError for
        data that is too long or not aligned, and an `IocpError` as `write` does.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile
        """
        self._check_writable("append()")
        pin = pinned("append()", data, read_only=True)
        if self.unbuffered:
            check_alignment("append()", self.sector_size, 0, pin.len, pin.buf or 0)
        operation = self._write("append", data, AT_THE_END, pin)
        operation.post()
        return operation

    def read_scatter(self, *buffers: Buffer, offset: int) -> FileOperation:
        """Read one stretch of an unbuffered file into several buffers of whole pages.

        buffers: each a multiple of the page size (4,096 bytes) long, at an address that is
            one too, such as ``mmap.mmap(-1, 8192)``; filled in order.
        offset: a multiple of ``sector_size``.

        Completes as `read` does; ``data`` is what came into the first buffer.

        Lifetime: the buffers are the kernel's until the completion has been dequeued.

        Raises io.UnsupportedOperation for a file that is buffered or not opened to be read,
        TypeError for a read-only buffer, ValueError for what is not aligned, and an
        `IocpError` as `read` does.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfilescatter
        """
        self._check_readable("read_scatter()")
        self._check_unbuffered("read_scatter()")
        operation = scatter_operation(self, self.sector_size, buffers, offset)
        operation.post()
        return operation

    def write_gather(self, *buffers: Buffer, offset: int) -> FileOperation:
        """Write several buffers of whole pages, one after the other, to an unbuffered file.

        buffers: each a multiple of the page size (4,096 bytes) long, at an address that is
            one too, such as ``mmap.mmap(-1, 8192)``.
        offset: a multiple of ``sector_size``.

        Lifetime: the buffers may not change until the completion has been dequeued.

        Raises io.UnsupportedOperation for a file that is buffered or not opened to be
        written, ValueError for what is not aligned, and an `IocpError` as `write` does.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefilegather
        """
        self._check_writable("write_gather()", anywhere=True)
        self._check_unbuffered("write_gather()")
        operation = gather_operation(self, self.sector_size, buffers, offset)
        operation.post()
        return operation

    # Locks

    def lock_range(
        self, offset: int = 0, length: int | None = None, *, shared: bool = False, wait: bool = True
    ) -> FileOperation:
        """Lock a range of bytes against the handles of others, also in other processes.

        offset, length: in bytes; the range may lie behind the end of the file. Without a
            length it goes as far as a file can.
        shared: let others share the lock; then nothing can be written there, even by this handle.
        wait: False has it fail at once if the range is taken.

        Completes when the lock is held; cancel the operation if that takes too long. Undo it
        with `unlock_range`, with the same range; the system undoes it some time after the
        file was closed.

        Raises `SharingViolationError` (``ERROR_LOCK_VIOLATION`` 33) if the range is taken
        and `wait` is False, which may come with the completion as well; ValueError for a bad
        range; `AccessDeniedError` for a file opened for appending only.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-lockfileex
        """
        length = range_length("lock_range()", offset, length)
        operation = LockOperation(self, offset, length, shared=shared, wait=wait)
        operation.post()
        return operation

    def unlock_range(self, offset: int = 0, length: int | None = None) -> None:
        """Undo a lock; the range must be the one that was locked. Done when it returns.

        Raises an `IocpError` if it was not locked (``ERROR_NOT_LOCKED`` 158), ValueError for
        a bad range.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-unlockfileex
        """
        length = range_length("unlock_range()", offset, length)
        place = OVERLAPPED(Offset=offset & 0xFFFFFFFF, OffsetHigh=offset >> 32)
        self.call("UnlockFileEx", 0, length & 0xFFFFFFFF, length >> 32, byref(place))

    # Control

    def control(self, code: int, data: Buffer = b"", answer: Buffer | None = None) -> FileOperation:
        """Send a control code to the file system, or the driver, behind the file.

        code: an FSCTL_* or IOCTL_* number of 32 bits. data: what the code needs. answer: a
        writable buffer for what it gives, if anything; the completion's ``data`` is a view.

        Lifetime: both buffers are the kernel's until the completion has been dequeued.

        Raises an `IocpError` if the system refuses (``ERROR_INVALID_FUNCTION`` 1,
        ``ERROR_NOT_SUPPORTED`` 50: it does not know the code; ``ERROR_MORE_DATA`` 234,
        ``ERROR_INSUFFICIENT_BUFFER`` 122: the answer is longer), all of which may come with
        the completion as well; TypeError for a read-only answer, ValueError for a bad code.

        Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-deviceiocontrol
        """
        if not 0 <= code <= 0xFFFFFFFF:
            raise ValueError(f"control(): a code has 32 bits, not {code:#x}")
        answer = bytearray() if answer is None else answer
        incoming = pinned("control()", answer, read_only=False)
        outgoing = pinned("control()", data, read_only=True)
        operation = ControlOperation(self, "control", 0, 0, incoming, outgoing)
        operation.buffers = (answer, data)
        operation._calls(
            "DeviceIoControl",
            self.home.kernel.DeviceIoControl,
            0,
            HANDLE(self.number),
            DWORD(code),
            ctypes.c_void_p(outgoing.buf if outgoing.len else None),
            DWORD(outgoing.len),
            ctypes.c_void_p(incoming.buf if incoming.len else None),
            DWORD(incoming.len),
            None,
            byref(operation.overlapped),
        )
        operation.post()
        return operation

    # The file itself

    def size(self) -> int:
        """Return how many bytes the file has.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getfilesizeex
        """
        size = LARGE_INTEGER()
        self.call("GetFileSizeEx", byref(size))
        return size.value

    def truncate(self, size: int) -> None:
        """Make the file so many bytes long: cut it, or extend it with zeros.

        Raises io.UnsupportedOperation for a file not opened to be written, or opened for
        appending, ValueError for a bad size, and an `IocpError` if the system refuses
        (``ERROR_DISK_FULL`` 112; ``ERROR_USER_MAPPED_FILE`` 1224: it is mapped).

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-setfileinformationbyhandle
        """
        self._check_writable("truncate()", anywhere=True)
        if not 0 <= size <= OFFSET_MAX:
            raise ValueError(f"truncate(): size must be between 0 and 2**63 - 1, not {size:,}")
        end = FILE_END_OF_FILE_INFO(size)
        self.call("SetFileInformationByHandle", FileEndOfFileInfo, byref(end), sizeof(end))

    def flush(self) -> None:
        """Have everything that was written go to the disk; blocks until it is there.

        There is no overlapped form of it: in a server, call it on a thread that may wait.
        Operations of other threads on the file go on meanwhile.

        Raises io.UnsupportedOperation for a file not opened to be written, and an
        `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-flushfilebuffers
        """
        self._check_writable("flush()")
        kernel = self.home.kernel
        process = kernel.GetCurrentProcess()
        # A second handle: the lock that keeps ours open would be held for as long as the disk
        # takes.
        copy = HANDLE()
        with self.lock:
            self.check_open("flush()")
            duplicated = kernel.DuplicateHandle(
                process, self.number, process, byref(copy), 0, False, DUPLICATE_SAME_ACCESS
            )
            code = 0 if duplicated else kernel.last_error()
        if code:
            raise error_of_code("DuplicateHandle", code, None, self)
        try:
            if not kernel.FlushFileBuffers(copy):
                raise error_of_code("FlushFileBuffers", kernel.last_error(), None, self)
        finally:
            kernel.CloseHandle(copy)

    def call(self, function: str, *arguments: Any) -> None:
        """Call a Win32 function of this file that returns 0 on failure.

        Raises an `IocpError` if it does.
        """
        self._call(function, *arguments)

    # Checks, and the parts of operations

    def _check_readable(self, wanted: str) -> None:
        if not self._mode.readable:
            raise io.UnsupportedOperation(
                f"{wanted}: {self!r} was opened with mode {self.mode!r}, not to be read"
            )

    def _check_writable(self, wanted: str, *, anywhere: bool = False) -> None:
        if not self._mode.writable:
            raise io.UnsupportedOperation(
                f"{wanted}: {self!r} was opened with mode {self.mode!r}, not to be written"
            )
        if anywhere and self._mode.appending:
            raise io.UnsupportedOperation(
                f"{wanted}: {self!r} was opened with mode {self.mode!r}: use append()"
            )

    def _check_place(self, wanted: str, offset: int, pin: WSABUF) -> None:
        check_range(wanted, offset, pin.len)
        if self.unbuffered:
            check_alignment(wanted, self.sector_size, offset, pin.len, pin.buf or 0)

    def _write(self, kind: str, data: Buffer, offset: int, pin: WSABUF) -> FileOperation:
        operation = FileOperation(self, kind, offset, pin.len, pin, sector_size=self.sector_size)
        operation.buffers = (data,)
        self._transfers(operation, "WriteFile", self.home.kernel.WriteFile, pin)
        return operation

    def _transfers(
        self, operation: FileOperation, name: str, function: Callable[..., int], pin: WSABUF
    ) -> None:
        """Set the call of ReadFile or WriteFile for a pinned buffer."""
        operation._calls(
            name,
            function,
            0,
            HANDLE(self.number),
            ctypes.c_void_p(pin.buf),
            DWORD(pin.len),
            None,
            byref(operation.overlapped),
        )

    def _check_unbuffered(self, wanted: str) -> None:
        if not self.unbuffered:
            raise io.UnsupportedOperation(
                f"{wanted}: {self!r} is buffered; open it with unbuffered=True"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, name={self.name!r}>"
