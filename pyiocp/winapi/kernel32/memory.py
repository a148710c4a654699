"""Memory: reserve, lock and protect pages, and the working set that limits locking."""

from __future__ import annotations

from ..structure import Structure, Union
from ..types import (
    BOOL,
    DWORD,
    DWORD_PTR,
    HANDLE,
    LPVOID,
    PDWORD,
    PSIZE_T,
    SIZE_T,
    WORD,
    Pointer,
)
from .library import kernel32


class _Processor(Structure):
    _fields_ = (("wProcessorArchitecture", WORD), ("wReserved", WORD))


class _Oem(Union):
    _anonymous_ = ("processor",)
    _fields_ = (("dwOemId", DWORD), ("processor", _Processor))


class SYSTEM_INFO(Structure):
    """Page size, address range and processors of this machine.

    ``dwPageSize`` is what is locked and protected, ``dwAllocationGranularity`` what
    VirtualAlloc reserves in; both in bytes.

    Source: https://learn.microsoft.com/windows/win32/api/sysinfoapi/ns-sysinfoapi-system_info
    """

    _anonymous_ = ("oem",)
    _fields_ = (
        ("oem", _Oem),
        ("dwPageSize", DWORD),
        ("lpMinimumApplicationAddress", LPVOID),
        ("lpMaximumApplicationAddress", LPVOID),
        ("dwActiveProcessorMask", DWORD_PTR),
        ("dwNumberOfProcessors", DWORD),
        ("dwProcessorType", DWORD),
        ("dwAllocationGranularity", DWORD),
        ("wProcessorLevel", WORD),
        ("wProcessorRevision", WORD),
    )
    _in_hexadecimal_ = ("dwActiveProcessorMask",)


LPSYSTEM_INFO = Pointer[SYSTEM_INFO]

# Memory that a function has allocated for its caller.
HLOCAL = HANDLE


@kernel32(since="Windows NT 3.1")
def VirtualAlloc(
    lpAddress: LPVOID,
    dwSize: SIZE_T,
    flAllocationType: DWORD,
    flProtect: DWORD,
) -> LPVOID:
    """Reserve or commit pages of this process. They are zero.

    lpAddress: where, or None for anywhere; rounded down to a page, or when reserving to
        the allocation granularity (64 KB).
    dwSize: bytes, rounded up to whole pages; with MEM_LARGE_PAGES a multiple of
        GetLargePageMinimum().
    flAllocationType: MEM_RESERVE and MEM_COMMIT, with MEM_LARGE_PAGES if wanted.
    flProtect: PAGE_READWRITE or another PAGE_* value.

    Returns the address, or None: ask last_error(). ERROR_NOT_ENOUGH_MEMORY (8);
    ERROR_COMMITMENT_LIMIT (1455); ERROR_PRIVILEGE_NOT_HELD (1314): large pages need
    SeLockMemoryPrivilege; ERROR_NO_SYSTEM_RESOURCES (1450): no large pages are left.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc
    """


@kernel32(since="Windows NT 3.1")
def VirtualFree(lpAddress: LPVOID, dwSize: SIZE_T, dwFreeType: DWORD) -> BOOL:
    """Give pages back.

    lpAddress: what VirtualAlloc returned; within it, for MEM_DECOMMIT.
    dwSize: 0 for MEM_RELEASE; bytes, for MEM_DECOMMIT.
    dwFreeType: MEM_RELEASE or MEM_DECOMMIT.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_PARAMETER (87): MEM_RELEASE with
    a size; ERROR_INVALID_ADDRESS (487): not what VirtualAlloc returned.

    Lifetime: nothing may be in flight there. Windows keeps the locked pages themselves,
    but what they hold is lost.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualfree
    """


