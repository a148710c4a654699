"""FileOperation: a request at a place in a file; reads, control codes and locks are kinds of it."""

from __future__ import annotations

from ctypes import byref
from typing import TYPE_CHECKING, Any

from ...engine.operation import Operation
from ...engine.packet import PENDING, Ends
from ...winapi import (
    DWORD,
    HANDLE,
    LOCKFILE_EXCLUSIVE_LOCK,
    LOCKFILE_FAIL_IMMEDIATELY,
    WSABUF,
)
from ...winapi.errorcodes import ERROR_HANDLE_EOF, ERROR_MORE_DATA, STATUS_END_OF_FILE
from .alignment import check_alignment

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..handle import Handle

OFFSET_MAX = 2**63 - 1
"""The largest place in a file; the kernel counts in signed 64-bit numbers."""

AT_THE_END = 2**64 - 1
"""The offset for a write at the end of the file, wherever that is by then."""

LENGTH_MAX = 0xFFFFFFFF
"""The most bytes of one read or write: their number is a DWORD."""


def pinned(wanted: str, buffer: Buffer, *, read_only: bool) -> WSABUF:
    """Export a buffer's memory; return its address and length.

    Raises TypeError for a read-only buffer that must be written to, ValueError for one that is
    too long; `wanted` names the attempt.

    Lifetime: the memory stays where it is as long as the returned object lives.
    """
    with memoryview(buffer) as view:
        if view.readonly and not read_only:
            raise TypeError(
                f"{wanted} needs a buffer that can be written to, such as a bytearray,"
                f" not {type(buffer).__name__}"
            )
        if view.nbytes > LENGTH_MAX:
            raise ValueError(
                f"{wanted}: at most {LENGTH_MAX:,} bytes at a time, not {view.nbytes:,}"
            )
    return WSABUF.over(buffer, read_only=read_only)


def check_range(wanted: str, offset: int, length: int) -> None:
    """Raise ValueError for a range of bytes that no file can have."""
    if not 0 <= offset <= OFFSET_MAX - length:
        raise ValueError(
            f"{wanted}: offset must be between 0 and 2**63 - 1 - {length:,}, not {offset:,}"
        )


class FileOperation(Operation):
    """An operation at an offset in a file. Any thread may call any method.

    sector_size: what the offset must be a multiple of, on an unbuffered file.
    """

    __slots__ = ("_length", "_pins", "_sector_size")

    def __init__(
        self,
        file: Handle,
        kind: str,
        offset: int,
        length: int,
        *pins: Any,
        sector_size: int = 1,
    ) -> None:
        super().__init__(file, kind)
        self._sector_size = sector_size
        self._length = length
        self._place(offset)
        # Lifetime: the call has bare addresses; the pins export the memory behind them, and
        # the in-flight table keeps the operation.
        self._pins = pins

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read or write, including the caller's buffers."""
        return (*super().memory, self._pins)

    @property
    def offset(self) -> int:
        """Where in the file it begins; may be changed before it is posted again."""
        return int(self.overlapped.OffsetHigh) << 32 | int(self.overlapped.Offset)

    @offset.setter
    def offset(self, offset: int) -> None:
        """Have it begin elsewhere when it is posted again.

        Raises RuntimeError while it is pending, ValueError for an offset that is out of
        range, or on an unbuffered file not a multiple of the sector size, and for an append.
        """
        if self.state is PENDING:
            raise RuntimeError(f"{self!r} is still pending: its offset is the kernel's")
        if self.offset == AT_THE_END:
            raise ValueError(f"{self!r} has no offset: an append goes where the end is")
        check_range(self.kind, offset, self._length)
        check_alignment(self.kind, self._sector_size, offset, 0, 0)
        self._place(offset)

    def _place(self, offset: int) -> None:
        self.overlapped.Offset, self.overlapped.OffsetHigh = offset & 0xFFFFFFFF, offset >> 32

    def __repr__(self) -> str:
        place = "the end" if self.offset == AT_THE_END else f"offset {self.offset}"
        return f"{super().__repr__()[:-1]}, at {place} of {self.handle!r}>"


class ReadOperation(FileOperation):
    """A read. At or past the end of the file it completes with 0 bytes and no error."""

    __slots__ = ()

    ends = Ends(
        statuses={ERROR_HANDLE_EOF: STATUS_END_OF_FILE}, ordinary=frozenset((STATUS_END_OF_FILE,))
    )


class ControlOperation(FileOperation):
    """A control code. An answer that is too long is cut off: an error, but its bytes are there."""

    __slots__ = ()

    ends = Ends(warnings=frozenset((ERROR_MORE_DATA,)))


def range_length(wanted: str, offset: int, length: int | None) -> int:
    """Return the length of a range to lock; for None, up to the largest possible offset.

    Raises ValueError for a range that cannot be locked; `wanted` names the attempt.
    """
    check_range(wanted, offset, 1)
    if length is None:
        return OFFSET_MAX - offset
    if length < 1:
        raise ValueError(f"{wanted}: length must be at least 1 byte, not {length:,}")
    check_range(wanted, offset, length)
    return length


class LockOperation(FileOperation):
    """A lock of a range of bytes; its completion says that it is held.

    NtLockFile has its own path through the kernel (FastIoLock), and it is not documented whether
    that honours FILE_SKIP_COMPLETION_PORT_ON_SUCCESS. Wine queues no packet at all for a lock
    that is granted at once. So the port finds out for each lock.
    """

    __slots__ = ()

    ends = Ends(certain=False)

    def __init__(self, file: Handle, offset: int, length: int, *, shared: bool, wait: bool) -> None:
        super().__init__(file, "lock", offset, length)
        flags = 0 if shared else LOCKFILE_EXCLUSIVE_LOCK
        flags |= 0 if wait else LOCKFILE_FAIL_IMMEDIATELY
        self._calls(
            "LockFileEx",
            file.home.kernel.LockFileEx,
            0,
            HANDLE(file.number),
            DWORD(flags),
            DWORD(0),
            DWORD(length & 0xFFFFFFFF),
            DWORD(length >> 32),
            byref(self.overlapped),
        )
