"""Waitable timers."""

from __future__ import annotations

from ..binding import Callback
from ..structure import Structure, Union
from ..types import (
    BOOL,
    DWORD,
    HANDLE,
    HMODULE,
    LARGE_INTEGER,
    LONG,
    LPCWSTR,
    LPVOID,
    LPWSTR,
    ULONG,
    ConstPointer,
    Pointer,
)
from .constants import POWER_REQUEST_CONTEXT_DETAILED_STRING, POWER_REQUEST_CONTEXT_SIMPLE_STRING
from .handles import LPSECURITY_ATTRIBUTES
from .library import kernel32


class PTIMERAPCROUTINE(Callback):
    """A function that a timer calls, as an APC in the thread that set it.

    lpArgToCompletionRoutine: what SetWaitableTimer was given.
    dwTimerLowValue, dwTimerHighValue: when it was due, in units of 100 ns since 1601.

    Lifetime: the instance must be kept while the timer is set.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nc-synchapi-ptimerapcroutine
    """

    @staticmethod
    def signature(
        lpArgToCompletionRoutine: LPVOID,
        dwTimerLowValue: DWORD,
        dwTimerHighValue: DWORD,
    ) -> None: ...


class _Detailed(Structure):
    _fields_ = (
        ("LocalizedReasonModule", HMODULE),
        ("LocalizedReasonId", ULONG),
        ("ReasonStringCount", ULONG),
        ("ReasonStrings", Pointer[LPWSTR]),
    )


class _Reason(Union):
    _fields_ = (("Detailed", _Detailed), ("SimpleReasonString", LPWSTR))


class REASON_CONTEXT(Structure):
    """Why a timer wakes the machine.

    ``Version`` is POWER_REQUEST_CONTEXT_VERSION. ``Flags`` says which member of ``Reason``
    holds: POWER_REQUEST_CONTEXT_SIMPLE_STRING or POWER_REQUEST_CONTEXT_DETAILED_STRING.

    Source: https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-reason_context
    """

    _fields_ = (("Version", ULONG), ("Flags", DWORD), ("Reason", _Reason))

    def __repr__(self) -> str:
        # Only the member that Flags names: the other one would be read as a pointer.
        shown = ""
        if self.Flags & POWER_REQUEST_CONTEXT_SIMPLE_STRING:
            shown = f", Reason.SimpleReasonString={self.Reason.SimpleReasonString!r}"
        elif self.Flags & POWER_REQUEST_CONTEXT_DETAILED_STRING:
            shown = f", Reason.Detailed={self.Reason.Detailed!r}"
        return f"REASON_CONTEXT(Version={self.Version}, Flags={self.Flags:#x}{shown})"


PREASON_CONTEXT = Pointer[REASON_CONTEXT]


@kernel32(since="Windows Vista")
def CreateWaitableTimerExW(
    lpTimerAttributes: LPSECURITY_ATTRIBUTES,
    lpTimerName: LPCWSTR,
    dwFlags: DWORD,
    dwDesiredAccess: DWORD,
) -> HANDLE:
    """Create or open a waitable timer.

    lpTimerAttributes: None for the defaults.
    lpTimerName: None, or a name to share it by.
    dwFlags: CREATE_WAITABLE_TIMER_MANUAL_RESET: it stays signalled until it is set again;
        CREATE_WAITABLE_TIMER_HIGH_RESOLUTION (Windows 10 1803): it is about 0.5 ms exact,
        where others wait for the clock tick of up to 15.6 ms.
    dwDesiredAccess: TIMER_ALL_ACCESS, or less; SYNCHRONIZE to wait.

    Returns a handle, or None: ask last_error(). ERROR_INVALID_PARAMETER (87): a flag that
    this Windows does not know.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createwaitabletimerexw
    """


@kernel32(since="Windows NT 4.0")
def SetWaitableTimer(
    hTimer: HANDLE,
    lpDueTime: ConstPointer[LARGE_INTEGER],
    lPeriod: LONG,
    pfnCompletionRoutine: PTIMERAPCROUTINE,
    lpArgToCompletionRoutine: LPVOID,
    fResume: BOOL,
) -> BOOL:
    """Set a timer; it is reset and no longer signalled until it is due.

    hTimer: the timer, with TIMER_MODIFY_STATE access.
    lpDueTime: in units of 100 ns: negative from now, positive since 1601 (UTC).
    lPeriod: milliseconds between the times after that; 0 for once.
    pfnCompletionRoutine: called as an APC in this thread when it is due, or None.
    lpArgToCompletionRoutine: for that function.
    fResume: nonzero to wake the machine; ERROR_NOT_SUPPORTED (50) with a nonzero result if
        it cannot.

    Returns 0 on failure: ask last_error().

    A timer with a function ends with the thread that set it.

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimer
    """


@kernel32(since="Windows 7")
def SetWaitableTimerEx(
    hTimer: HANDLE,
    lpDueTime: ConstPointer[LARGE_INTEGER],
    lPeriod: LONG,
    pfnCompletionRoutine: PTIMERAPCROUTINE,
    lpArgToCompletionRoutine: LPVOID,
    WakeContext: PREASON_CONTEXT,
    TolerableDelay: ULONG,
) -> BOOL:
    """Set a timer, with how late it may be.

    hTimer, lpDueTime, lPeriod, pfnCompletionRoutine, lpArgToCompletionRoutine: as for
        SetWaitableTimer.
    WakeContext: why it may wake the machine, or None if it may not.
    TolerableDelay: milliseconds that it may be late; 0 for none, which a high-resolution
        timer needs.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setwaitabletimerex
    """


@kernel32(since="Windows NT 4.0")
def CancelWaitableTimer(hTimer: HANDLE) -> BOOL:
    """Stop a timer. Whether it is signalled stays as it is.

    hTimer: the timer, with TIMER_MODIFY_STATE access.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-cancelwaitabletimer
    """
