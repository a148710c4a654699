"""Processes and threads: handles of them, their times and counts."""

from __future__ import annotations

from ..structure import Structure
from ..types import BOOL, DWORD, HANDLE, LPDWORD, PDWORD, Pointer
from .library import kernel32


class FILETIME(Structure):
    """A point in time in units of 100 ns since 1601 (UTC), or a duration in these units.

    Source: https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-filetime
    """

    _fields_ = (("dwLowDateTime", DWORD), ("dwHighDateTime", DWORD))

    def __int__(self) -> int:
        return int(self.dwHighDateTime << 32 | self.dwLowDateTime)

    def __repr__(self) -> str:
        return f"FILETIME({int(self)} * 100 ns)"


LPFILETIME = Pointer[FILETIME]


@kernel32(since="Windows NT 3.1")
def GetCurrentProcess() -> HANDLE:
    """Return a number that stands for this process wherever a handle is asked for.

    It is not a handle: it need not be closed, and DuplicateHandle makes a real one of it.

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getcurrentprocess
    """


@kernel32(since="Windows NT 3.1")
def GetCurrentThread() -> HANDLE:
    """Return a number that stands for the calling thread wherever a handle is asked for.

    Passed to another thread it stands for that one: DuplicateHandle makes a real handle.

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getcurrentthread
    """


@kernel32(since="Windows NT 3.1")
def GetCurrentThreadId() -> DWORD:
    """Return the calling thread's identifier, unique in the system while it runs.

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getcurrentthreadid
    """


@kernel32(since="Windows NT 3.1")
def OpenProcess(dwDesiredAccess: DWORD, bInheritHandle: BOOL, dwProcessId: DWORD) -> HANDLE:
    """Get a handle of a running process.

    dwDesiredAccess: PROCESS_* rights; SYNCHRONIZE to wait for its end.
    bInheritHandle: nonzero if children shall inherit the handle.
    dwProcessId: its identifier, which may be another process's by now.

    Returns a handle, or None: ask last_error(). ERROR_INVALID_PARAMETER (87): there is no
    such process; ERROR_ACCESS_DENIED (5).

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openprocess
    """


@kernel32(since="Windows 2000")
def OpenThread(dwDesiredAccess: DWORD, bInheritHandle: BOOL, dwThreadId: DWORD) -> HANDLE:
    """Get a handle of a running thread.

    dwDesiredAccess: THREAD_* rights: THREAD_TERMINATE for CancelSynchronousIo,
        THREAD_SET_CONTEXT for QueueUserAPC.
    bInheritHandle: nonzero if children shall inherit the handle.
    dwThreadId: its identifier, as threading.get_native_id() gives it.

    Returns a handle, or None: ask last_error(). ERROR_INVALID_PARAMETER (87): there is no
    such thread; ERROR_ACCESS_DENIED (5).

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openthread
    """


@kernel32(since="Windows XP SP1")
def GetProcessId(Process: HANDLE) -> DWORD:
    """Return the identifier of a process.

    Process: a process with PROCESS_QUERY_LIMITED_INFORMATION access.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocessid
    """


@kernel32(since="Windows NT 3.1")
def GetExitCodeProcess(hProcess: HANDLE, lpExitCode: LPDWORD) -> BOOL:
    """Read what a process has ended with.

    hProcess: a process with PROCESS_QUERY_LIMITED_INFORMATION access.
    lpExitCode: receives it; STILL_ACTIVE (259) while the process runs, or if it ended with
        259: to know, wait for it.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getexitcodeprocess
    """


@kernel32(since="Windows XP")
def GetProcessHandleCount(hProcess: HANDLE, pdwHandleCount: PDWORD) -> BOOL:
    """Count the handles that a process has open.

    hProcess: a process with PROCESS_QUERY_LIMITED_INFORMATION access.
    pdwHandleCount: receives the number.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesshandlecount
    """


@kernel32(since="Windows NT 3.5")
def GetProcessTimes(
    hProcess: HANDLE,
    lpCreationTime: LPFILETIME,
    lpExitTime: LPFILETIME,
    lpKernelTime: LPFILETIME,
    lpUserTime: LPFILETIME,
) -> BOOL:
    """Read when a process began and ended, and the time that it has computed.

    hProcess: a process with PROCESS_QUERY_LIMITED_INFORMATION access.
    lpCreationTime, lpExitTime: receive points in time; the second, only when it has ended.
    lpKernelTime, lpUserTime: receive durations, over all threads.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesstimes
    """