@kernel32(since="Windows NT 3.1")
def VirtualLock(lpAddress: LPVOID, dwSize: SIZE_T) -> BOOL:
    """Lock pages into memory, so that they are not swapped out.

    lpAddress: an address in the first of them.
    dwSize: bytes; every page that holds one is locked: 2 bytes can be two pages.

    Returns 0 on failure: ask last_error(). ERROR_WORKING_SET_QUOTA (1453): more than the
    minimum working set, less a little, allows: raise it with SetProcessWorkingSetSizeEx.
    ERROR_NOACCESS (998): not committed, or PAGE_NOACCESS.

    Locking is not counted: one VirtualUnlock undoes any number.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtuallock
    """


@kernel32(since="Windows NT 3.1")
def VirtualUnlock(lpAddress: LPVOID, dwSize: SIZE_T) -> BOOL:
    """Unlock pages.

    lpAddress, dwSize: as for VirtualLock; every page of the range has to be locked.

    Returns 0 on failure: ask last_error(). ERROR_NOT_LOCKED (158): one of them was not;
    the call takes it out of the working set all the same.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualunlock
    """


@kernel32(since="Windows NT 3.1")
def VirtualProtect(
    lpAddress: LPVOID,
    dwSize: SIZE_T,
    flNewProtect: DWORD,
    lpflOldProtect: PDWORD,
) -> BOOL:
    """Change what may be done with pages.

    lpAddress, dwSize: the range, in bytes; every page that holds one is changed.
    flNewProtect: a PAGE_* value.
    lpflOldProtect: receives the first page's value before; required.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_ADDRESS (487): not committed;
    ERROR_NOACCESS (998): lpflOldProtect is None.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualprotect
    """


@kernel32(since="Windows Vista")
def GetProcessWorkingSetSizeEx(
    hProcess: HANDLE,
    lpMinimumWorkingSetSize: PSIZE_T,
    lpMaximumWorkingSetSize: PSIZE_T,
    Flags: PDWORD,
) -> BOOL:
    """Read how much memory a process may keep, of which it may lock nearly the minimum.

    hProcess: a process with PROCESS_QUERY_LIMITED_INFORMATION access.
    lpMinimumWorkingSetSize, lpMaximumWorkingSetSize: receive the bytes.
    Flags: receives QUOTA_LIMITS_HARDWS_* flags.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-getprocessworkingsetsizeex
    """


@kernel32(since="Windows Vista")
def SetProcessWorkingSetSizeEx(
    hProcess: HANDLE,
    dwMinimumWorkingSetSize: SIZE_T,
    dwMaximumWorkingSetSize: SIZE_T,
    Flags: DWORD,
) -> BOOL:
    """Set how much memory a process may keep.

    hProcess: a process with PROCESS_SET_QUOTA access.
    dwMinimumWorkingSetSize: bytes; 20 pages at the least. VirtualLock and the pages that
        overlapped I/O locks are limited by it.
    dwMaximumWorkingSetSize: bytes; 13 pages at the least, and not less than the minimum.
        Both as SIZE_T(-1) empty the working set.
    Flags: 0, or QUOTA_LIMITS_HARDWS_* to enforce or relax each limit.

    Returns 0 on failure: ask last_error(). ERROR_NO_SYSTEM_RESOURCES (1450): more than the
    machine has to spare; ERROR_PRIVILEGE_NOT_HELD (1314): raising it needs
    SeIncreaseWorkingSetPrivilege, which all users generally have.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-setprocessworkingsetsizeex
    """


@kernel32(since="Windows NT 3.1")
def GetSystemInfo(lpSystemInfo: LPSYSTEM_INFO) -> None:
    """Read the machine's page size and processors.

    lpSystemInfo: receives them.

    Source: https://learn.microsoft.com/windows/win32/api/sysinfoapi/nf-sysinfoapi-getsysteminfo
    """


@kernel32(since="Windows Vista")
def GetLargePageMinimum() -> SIZE_T:
    """Return the size in bytes of a large page, or 0 if the processor has none.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-getlargepageminimum
    """


@kernel32(since="Windows NT 3.1")
def LocalFree(hMem: HLOCAL) -> HLOCAL:
    """Free what another function has allocated for its caller, and says so.

    hMem: the address; None does nothing.

    Returns None, or `hMem` on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-localfree
    """
