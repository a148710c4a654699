"""Job objects: groups of processes, and the packets that tell of them."""

from __future__ import annotations

from ..structure import Structure
from ..types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LARGE_INTEGER,
    LPCWSTR,
    LPDWORD,
    LPVOID,
    PVOID,
    SIZE_T,
    UINT,
    ULONG_PTR,
    ULONGLONG,
)
from .handles import LPSECURITY_ATTRIBUTES
from .library import kernel32

JOBOBJECTINFOCLASS = INT


class JOBOBJECT_ASSOCIATE_COMPLETION_PORT(Structure):
    """The port that a job posts its messages to.

    A packet carries ``CompletionKey`` as its key, a JOB_OBJECT_MSG_* as its number of
    bytes, and as its OVERLAPPED pointer the identifier of the process, if there is one. A
    NULL ``CompletionPort`` takes the job off (Windows 8).

    Except for JOB_OBJECT_MSG_NOTIFICATION_LIMIT, Windows does not promise to deliver a
    message: confirm with QueryInformationJobObject.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_associate_completion_port
    """

    _fields_ = (("CompletionKey", PVOID), ("CompletionPort", HANDLE))


class JOBOBJECT_BASIC_LIMIT_INFORMATION(Structure):
    """Limits of a job; ``LimitFlags`` says which of the others hold.

    Times are in units of 100 ns, working sets in bytes.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_basic_limit_information
    """

    _fields_ = (
        ("PerProcessUserTimeLimit", LARGE_INTEGER),
        ("PerJobUserTimeLimit", LARGE_INTEGER),
        ("LimitFlags", DWORD),
        ("MinimumWorkingSetSize", SIZE_T),
        ("MaximumWorkingSetSize", SIZE_T),
        ("ActiveProcessLimit", DWORD),
        ("Affinity", ULONG_PTR),
        ("PriorityClass", DWORD),
        ("SchedulingClass", DWORD),
    )
    _in_hexadecimal_ = ("LimitFlags", "Affinity", "PriorityClass")


class IO_COUNTERS(Structure):
    """How many operations a process or job has done, and how many bytes they moved.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-io_counters
    """

    _fields_ = (
        ("ReadOperationCount", ULONGLONG),
        ("WriteOperationCount", ULONGLONG),
        ("OtherOperationCount", ULONGLONG),
        ("ReadTransferCount", ULONGLONG),
        ("WriteTransferCount", ULONGLONG),
        ("OtherTransferCount", ULONGLONG),
    )


class JOBOBJECT_EXTENDED_LIMIT_INFORMATION(Structure):
    """Limits of a job and of its memory, in bytes. ``IoInfo`` is not used.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_extended_limit_information
    """

    _fields_ = (
        ("BasicLimitInformation", JOBOBJECT_BASIC_LIMIT_INFORMATION),
        ("IoInfo", IO_COUNTERS),
        ("ProcessMemoryLimit", SIZE_T),
        ("JobMemoryLimit", SIZE_T),
        ("PeakProcessMemoryUsed", SIZE_T),
        ("PeakJobMemoryUsed", SIZE_T),
    )


class JOBOBJECT_BASIC_ACCOUNTING_INFORMATION(Structure):
    """What the processes of a job have used; ``ActiveProcesses`` says how many run.

    Times are in units of 100 ns.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_basic_accounting_information
    """

    _fields_ = (
        ("TotalUserTime", LARGE_INTEGER),
        ("TotalKernelTime", LARGE_INTEGER),
        ("ThisPeriodTotalUserTime", LARGE_INTEGER),
        ("ThisPeriodTotalKernelTime", LARGE_INTEGER),
        ("TotalPageFaultCount", DWORD),
        ("TotalProcesses", DWORD),
        ("ActiveProcesses", DWORD),
        ("TotalTerminatedProcesses", DWORD),
    )


