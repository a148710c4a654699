"""Files and devices: open, control, cancel, and what belongs to a file object."""

from __future__ import annotations

from ..binding import Callback
from ..errorcodes import status_name
from ..structure import Structure, Union
from ..types import (
    ACCESS_MASK,
    BOOLEAN,
    HANDLE,
    INT,
    LARGE_INTEGER,
    NTSTATUS,
    PHANDLE,
    PLARGE_INTEGER,
    PVOID,
    ULONG,
    ULONG_PTR,
    Pointer,
)
from .library import ntdll
from .objects import POBJECT_ATTRIBUTES

FILE_INFORMATION_CLASS = INT
FS_INFORMATION_CLASS = INT

# NtCreateFile: CreateDisposition.
FILE_SUPERSEDE = 0x00000000
FILE_OPEN = 0x00000001
FILE_CREATE = 0x00000002
FILE_OPEN_IF = 0x00000003
FILE_OVERWRITE = 0x00000004
FILE_OVERWRITE_IF = 0x00000005

# NtCreateFile: CreateOptions. Without FILE_SYNCHRONOUS_IO_* the handle is an overlapped one.
FILE_DIRECTORY_FILE = 0x00000001
FILE_WRITE_THROUGH = 0x00000002
FILE_SEQUENTIAL_ONLY = 0x00000004
FILE_NO_INTERMEDIATE_BUFFERING = 0x00000008
FILE_SYNCHRONOUS_IO_ALERT = 0x00000010
FILE_SYNCHRONOUS_IO_NONALERT = 0x00000020
FILE_NON_DIRECTORY_FILE = 0x00000040
FILE_RANDOM_ACCESS = 0x00000800
FILE_DELETE_ON_CLOSE = 0x00001000
FILE_OPEN_FOR_BACKUP_INTENT = 0x00004000
FILE_OPEN_REPARSE_POINT = 0x00200000

# NtSetInformationFile and NtQueryInformationFile: FileInformationClass.
FileStandardInformation = 5
FileModeInformation = 16
FileIoCompletionNotificationInformation = 41
FileReplaceCompletionInformation = 61

# NtQueryVolumeInformationFile: FsInformationClass.
FileFsSizeInformation = 3


class _Outcome(Union):
    _fields_ = (("Status", NTSTATUS), ("Pointer", PVOID))


class IO_STATUS_BLOCK(Structure):
    """How a request ended: its NTSTATUS, and usually a number of bytes.

    An OVERLAPPED begins with one: ``Status`` is the low half of its ``Internal``,
    ``Information`` its ``InternalHigh``.

    Lifetime: the kernel writes into it until the request has ended.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_status_block
    """

    _anonymous_ = ("outcome",)
    _fields_ = (("outcome", _Outcome), ("Information", ULONG_PTR))

    def __repr__(self) -> str:
        return f"IO_STATUS_BLOCK({status_name(self.Status)}, Information={self.Information})"


PIO_STATUS_BLOCK = Pointer[IO_STATUS_BLOCK]


class PIO_APC_ROUTINE(Callback):
    """A function that is called, as an APC in the thread that started it, when a request ended.

    ApcContext: what the request was given.
    IoStatusBlock: the request's status block.
    Reserved: nothing.

    Lifetime: the instance must be kept until the call has come.

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntdeviceiocontrolfile
    """

    @staticmethod
    def signature(ApcContext: PVOID, IoStatusBlock: PIO_STATUS_BLOCK, Reserved: ULONG) -> None: ...


class FILE_COMPLETION_INFORMATION(Structure):
    """The port and key of a handle; a NULL ``Port`` takes it off its port.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_completion_information
    """

    _fields_ = (("Port", HANDLE), ("Key", PVOID))


PFILE_COMPLETION_INFORMATION = Pointer[FILE_COMPLETION_INFORMATION]


class FILE_IO_COMPLETION_NOTIFICATION_INFORMATION(Structure):
    """The modes that SetFileCompletionNotificationModes has set: FILE_SKIP_* flags.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setfilecompletionnotificationmodes
    """

    _fields_ = (("Flags", ULONG),)
    _in_hexadecimal_ = ("Flags",)


