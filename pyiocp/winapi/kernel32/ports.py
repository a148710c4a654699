"""I/O completion ports, and what cancels or asks after an overlapped operation."""

from __future__ import annotations

from ..binding import Callback
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
    Pointer,
)
from .library import kernel32


class LPOVERLAPPED_COMPLETION_ROUTINE(Callback):
    """A function that the kernel calls when an overlapped operation has ended.

    dwErrorCode: the Win32 error, or 0. For BindIoCompletionCallback it is the NTSTATUS.
    dwNumberOfBytesTransfered: bytes moved; the spelling is the SDK's.
    lpOverlapped: the OVERLAPPED that the operation was started with.

    For ReadFileEx, WriteFileEx and ReadDirectoryChangesW it is called as an APC, in the
    thread that started the operation and only while that thread waits alertably
    (SleepEx, WaitForSingleObjectEx, GetQueuedCompletionStatusEx with fAlertable).

    Lifetime: the instance must be kept until the call has come.

    Source: https://learn.microsoft.com/windows/win32/api/minwinbase/nc-minwinbase-lpoverlapped_completion_routine
    """

    @staticmethod
    def signature(
        dwErrorCode: DWORD,
        dwNumberOfBytesTransfered: DWORD,
        lpOverlapped: LPOVERLAPPED,
    ) -> None: ...


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


@kernel32(since="Windows NT 3.5")
def GetQueuedCompletionStatus(
    CompletionPort: HANDLE,
    lpNumberOfBytesTransferred: LPDWORD,
    lpCompletionKey: PULONG_PTR,
    lpOverlapped: Pointer[LPOVERLAPPED],
    dwMilliseconds: DWORD,
) -> BOOL:
    """Wait for one completion packet and take it off the port.

    CompletionPort: the port.
    lpNumberOfBytesTransferred: receives the bytes that the operation moved.
    lpCompletionKey: receives the key of the handle, or of PostQueuedCompletionStatus.
    lpOverlapped: receives the address that the operation was started with.
    dwMilliseconds: how long to wait; 0 only looks, INFINITE never gives up.

    Returns nonzero for a packet of an operation that succeeded. On 0 look at the
    pointer: if it is set, a packet was taken, of an operation that failed with
    last_error(); if it is NULL, no packet was taken: WAIT_TIMEOUT (258) the time is up,
    ERROR_ABANDONED_WAIT_0 (735) the port was closed during the wait,
    ERROR_INVALID_HANDLE (6) it is not a port.

    The calling thread becomes one of the port's threads until it waits on another port
    or ends; waiting threads are released last in, first out. A packet releases the
    operation's memory to the caller.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getqueuedcompletionstatus
    """


@kernel32(since="Windows Vista")
def GetQueuedCompletionStatusEx(
    CompletionPort: HANDLE,
    lpCompletionPortEntries: LPOVERLAPPED_ENTRY,
    ulCount: ULONG,
    ulNumEntriesRemoved: PULONG,
    dwMilliseconds: DWORD,
    fAlertable: BOOL,
) -> BOOL:
    """Wait for at least one completion packet and take up to `ulCount` off the port.

    CompletionPort: the port.
    lpCompletionPortEntries: an array of OVERLAPPED_ENTRY to fill.
    ulCount: how many entries the array has; at least 1.
    ulNumEntriesRemoved: receives how many were filled.
    dwMilliseconds: how long to wait; 0 only looks, INFINITE never gives up.
    fAlertable: nonzero to run this thread's APCs during the wait.

    Returns nonzero if at least one packet was taken, whether its operation succeeded or
    failed: each entry's ``Internal`` is the NTSTATUS of its own operation. 0: none was
    taken, ask last_error(). WAIT_TIMEOUT (258); WAIT_IO_COMPLETION (192): an APC ran;
    ERROR_ABANDONED_WAIT_0 (735): the port was closed during the wait.

    Several threads may call this on one port, each with its own array.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getqueuedcompletionstatusex
    """


