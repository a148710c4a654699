"""Waiting: events, waits for one or several objects, and calls into a waiting thread."""

from __future__ import annotations

from ..binding import Callback
from ..types import (
    BOOL,
    BOOLEAN,
    DWORD,
    HANDLE,
    LPCWSTR,
    PHANDLE,
    PVOID,
    ULONG,
    ULONG_PTR,
    ConstPointer,
)
from .handles import LPSECURITY_ATTRIBUTES
from .library import kernel32


class PAPCFUNC(Callback):
    """A function that QueueUserAPC has a thread call while it waits alertably.

    Parameter: what QueueUserAPC was given.

    Lifetime: the instance must be kept until the call has come.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/nc-winnt-papcfunc
    """

    @staticmethod
    def signature(Parameter: ULONG_PTR) -> None: ...


class WAITORTIMERCALLBACK(Callback):
    """A function that RegisterWaitForSingleObject calls on a pool thread.

    lpParameter: the Context of the registration.
    TimerOrWaitFired: nonzero if the time was up, 0 if the object was signalled.

    Lifetime: the instance must be kept until UnregisterWaitEx has returned.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject
    """

    @staticmethod
    def signature(lpParameter: PVOID, TimerOrWaitFired: BOOLEAN) -> None: ...


@kernel32(since="Windows NT 3.1")
def CreateEventW(
    lpEventAttributes: LPSECURITY_ATTRIBUTES,
    bManualReset: BOOL,
    bInitialState: BOOL,
    lpName: LPCWSTR,
) -> HANDLE:
    """Create or open an event.

    lpEventAttributes: None for the defaults.
    bManualReset: nonzero if it stays set until ResetEvent; 0 if it lets one wait through
        and is reset by that. An OVERLAPPED's event is a manual one.
    bInitialState: nonzero to begin set.
    lpName: None, or a name to share it by.

    Returns a handle, or None: ask last_error(). ERROR_ALREADY_EXISTS (183) with a valid
    handle: the name was there, the other arguments were not read. ERROR_INVALID_HANDLE
    (6): the name is of another kind of object.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createeventw
    """


@kernel32(since="Windows NT 3.1")
def SetEvent(hEvent: HANDLE) -> BOOL:
    """Set an event: waits for it end.

    hEvent: the event.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setevent
    """


@kernel32(since="Windows NT 3.1")
def ResetEvent(hEvent: HANDLE) -> BOOL:
    """Reset an event: waits for it block. Starting an overlapped operation does it too.

    hEvent: the event.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-resetevent
    """


@kernel32(since="Windows NT 3.1")
def WaitForSingleObject(hHandle: HANDLE, dwMilliseconds: DWORD) -> DWORD:
    """Wait until an object is signalled.

    hHandle: an event, process, thread, timer, semaphore or mutex; with SYNCHRONIZE access.
    dwMilliseconds: how long; 0 only looks, INFINITE never gives up.

    Returns WAIT_OBJECT_0 (0), WAIT_TIMEOUT (258), WAIT_ABANDONED (128: a mutex whose owner
    ended), or WAIT_FAILED (0xFFFFFFFF): ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject
    """


@kernel32(since="Windows NT 3.1")
def WaitForSingleObjectEx(hHandle: HANDLE, dwMilliseconds: DWORD, bAlertable: BOOL) -> DWORD:
    """Wait until an object is signalled, or until an APC has run.

    hHandle, dwMilliseconds: as for WaitForSingleObject.
    bAlertable: nonzero to run this thread's APCs during the wait.

    Returns what WaitForSingleObject does, or WAIT_IO_COMPLETION (192): an APC ran.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobjectex
    """


