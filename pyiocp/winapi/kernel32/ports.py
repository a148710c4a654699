"""I/O completion ports, and what cancels or asks after an overlapped operation.

What belongs here: functions of kernel32.dll that work on a port or an OVERLAPPED,
whatever kind of handle is behind it.
"""

from __future__ import annotations

from ..overlapped import LPOVERLAPPED, LPOVERLAPPED_ENTRY
from ..types import (
    BOOL,
    DWORD,
    HANDLE,
    LPDWORD,
    PULONG,
    PULONG_PTR,
    UCHAR,
    ULONG,
    ULONG_PTR,
)
from .library import kernel32


@kernel32(since="Windows NT 3.5")
def CreateIoCompletionPort(
    FileHandle: HANDLE,
    ExistingCompletionPort: HANDLE,
    CompletionKey: ULONG_PTR,
    NumberOfConcurrentThreads: DWORD,
) -> HANDLE:
    """Create a completion port, or associate a file handle or socket with one.

    FileHandle: a handle opened for overlapped I/O, or INVALID_HANDLE_VALUE to create a
        port without one.
    ExistingCompletionPort: the port, or None to create one.
    CompletionKey: any number; it comes back with every packet of this handle.
    NumberOfConcurrentThreads: how many threads the kernel lets run at a time while
        packets are queued; 0 means one per processor. Read only on creation.

    Returns the port's handle, or None: ask last_error(). ERROR_INVALID_PARAMETER (87):
    the handle is on a port already, or was not opened for overlapped I/O.
    ERROR_INVALID_HANDLE (6): not a file handle or socket.

    A handle stays on its port until it is closed; the port lives until its own handle
    and every handle on it are closed. Any thread may call this.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-createiocompletionport
    """
