"""What the system as a whole knows of its processes."""

from __future__ import annotations

from ..structure import Structure
from ..types import (
    BYTE,
    INT,
    NTSTATUS,
    PULONG,
    PVOID,
    ULONG,
    USHORT,
    Pointer,
)
from .library import ntdll

SYSTEM_INFORMATION_CLASS = INT

# NtQuerySystemInformation: SystemInformationClass.
SystemHandleInformation = 16


class SYSTEM_HANDLE_ENTRY(Structure):
    """A handle: the process that has it, its type, its number and its object.

    Numbers over 16 bits are cut off.

    Source: https://www.geoffchappell.com/studies/windows/km/ntoskrnl/api/ex/sysinfo/handle_table_entry.htm
    """

    _fields_ = (
        ("OwnerPid", ULONG),
        ("ObjectType", BYTE),
        ("HandleFlags", BYTE),
        ("HandleValue", USHORT),
        ("ObjectPointer", PVOID),
        ("AccessMask", ULONG),
    )


PSYSTEM_HANDLE_ENTRY = Pointer[SYSTEM_HANDLE_ENTRY]


class SYSTEM_HANDLE_INFORMATION(Structure):
    """``Count`` handles; the first stands at ``Handle``, the others follow.

    Source: https://www.geoffchappell.com/studies/windows/km/ntoskrnl/api/ex/sysinfo/handle.htm
    """

    _fields_ = (("Count", ULONG), ("Handle", SYSTEM_HANDLE_ENTRY * 1))


PSYSTEM_HANDLE_INFORMATION = Pointer[SYSTEM_HANDLE_INFORMATION]


@ntdll(since="Windows NT 3.5")
def NtQuerySystemInformation(
    SystemInformationClass: SYSTEM_INFORMATION_CLASS,
    SystemInformation: PVOID,
    SystemInformationLength: ULONG,
    ReturnLength: PULONG,
) -> NTSTATUS:
    """Ask for what the system knows, of all processes.

    SystemInformationClass: SystemHandleInformation.
    SystemInformation: the memory to fill, for that a SYSTEM_HANDLE_INFORMATION.
    SystemInformationLength: its size in bytes.
    ReturnLength: receives the bytes that it needs, or None.

    Returns an NTSTATUS: STATUS_INFO_LENGTH_MISMATCH when the memory is too small; try again
    with a little more than ReturnLength says, because handles come and go.

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntquerysysteminformation
    """
