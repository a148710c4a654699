"""LockOperation: a range of a file's bytes, locked against the handles of others.

What belongs here: LockFileEx and the ranges that it takes.
"""

from __future__ import annotations

from ctypes import byref
from typing import TYPE_CHECKING

from ...engine.packet import Ends
from ...winapi import DWORD, HANDLE, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY
from .file_operation import OFFSET_MAX, FileOperation, check_range

if TYPE_CHECKING:
    from .file import File


def range_length(wanted: str, offset: int, length: int | None) -> int:
    """Return the length of a range to lock: without one, as far as a file can go.

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

    NtLockFile has a way of its own through the kernel (FastIoLock), and nobody says whether
    that way honours FILE_SKIP_COMPLETION_PORT_ON_SUCCESS. Wine's queues no packet at all for
    a lock that is granted on the spot. So the port finds out for each.
    """

    __slots__ = ()

    ends = Ends(certain=False)

    def __init__(self, file: File, offset: int, length: int, *, shared: bool, wait: bool) -> None:
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