PFILE_IO_COMPLETION_NOTIFICATION_INFORMATION = Pointer[FILE_IO_COMPLETION_NOTIFICATION_INFORMATION]


class FILE_STANDARD_INFORMATION(Structure):
    """The size of a file in bytes, and whether it is a directory.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_standard_information
    """

    _fields_ = (
        ("AllocationSize", LARGE_INTEGER),
        ("EndOfFile", LARGE_INTEGER),
        ("NumberOfLinks", ULONG),
        ("DeletePending", BOOLEAN),
        ("Directory", BOOLEAN),
    )


PFILE_STANDARD_INFORMATION = Pointer[FILE_STANDARD_INFORMATION]


class FILE_MODE_INFORMATION(Structure):
    """How a file was opened: NtCreateFile's options FILE_WRITE_THROUGH and its like.

    Without FILE_SYNCHRONOUS_IO_* the handle is an overlapped one.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_mode_information
    """

    _fields_ = (("Mode", ULONG),)
    _in_hexadecimal_ = ("Mode",)


PFILE_MODE_INFORMATION = Pointer[FILE_MODE_INFORMATION]


class FILE_FS_SIZE_INFORMATION(Structure):
    """The size of a volume in allocation units, and the size of those in sectors of bytes.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_file_fs_size_information
    """

    _fields_ = (
        ("TotalAllocationUnits", LARGE_INTEGER),
        ("AvailableAllocationUnits", LARGE_INTEGER),
        ("SectorsPerAllocationUnit", ULONG),
        ("BytesPerSector", ULONG),
    )


PFILE_FS_SIZE_INFORMATION = Pointer[FILE_FS_SIZE_INFORMATION]


@ntdll(since="Windows NT 3.1")
def NtCreateFile(
    FileHandle: PHANDLE,
    DesiredAccess: ACCESS_MASK,
    ObjectAttributes: POBJECT_ATTRIBUTES,
    IoStatusBlock: PIO_STATUS_BLOCK,
    AllocationSize: PLARGE_INTEGER,
    FileAttributes: ULONG,
    ShareAccess: ULONG,
    CreateDisposition: ULONG,
    CreateOptions: ULONG,
    EaBuffer: PVOID,
    EaLength: ULONG,
) -> NTSTATUS:
    r"""Open or create a file or device by its name in the kernel.

    FileHandle: receives the handle; CloseHandle closes it.
    DesiredAccess: as for CreateFileW.
    ObjectAttributes: the name, as ``OBJECT_ATTRIBUTES.of(r"\Device\Afd\name")``.
    IoStatusBlock: receives the outcome.
    AllocationSize: None, or bytes to allocate.
    FileAttributes: FILE_ATTRIBUTE_*; 0 for a device.
    ShareAccess: FILE_SHARE_*.
    CreateDisposition: FILE_OPEN and its like.
    CreateOptions: 0 for a handle that is overlapped; otherwise the options above.
    EaBuffer, EaLength: extended attributes, None and 0.

    Returns an NTSTATUS. STATUS_OBJECT_NAME_NOT_FOUND (0xC0000034),
    STATUS_OBJECT_PATH_NOT_FOUND (0xC000003A), STATUS_ACCESS_DENIED (0xC0000022).

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntcreatefile
    """


@ntdll(since="Windows NT 3.1")
def NtDeviceIoControlFile(
    FileHandle: HANDLE,
    Event: HANDLE,
    ApcRoutine: PIO_APC_ROUTINE,
    ApcContext: PVOID,
    IoStatusBlock: PIO_STATUS_BLOCK,
    IoControlCode: ULONG,
    InputBuffer: PVOID,
    InputBufferLength: ULONG,
    OutputBuffer: PVOID,
    OutputBufferLength: ULONG,
) -> NTSTATUS:
    """Send a control code to a device.

    FileHandle: the device.
    Event: an event to set when it has ended, or None.
    ApcRoutine: None for a handle on a port.
    ApcContext: with a port, the packet's lpOverlapped, and None means no packet.
    IoStatusBlock: receives the outcome.
    IoControlCode: such as IOCTL_AFD_POLL.
    InputBuffer, InputBufferLength: what the code needs, and its bytes.
    OutputBuffer, OutputBufferLength: where the answer goes, and the room there in bytes.

    Returns an NTSTATUS. STATUS_PENDING (0x103): it has started.

    Lifetime: buffers and status block stay until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntdeviceiocontrolfile
    """


