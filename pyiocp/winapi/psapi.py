"""psapi.dll: how much memory a process has, which pages are resident, and which are locked."""

from __future__ import annotations

import ctypes

from .binding import Library
from .structure import Structure, Union, describe_fields
from .types import BOOL, DWORD, HANDLE, PVOID, SIZE_T, ULONG_PTR, Pointer

_psapi = Library("psapi.dll")

# 64-bit Windows has 32 more bits, reserved.
_REST = (("ReservedUlong", ULONG_PTR, 32),) if ctypes.sizeof(PVOID) == 8 else ()


class _Valid(Structure):
    _fields_ = (
        ("Valid", ULONG_PTR, 1),
        ("ShareCount", ULONG_PTR, 3),
        ("Win32Protection", ULONG_PTR, 11),
        ("Shared", ULONG_PTR, 1),
        ("Node", ULONG_PTR, 6),
        ("Locked", ULONG_PTR, 1),
        ("LargePage", ULONG_PTR, 1),
        ("Reserved", ULONG_PTR, 7),
        ("Bad", ULONG_PTR, 1),
        *_REST,
    )
    _in_hexadecimal_ = ("Win32Protection",)


class _Invalid(Structure):
    _fields_ = (
        ("Valid", ULONG_PTR, 1),
        ("Reserved0", ULONG_PTR, 14),
        ("Shared", ULONG_PTR, 1),
        ("Reserved1", ULONG_PTR, 15),
        ("Bad", ULONG_PTR, 1),
        *_REST,
    )


class PSAPI_WORKING_SET_EX_BLOCK(Union):
    """What is known of one page.

    ``Valid``: it is in the working set, and the other bits hold: ``Locked`` (by VirtualLock;
    not by I/O in flight), ``LargePage``, ``Win32Protection`` (PAGE_*), ``ShareCount`` (up to
    7), ``Shared``, ``Node`` (NUMA). If it is not, only ``Invalid`` holds.

    Source: https://learn.microsoft.com/windows/win32/api/psapi/ns-psapi-psapi_working_set_ex_block
    """

    _anonymous_ = ("page",)
    _fields_ = (("Flags", ULONG_PTR), ("page", _Valid), ("Invalid", _Invalid))

    def __repr__(self) -> str:
        shown = self.page if self.Valid else self.Invalid
        return f"PSAPI_WORKING_SET_EX_BLOCK({describe_fields(shown)})"


PPSAPI_WORKING_SET_EX_BLOCK = Pointer[PSAPI_WORKING_SET_EX_BLOCK]


class PSAPI_WORKING_SET_EX_INFORMATION(Structure):
    """One page to ask about: any address in it, and then the answer.

    Source: https://learn.microsoft.com/windows/win32/api/psapi/ns-psapi-psapi_working_set_ex_information
    """

    _fields_ = (
        ("VirtualAddress", PVOID),
        ("VirtualAttributes", PSAPI_WORKING_SET_EX_BLOCK),
    )


PPSAPI_WORKING_SET_EX_INFORMATION = Pointer[PSAPI_WORKING_SET_EX_INFORMATION]


@_psapi(since="Windows Vista")
def QueryWorkingSetEx(hProcess: HANDLE, pv: PVOID, cb: DWORD) -> BOOL:
    """Tell of each page in a list whether it is resident and locked.

    hProcess: a process with PROCESS_QUERY_INFORMATION access.
    pv: an array of PSAPI_WORKING_SET_EX_INFORMATION with VirtualAddress set; receives the
        rest.
    cb: the size of the array in bytes.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/psapi/nf-psapi-queryworkingsetex
    """


class PROCESS_MEMORY_COUNTERS(Structure):
    """How much memory a process has; in bytes, but for ``PageFaultCount``.

    ``PagefileUsage`` is what is committed for this process alone, ``WorkingSetSize`` what is
    in memory of all that it uses.

    Source: https://learn.microsoft.com/windows/win32/api/psapi/ns-psapi-process_memory_counters
    """

    _fields_ = (
        ("cb", DWORD),
        ("PageFaultCount", DWORD),
        ("PeakWorkingSetSize", SIZE_T),
        ("WorkingSetSize", SIZE_T),
        ("QuotaPeakPagedPoolUsage", SIZE_T),
        ("QuotaPagedPoolUsage", SIZE_T),
        ("QuotaPeakNonPagedPoolUsage", SIZE_T),
        ("QuotaNonPagedPoolUsage", SIZE_T),
        ("PagefileUsage", SIZE_T),
        ("PeakPagefileUsage", SIZE_T),
    )


PPROCESS_MEMORY_COUNTERS = Pointer[PROCESS_MEMORY_COUNTERS]


@_psapi(since="Windows XP")
def GetProcessMemoryInfo(
    Process: HANDLE, ppsmemCounters: PPROCESS_MEMORY_COUNTERS, cb: DWORD
) -> BOOL:
    """Tell how much memory a process has.

    Process: a process with PROCESS_QUERY_LIMITED_INFORMATION and PROCESS_VM_READ access.
    ppsmemCounters: receives the figures.
    cb: the size of the structure in bytes.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/psapi/nf-psapi-getprocessmemoryinfo
    """