class JOBOBJECT_BASIC_AND_IO_ACCOUNTING_INFORMATION(Structure):
    """What the processes of a job have used, with their I/O.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_basic_and_io_accounting_information
    """

    _fields_ = (
        ("BasicInfo", JOBOBJECT_BASIC_ACCOUNTING_INFORMATION),
        ("IoInfo", IO_COUNTERS),
    )


class JOBOBJECT_BASIC_PROCESS_ID_LIST(Structure):
    """The processes of a job. The list goes on past its first element as far as there is room.

    ``NumberOfAssignedProcesses`` counts all, ``NumberOfProcessIdsInList`` those that fitted.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_basic_process_id_list
    """

    _fields_ = (
        ("NumberOfAssignedProcesses", DWORD),
        ("NumberOfProcessIdsInList", DWORD),
        ("ProcessIdList", ULONG_PTR * 1),
    )


@kernel32(since="Windows 2000")
def CreateJobObjectW(lpJobAttributes: LPSECURITY_ATTRIBUTES, lpName: LPCWSTR) -> HANDLE:
    """Create or open a job.

    lpJobAttributes: None for the defaults.
    lpName: None, or a name to share it by.

    Returns a handle, or None: ask last_error(). ERROR_ALREADY_EXISTS (183) with a valid
    handle: the name was there.

    A job lives as long as a handle of it or a process in it.

    Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-createjobobjectw
    """


@kernel32(since="Windows 2000")
def SetInformationJobObject(
    hJob: HANDLE,
    JobObjectInformationClass: JOBOBJECTINFOCLASS,
    lpJobObjectInformation: LPVOID,
    cbJobObjectInformationLength: DWORD,
) -> BOOL:
    """Set a job's limits, or its port.

    hJob: a job with JOB_OBJECT_SET_ATTRIBUTES access.
    JobObjectInformationClass: which structure it is, such as
        JobObjectAssociateCompletionPortInformation or JobObjectExtendedLimitInformation.
    lpJobObjectInformation, cbJobObjectInformationLength: the structure, its size in bytes.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_PARAMETER (87): a limit that does
    not make sense, or a second port; ERROR_BAD_LENGTH (24): not that structure's size.

    Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-setinformationjobobject
    """


@kernel32(since="Windows 2000")
def QueryInformationJobObject(
    hJob: HANDLE,
    JobObjectInformationClass: JOBOBJECTINFOCLASS,
    lpJobObjectInformation: LPVOID,
    cbJobObjectInformationLength: DWORD,
    lpReturnLength: LPDWORD,
) -> BOOL:
    """Read a job's limits, processes or accounts.

    hJob: a job with JOB_OBJECT_QUERY access, or None for the one that this process is in.
    JobObjectInformationClass: which structure it is, such as
        JobObjectBasicAccountingInformation or JobObjectBasicProcessIdList.
    lpJobObjectInformation, cbJobObjectInformationLength: room for it, in bytes.
    lpReturnLength: receives the bytes written, or None.

    Returns 0 on failure: ask last_error(). ERROR_MORE_DATA (234): more processes than room.

    Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-queryinformationjobobject
    """


@kernel32(since="Windows 2000")
def AssignProcessToJobObject(hJob: HANDLE, hProcess: HANDLE) -> BOOL:
    """Put a process, and the children that it will have, into a job for good.

    hJob: a job with JOB_OBJECT_ASSIGN_PROCESS access.
    hProcess: a process with PROCESS_SET_QUOTA and PROCESS_TERMINATE access.

    Returns 0 on failure: ask last_error(). ERROR_ACCESS_DENIED (5): before Windows 8, it is
    in a job already; ERROR_NOT_ENOUGH_QUOTA (1816): the job's limit of processes.

    Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-assignprocesstojobobject
    """


@kernel32(since="Windows 2000")
def TerminateJobObject(hJob: HANDLE, uExitCode: UINT) -> BOOL:
    """End all processes of a job, and of the jobs in it.

    hJob: a job with JOB_OBJECT_TERMINATE access.
    uExitCode: what each of them ends with.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-terminatejobobject
    """