@kernel32(since="Windows NT 3.5")
def PostQueuedCompletionStatus(
    CompletionPort: HANDLE,
    dwNumberOfBytesTransferred: DWORD,
    dwCompletionKey: ULONG_PTR,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Queue a packet of one's own to the port.

    CompletionPort: the port.
    dwNumberOfBytesTransferred, dwCompletionKey, lpOverlapped: what the thread that takes
        the packet receives, unread and unchecked; the pointer need not point anywhere.

    Returns 0 on failure: ask last_error(). ERROR_NO_SYSTEM_RESOURCES (1450) or
    ERROR_NOT_ENOUGH_MEMORY (8): the kernel could not allocate a packet.

    Any thread may call this. The packet's status is 0, so that
    GetQueuedCompletionStatus returns nonzero for it.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-postqueuedcompletionstatus
    """


@kernel32(since="Windows Vista")
def SetFileCompletionNotificationModes(FileHandle: HANDLE, Flags: UCHAR) -> BOOL:
    """Choose what a completion on this handle signals. A mode once set cannot be unset.

    FileHandle: a file, pipe or socket opened for overlapped I/O.
    Flags: FILE_SKIP_COMPLETION_PORT_ON_SUCCESS: an operation that succeeds on the spot
        queues no packet. FILE_SKIP_SET_EVENT_ON_HANDLE: the handle itself is not
        signalled (an event in the OVERLAPPED still is).

    Returns 0 on failure: ask last_error(). ERROR_INVALID_PARAMETER (87): the handle was
    not opened for overlapped I/O.

    A socket honours FILE_SKIP_COMPLETION_PORT_ON_SUCCESS only if its provider is IFS
    (XP1_IFS_HANDLES in WSAPROTOCOL_INFO) and no non-IFS provider is layered over it.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setfilecompletionnotificationmodes
    """


@kernel32(since="Windows NT 3.1")
def GetOverlappedResult(
    hFile: HANDLE,
    lpOverlapped: LPOVERLAPPED,
    lpNumberOfBytesTransferred: LPDWORD,
    bWait: BOOL,
) -> BOOL:
    """Read how an overlapped operation on a file, pipe or device ended.

    hFile: the handle that the operation was started on.
    lpOverlapped: the OVERLAPPED that it was started with.
    lpNumberOfBytesTransferred: receives the bytes that it moved.
    bWait: nonzero to wait until it has ended.

    Returns 0 on failure: ask last_error(). ERROR_IO_INCOMPLETE (996): it still runs;
    otherwise it is the operation's own error, e.g. ERROR_OPERATION_ABORTED (995) after
    a cancellation or ERROR_HANDLE_EOF (38).

    Waiting needs an event in ``hEvent``, or a handle with one operation at a time: the
    wait is for the handle itself otherwise. Asking does not take a packet off a port.
    For a socket use WSAGetOverlappedResult.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getoverlappedresult
    """


@kernel32(since="Windows 8")
def GetOverlappedResultEx(
    hFile: HANDLE,
    lpOverlapped: LPOVERLAPPED,
    lpNumberOfBytesTransferred: LPDWORD,
    dwMilliseconds: DWORD,
    bAlertable: BOOL,
) -> BOOL:
    """Read how an overlapped operation ended, waiting at most so long.

    hFile, lpOverlapped, lpNumberOfBytesTransferred: as for GetOverlappedResult.
    dwMilliseconds: how long to wait; 0 only looks, INFINITE never gives up.
    bAlertable: nonzero to run this thread's APCs during the wait.

    Returns 0 on failure: ask last_error(). ERROR_IO_INCOMPLETE (996): it still runs and
    dwMilliseconds was 0; WAIT_TIMEOUT (258): it still runs; WAIT_IO_COMPLETION (192): an
    APC ran; otherwise it is the operation's own error.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getoverlappedresultex
    """


@kernel32(since="Windows NT 3.1")
def CancelIo(hFile: HANDLE) -> BOOL:
    """Ask for every operation that this thread started on the handle to be cancelled.

    hFile: the handle. Operations that other threads started go on; see CancelIoEx.

    Returns 0 on failure: ask last_error(). Having nothing to cancel is a success.

    The request does not end an operation. Each still completes, as it would have
    (its packet is queued), often with ERROR_OPERATION_ABORTED (995); until then its
    OVERLAPPED and buffer are the kernel's.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-cancelio
    """


@kernel32(since="Windows Vista")
def CancelIoEx(hFile: HANDLE, lpOverlapped: LPOVERLAPPED) -> BOOL:
    """Ask for one operation, or all of this process on the handle, to be cancelled.

    hFile: the handle.
    lpOverlapped: the OVERLAPPED of the operation, or None for all, whichever thread
        started them.

    Returns nonzero if at least one was asked to stop. 0: ask last_error();
    ERROR_NOT_FOUND (1168): no such operation runs, it has probably completed already.

    The request does not end an operation. It still completes: with
    ERROR_OPERATION_ABORTED (995), or with success or another error if that won the
    race; until then its OVERLAPPED and buffer are the kernel's.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-cancelioex
    """


@kernel32(since="Windows Vista")
def CancelSynchronousIo(hThread: HANDLE) -> BOOL:
    """Ask for the synchronous I/O in which another thread is blocked to be cancelled.

    hThread: a handle of that thread with THREAD_TERMINATE access, as from OpenThread.

    Returns 0 on failure: ask last_error(). ERROR_NOT_FOUND (1168): the thread was in no
    I/O that can be cancelled. The blocked call then fails with ERROR_OPERATION_ABORTED
    (995), unless it completed first.

    It does not wake a thread from GetQueuedCompletionStatus, nor cancel overlapped I/O.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-cancelsynchronousio
    """


@kernel32(since="Windows 2000")
def BindIoCompletionCallback(
    FileHandle: HANDLE,
    Function: LPOVERLAPPED_COMPLETION_ROUTINE,
    Flags: ULONG,
) -> BOOL:
    """Let the process's thread pool wait for a handle's completions and call a function.

    FileHandle: a handle opened for overlapped I/O that is on no port yet.
    Function: called on a pool thread for each completion, with the NTSTATUS as error.
    Flags: 0.

    Returns 0 on failure: ask last_error(), which gives an NTSTATUS here, for
    RtlNtStatusToDosError to translate. CreateThreadpoolIo is its successor.

    Lifetime: `Function` must be kept as long as the handle is open.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-bindiocompletioncallback
    """