@ntdll(since="Windows Vista")
def NtCancelIoFileEx(
    FileHandle: HANDLE,
    IoRequestToCancel: PIO_STATUS_BLOCK,
    IoStatusBlock: PIO_STATUS_BLOCK,
) -> NTSTATUS:
    """Ask for one request, or all of this process on a handle, to be cancelled.

    FileHandle: the handle.
    IoRequestToCancel: the status block that the request was started with; None for all.
    IoStatusBlock: receives the outcome of this call.

    Returns an NTSTATUS. STATUS_NOT_FOUND (0xC0000225): no such request runs, it has
    probably completed already.

    The request does not end by this: it still completes. CancelIoEx is its public form.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-cancelioex
    and https://github.com/winsiderss/phnt (ntioapi.h), for the signature.
    """


@ntdll(since="Windows NT 3.1")
def NtQueryInformationFile(
    FileHandle: HANDLE,
    IoStatusBlock: PIO_STATUS_BLOCK,
    FileInformation: PVOID,
    Length: ULONG,
    FileInformationClass: FILE_INFORMATION_CLASS,
) -> NTSTATUS:
    """Ask what belongs to a file object.

    FileHandle: the handle.
    IoStatusBlock: receives the outcome.
    FileInformation, Length: room for the structure of that class, in bytes.
    FileInformationClass: FileStandardInformation, FileModeInformation,
        FileIoCompletionNotificationInformation (Windows Vista).

    Returns an NTSTATUS. STATUS_INFO_LENGTH_MISMATCH (0xC0000004): not that size;
    STATUS_OBJECT_TYPE_MISMATCH (0xC0000024): not a handle of a file, pipe, socket or device.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntqueryinformationfile
    """


@ntdll(since="Windows NT 3.1")
def NtSetInformationFile(
    FileHandle: HANDLE,
    IoStatusBlock: PIO_STATUS_BLOCK,
    FileInformation: PVOID,
    Length: ULONG,
    FileInformationClass: FILE_INFORMATION_CLASS,
) -> NTSTATUS:
    """Change what belongs to a file object, such as its port.

    FileHandle: the handle.
    IoStatusBlock: receives the outcome.
    FileInformation, Length: the structure of that class, its size in bytes.
    FileInformationClass: FileReplaceCompletionInformation (Windows 8.1) with a
        FILE_COMPLETION_INFORMATION moves a handle to another port, or off its port.

    Returns an NTSTATUS. STATUS_INVALID_INFO_CLASS (0xC0000003): this Windows lacks it.

    Do it while nothing is in flight on the handle: which port gets the packet of what is,
    Microsoft does not say.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntsetinformationfile
    """


@ntdll(since="Windows NT 3.1")
def NtQueryVolumeInformationFile(
    FileHandle: HANDLE,
    IoStatusBlock: PIO_STATUS_BLOCK,
    FsInformation: PVOID,
    Length: ULONG,
    FsInformationClass: FS_INFORMATION_CLASS,
) -> NTSTATUS:
    """Ask what belongs to the volume that a file is on.

    FileHandle: the file.
    IoStatusBlock: receives the outcome.
    FsInformation, Length: room for the structure of that class, in bytes.
    FsInformationClass: FileFsSizeInformation, for a FILE_FS_SIZE_INFORMATION.

    Returns an NTSTATUS. STATUS_INVALID_DEVICE_REQUEST (0xC0000010),
    STATUS_INVALID_PARAMETER (0xC000000D): it is no file of a volume.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntqueryvolumeinformationfile
    """
