"""psapi.dll: which pages are resident, and which are locked."""

from __future__ import annotations

from typing import Any

from .binding import Library
from .structure import Structure, Union
from .types import BOOL, DWORD, HANDLE, PVOID, ULONG_PTR, Pointer

_psapi = Library("psapi.dll")


def _bits(first: int, count: int = 1) -> Any:
    """Return the property for `count` bits of ``Flags``."""
    return property(lambda block: block.Flags >> first & (1 << count) - 1)


class PSAPI_WORKING_SET_EX_BLOCK(Union):
    """What is known of one page.

    ``Valid``: it is in the working set, and the rest holds: ``Locked`` (by VirtualLock; not
    by I/O in flight), ``LargePage``, ``Win32Protection`` (PAGE_*), ``ShareCount`` (up to 7),
    ``Shared``, ``Node`` (NUMA). If it is not, only ``Shared`` and ``Bad`` hold.

    They are bit-fields of ``Flags`` in C, and properties here.

    Source: https://learn.microsoft.com/windows/win32/api/psapi/ns-psapi-psapi_working_set_ex_block
    """

    _fields_ = (("Flags", ULONG_PTR),)

    Valid = _bits(0)
    ShareCount = _bits(1, 3)
    Win32Protection = _bits(4, 11)
    Shared = _bits(15)
    Node = _bits(16, 6)
    Locked = _bits(22)
    LargePage = _bits(23)
    Bad = _bits(31)

    def __repr__(self) -> str:
        names = ["Valid", "Shared", "Bad"]
        if self.Valid:
            names += ["ShareCount", "Win32Protection", "Node", "Locked", "LargePage"]
        shown = ", ".join(f"{name}={getattr(self, name):#x}" for name in names)
        return f"PSAPI_WORKING_SET_EX_BLOCK({shown})"


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