@kernel32(since="Windows NT 3.1")
def WaitForMultipleObjects(
    nCount: DWORD,
    lpHandles: ConstPointer[HANDLE],
    bWaitAll: BOOL,
    dwMilliseconds: DWORD,
) -> DWORD:
    """Wait until one, or every one, of several objects is signalled.

    nCount: how many, 1 to MAXIMUM_WAIT_OBJECTS (64).
    lpHandles: an array of them, none twice.
    bWaitAll: nonzero to wait for all of them at once.
    dwMilliseconds: how long; 0 only looks, INFINITE never gives up.

    Returns WAIT_OBJECT_0 plus the lowest index of a signalled object, WAIT_ABANDONED_0
    plus the index of an abandoned mutex, WAIT_TIMEOUT (258), or WAIT_FAILED: ask
    last_error().

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitformultipleobjects
    """


@kernel32(since="Windows NT 3.1")
def WaitForMultipleObjectsEx(
    nCount: DWORD,
    lpHandles: ConstPointer[HANDLE],
    bWaitAll: BOOL,
    dwMilliseconds: DWORD,
    bAlertable: BOOL,
) -> DWORD:
    """Wait until objects are signalled, or until an APC has run.

    nCount, lpHandles, bWaitAll, dwMilliseconds: as for WaitForMultipleObjects.
    bAlertable: nonzero to run this thread's APCs during the wait.

    Returns what WaitForMultipleObjects does, or WAIT_IO_COMPLETION (192): an APC ran.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitformultipleobjectsex
    """


@kernel32(since="Windows 2000")
def RegisterWaitForSingleObject(
    phNewWaitObject: PHANDLE,
    hObject: HANDLE,
    Callback: WAITORTIMERCALLBACK,
    Context: PVOID,
    dwMilliseconds: ULONG,
    dwFlags: ULONG,
) -> BOOL:
    """Have the thread pool wait for an object and call a function when it is signalled.

    phNewWaitObject: receives what UnregisterWaitEx takes; CloseHandle does not.
    hObject: an event, process, timer ...; not closed before UnregisterWaitEx returned.
    Callback: the function; it is called again and again unless WT_EXECUTEONLYONCE.
    Context: a number for it.
    dwMilliseconds: after how long it is called anyway; INFINITE for never.
    dwFlags: WT_EXECUTEDEFAULT or other WT_* flags. WT_EXECUTEONLYONCE for objects that
        stay signalled, such as a process.

    Returns 0 on failure: ask last_error().

    Lifetime: `Callback` is kept until UnregisterWaitEx has returned.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject
    """


@kernel32(since="Windows 2000")
def UnregisterWaitEx(WaitHandle: HANDLE, CompletionEvent: HANDLE) -> BOOL:
    """Stop what RegisterWaitForSingleObject began, whether it was called or not.

    WaitHandle: what that function gave.
    CompletionEvent: an event to set when the last call has ended; INVALID_HANDLE_VALUE to
        wait for that here (not from within the callback); None not to wait.

    Returns 0 on failure: ask last_error(). ERROR_IO_PENDING (997): a call is under way, the
    registration goes when it ends.

    Source: https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-unregisterwaitex
    """


@kernel32(since="Windows NT 3.1")
def SleepEx(dwMilliseconds: DWORD, bAlertable: BOOL) -> DWORD:
    """Sleep, or until an APC has run.

    dwMilliseconds: how long; 0 gives up the time slice, INFINITE sleeps until an APC.
    bAlertable: nonzero to run this thread's APCs.

    Returns 0 when the time is up, WAIT_IO_COMPLETION (192) if APCs ran: all that were
    queued, not one.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-sleepex
    """


@kernel32(since="Windows NT 3.51")
def QueueUserAPC(pfnAPC: PAPCFUNC, hThread: HANDLE, dwData: ULONG_PTR) -> DWORD:
    """Have a thread call a function, the next time that it waits alertably.

    pfnAPC: the function.
    hThread: a thread with THREAD_SET_CONTEXT access; GetCurrentThread() will do.
    dwData: a number for it.

    Returns 0 on failure: ask last_error(). ERROR_GEN_FAILURE (31): the thread has ended.

    Lifetime: `pfnAPC` is kept until it has been called.

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-queueuserapc
    """
