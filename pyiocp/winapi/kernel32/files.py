"""Files: open, read, write, size, position, locks, and device control."""

from __future__ import annotations

from ..overlapped import LPOVERLAPPED
from ..structure import Structure, Union
from ..types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LARGE_INTEGER,
    LPCVOID,
    LPCWSTR,
    LPDWORD,
    LPVOID,
    PLARGE_INTEGER,
    PVOID,
    ULONGLONG,
    Pointer,
)
from .handles import LPSECURITY_ATTRIBUTES
from .library import kernel32
from .ports import LPOVERLAPPED_COMPLETION_ROUTINE


class FILE_SEGMENT_ELEMENT(Union):
    """One page of memory for ReadFileScatter or WriteFileGather.

    ``Buffer`` is the page's address; ``Alignment`` makes the element 8 bytes wide
    everywhere: on 32-bit Windows write the address there, sign-extended. An array of them
    ends with one that is zero.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-file_segment_element
    """

    _fields_ = (("Buffer", PVOID), ("Alignment", ULONGLONG))

    def __repr__(self) -> str:
        return f"FILE_SEGMENT_ELEMENT({self.Alignment:#x})"


FILE_INFO_BY_HANDLE_CLASS = INT

# SetFileInformationByHandle: FileInformationClass.
FileEndOfFileInfo = 6


class FILE_END_OF_FILE_INFO(Structure):
    """``EndOfFile``: how many bytes the file shall have.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/ns-winbase-file_end_of_file_info
    """

    _fields_ = (("EndOfFile", LARGE_INTEGER),)


@kernel32(since="Windows NT 3.1")
def CreateFileW(
    lpFileName: LPCWSTR,
    dwDesiredAccess: DWORD,
    dwShareMode: DWORD,
    lpSecurityAttributes: LPSECURITY_ATTRIBUTES,
    dwCreationDisposition: DWORD,
    dwFlagsAndAttributes: DWORD,
    hTemplateFile: HANDLE,
) -> HANDLE:
    r"""Open or create a file, directory, pipe end or device.

    lpFileName: the name: a path, ``\\.\pipe\name``, ``\\.\device``.
    dwDesiredAccess: GENERIC_READ, GENERIC_WRITE, FILE_LIST_DIRECTORY ...
    dwShareMode: what other handles of it may do meanwhile: FILE_SHARE_*; 0 excludes all.
    lpSecurityAttributes: None for the defaults.
    dwCreationDisposition: CREATE_NEW, CREATE_ALWAYS, OPEN_EXISTING, OPEN_ALWAYS,
        TRUNCATE_EXISTING.
    dwFlagsAndAttributes: FILE_ATTRIBUTE_* and FILE_FLAG_*. FILE_FLAG_OVERLAPPED for
        overlapped I/O and ports; FILE_FLAG_BACKUP_SEMANTICS to open a directory;
        FILE_FLAG_NO_BUFFERING for ReadFileScatter; SECURITY_SQOS_PRESENT with a
        SECURITY_* level to limit what a pipe's server may do in this client's name.
    hTemplateFile: None.

    Returns a handle, or INVALID_HANDLE_VALUE: ask last_error(). ERROR_FILE_NOT_FOUND (2),
    ERROR_PATH_NOT_FOUND (3), ERROR_ACCESS_DENIED (5), ERROR_SHARING_VIOLATION (32),
    ERROR_FILE_EXISTS (80), ERROR_PIPE_BUSY (231): every instance of the pipe is taken,
    wait with WaitNamedPipeW and try again. ERROR_ALREADY_EXISTS (183) with a valid handle
    says that CREATE_ALWAYS or OPEN_ALWAYS found the file.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    """


@kernel32(since="Windows Vista")
def ReOpenFile(
    hOriginalFile: HANDLE, dwDesiredAccess: DWORD, dwShareMode: DWORD, dwFlagsAndAttributes: DWORD
) -> HANDLE:
    """Open the file that a handle is of once more, with other access, sharing and flags.

    hOriginalFile: a handle of a file, made by CreateFileW; not of a pipe.
    dwDesiredAccess: GENERIC_READ, GENERIC_WRITE ... as for CreateFileW.
    dwShareMode: FILE_SHARE_*; it has to go with the handles that there are.
    dwFlagsAndAttributes: FILE_FLAG_*, such as FILE_FLAG_OVERLAPPED. No FILE_ATTRIBUTE_*.

    Returns a handle with a position of its own, or INVALID_HANDLE_VALUE: ask last_error().
    ERROR_SHARING_VIOLATION (32), ERROR_ACCESS_DENIED (5): the file is being deleted, for one.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-reopenfile
    """


@kernel32(since="Windows NT 3.1")
def ReadFile(
    hFile: HANDLE,
    lpBuffer: LPVOID,
    nNumberOfBytesToRead: DWORD,
    lpNumberOfBytesRead: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Read from a file, pipe or device.

    hFile: a handle with GENERIC_READ access.
    lpBuffer: where the bytes go.
    nNumberOfBytesToRead: how many at most.
    lpNumberOfBytesRead: receives how many it was, if the call ends at once; None for
        overlapped calls, where the number comes with the completion.
    lpOverlapped: the operation, its Offset the position in the file; required if the
        handle was opened with FILE_FLAG_OVERLAPPED, otherwise None or a position.

    Returns nonzero if it is done (an associated port still gets a packet, unless
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS). 0: ask last_error(). ERROR_IO_PENDING (997): it
    has started. ERROR_HANDLE_EOF (38): the position is at or past the end of the file;
    ERROR_BROKEN_PIPE (109): the pipe's other end is gone; ERROR_MORE_DATA (234): the
    message is longer than the buffer; ERROR_INVALID_USER_BUFFER (1784),
    ERROR_NOT_ENOUGH_MEMORY (8): too much in flight; ERROR_NOT_ENOUGH_QUOTA (1816),
    ERROR_WORKING_SET_QUOTA (1453): the buffer's pages could not be locked.

    Lifetime: buffer and OVERLAPPED stay as they are until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile
    """


@kernel32(since="Windows NT 3.1")
def WriteFile(
    hFile: HANDLE,
    lpBuffer: LPCVOID,
    nNumberOfBytesToWrite: DWORD,
    lpNumberOfBytesWritten: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Write to a file, pipe or device.

    hFile: a handle with GENERIC_WRITE access.
    lpBuffer: the bytes.
    nNumberOfBytesToWrite: how many; 0 writes an empty message to a message pipe.
    lpNumberOfBytesWritten: receives how many it was, if the call ends at once; None for
        overlapped calls.
    lpOverlapped: the operation, its Offset the position in the file; Offset and
        OffsetHigh both 0xFFFFFFFF write at the end.

    Returns nonzero if it is done. 0: ask last_error(). ERROR_IO_PENDING (997): it has
    started. ERROR_NO_DATA (232), ERROR_BROKEN_PIPE (109): the pipe's other end is closing
    or gone; ERROR_DISK_FULL (112); ERROR_LOCK_VIOLATION (33); and, for too much in flight
    or too many locked pages, the same four as ReadFile.

    Writes that extend a file, or go to a compressed one, are done before the call
    returns even on an overlapped handle.

    Lifetime: buffer and OVERLAPPED stay as they are until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile
    """


@kernel32(since="Windows NT 3.1")
def ReadFileEx(
    hFile: HANDLE,
    lpBuffer: LPVOID,
    nNumberOfBytesToRead: DWORD,
    lpOverlapped: LPOVERLAPPED,
    lpCompletionRoutine: LPOVERLAPPED_COMPLETION_ROUTINE,
) -> BOOL:
    """Read, and have a function called in this thread when it is done.

    hFile: a handle opened with FILE_FLAG_OVERLAPPED that is on no port.
    lpBuffer, nNumberOfBytesToRead: as for ReadFile.
    lpOverlapped: the operation; hEvent is not read and is free for the caller's use.
    lpCompletionRoutine: called as an APC while this thread waits alertably.

    Returns nonzero if it has started; then look at last_error() too, where
    ERROR_MORE_DATA (234) is a warning. 0: ask last_error(); the routine is not called.

    Lifetime: buffer, OVERLAPPED and routine stay until the routine has been called.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfileex
    """


@kernel32(since="Windows NT 3.1")
def WriteFileEx(
    hFile: HANDLE,
    lpBuffer: LPCVOID,
    nNumberOfBytesToWrite: DWORD,
    lpOverlapped: LPOVERLAPPED,
    lpCompletionRoutine: LPOVERLAPPED_COMPLETION_ROUTINE,
) -> BOOL:
    """Write, and have a function called in this thread when it is done.

    The parameters are WriteFile's, and lpCompletionRoutine is ReadFileEx's.

    Returns nonzero if it has started. 0: ask last_error(); the routine is not called.

    Lifetime: buffer, OVERLAPPED and routine stay until the routine has been called.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefileex
    """


@kernel32(since="Windows NT 4.0")
def ReadFileScatter(
    hFile: HANDLE,
    aSegmentArray: Pointer[FILE_SEGMENT_ELEMENT],
    nNumberOfBytesToRead: DWORD,
    lpReserved: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Read one stretch of a file into several pages of memory.

    hFile: opened with FILE_FLAG_OVERLAPPED and FILE_FLAG_NO_BUFFERING.
    aSegmentArray: one element per page, each page-aligned and one page long, and a zero
        element at the end.
    nNumberOfBytesToRead: a multiple of the volume's sector size.
    lpReserved: None.
    lpOverlapped: the operation; its Offset is a multiple of the sector size too.

    Returns as ReadFile does. ERROR_INVALID_PARAMETER (87): something is not aligned.

    Lifetime: array, pages and OVERLAPPED stay until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfilescatter
    """


@kernel32(since="Windows NT 4.0")
def WriteFileGather(
    hFile: HANDLE,
    aSegmentArray: Pointer[FILE_SEGMENT_ELEMENT],
    nNumberOfBytesToWrite: DWORD,
    lpReserved: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Write several pages of memory to one stretch of a file.

    The parameters, their alignment, the result and the lifetimes are ReadFileScatter's.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefilegather
    """


@kernel32(since="Windows NT 3.1")
def FlushFileBuffers(hFile: HANDLE) -> BOOL:
    """Have everything written so far go to the disk, or be read by a pipe's other end.

    hFile: a handle with GENERIC_WRITE access.

    Returns 0 on failure: ask last_error(). It blocks: there is no overlapped form.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-flushfilebuffers
    """


@kernel32(since="Windows 2000")
def SetFilePointerEx(
    hFile: HANDLE,
    liDistanceToMove: LARGE_INTEGER,
    lpNewFilePointer: PLARGE_INTEGER,
    dwMoveMethod: DWORD,
) -> BOOL:
    """Move a file's position, which reads and writes without an OVERLAPPED start at.

    hFile: the file.
    liDistanceToMove: bytes, may be negative.
    lpNewFilePointer: receives the new position in bytes, or None.
    dwMoveMethod: what it counts from: FILE_BEGIN, FILE_CURRENT, FILE_END.

    Returns 0 on failure: ask last_error(). ERROR_NEGATIVE_SEEK (131).

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-setfilepointerex
    """


@kernel32(since="Windows NT 3.1")
def SetEndOfFile(hFile: HANDLE) -> BOOL:
    """Cut or extend a file to end at its position. What is gained has no set content.

    hFile: a handle with GENERIC_WRITE access, positioned with SetFilePointerEx.

    Returns 0 on failure: ask last_error(). ERROR_USER_MAPPED_FILE (1224): it is mapped.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-setendoffile
    """


@kernel32(since="Windows Vista")
def SetFileInformationByHandle(
    hFile: HANDLE,
    FileInformationClass: FILE_INFO_BY_HANDLE_CLASS,
    lpFileInformation: LPVOID,
    dwBufferSize: DWORD,
) -> BOOL:
    """Change what belongs to a file, such as its size, without moving its position.

    hFile: the file; FileEndOfFileInfo needs FILE_WRITE_DATA access.
    FileInformationClass: FileEndOfFileInfo.
    lpFileInformation: the structure of that class: a FILE_END_OF_FILE_INFO.
    dwBufferSize: its size in bytes.

    Returns 0 on failure: ask last_error(). ERROR_USER_MAPPED_FILE (1224): it is mapped;
    ERROR_DISK_FULL (112); ERROR_INVALID_PARAMETER (87): the size is negative.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-setfileinformationbyhandle
    """


@kernel32(since="Windows 2000")
def GetFileSizeEx(hFile: HANDLE, lpFileSize: PLARGE_INTEGER) -> BOOL:
    """Read a file's size.

    hFile: the file.
    lpFileSize: receives the size in bytes.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getfilesizeex
    """


@kernel32(since="Windows NT 3.1")
def GetFileType(hFile: HANDLE) -> DWORD:
    """Tell whether a handle is of a disk file, a pipe or socket, or a character device.

    hFile: the handle.

    Returns FILE_TYPE_DISK, FILE_TYPE_PIPE (sockets too), FILE_TYPE_CHAR (a console, NUL), or
    FILE_TYPE_UNKNOWN (0), also on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getfiletype
    """


@kernel32(since="Windows NT 3.1")
def LockFileEx(
    hFile: HANDLE,
    dwFlags: DWORD,
    dwReserved: DWORD,
    nNumberOfBytesToLockLow: DWORD,
    nNumberOfBytesToLockHigh: DWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Lock a range of a file against the handles of others.

    hFile: a handle with GENERIC_READ or GENERIC_WRITE access.
    dwFlags: LOCKFILE_EXCLUSIVE_LOCK, otherwise shared; LOCKFILE_FAIL_IMMEDIATELY not to
        wait for it.
    dwReserved: 0.
    nNumberOfBytesToLockLow, nNumberOfBytesToLockHigh: the range's length in bytes; it may
        reach beyond the end of the file.
    lpOverlapped: required; its Offset is where the range starts.

    Returns 0 on failure: ask last_error(). ERROR_IO_PENDING (997): it waits for the range
    and completes when it has it; ERROR_LOCK_VIOLATION (33): taken, and
    LOCKFILE_FAIL_IMMEDIATELY was given.

    An exclusive lock is for this handle alone; under a shared one no handle may write, not
    even this. Closing the handle unlocks, but only some time later: unlock first.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-lockfileex
    """


@kernel32(since="Windows NT 3.1")
def UnlockFileEx(
    hFile: HANDLE,
    dwReserved: DWORD,
    nNumberOfBytesToUnlockLow: DWORD,
    nNumberOfBytesToUnlockHigh: DWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Unlock a range, exactly as it was locked.

    hFile: the handle that locked it.
    dwReserved: 0.
    nNumberOfBytesToUnlockLow, nNumberOfBytesToUnlockHigh: the range's length in bytes.
    lpOverlapped: required; its Offset is where the range starts.

    Returns 0 on failure: ask last_error(). ERROR_NOT_LOCKED (158).

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-unlockfileex
    """


@kernel32(since="Windows NT 3.1")
def DeviceIoControl(
    hDevice: HANDLE,
    dwIoControlCode: DWORD,
    lpInBuffer: LPVOID,
    nInBufferSize: DWORD,
    lpOutBuffer: LPVOID,
    nOutBufferSize: DWORD,
    lpBytesReturned: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Send a control code to the driver behind a handle.

    hDevice: a file, directory, pipe or device.
    dwIoControlCode: IOCTL_* or FSCTL_*.
    lpInBuffer, nInBufferSize: what the code needs, and its bytes; None and 0 for nothing.
    lpOutBuffer, nOutBufferSize: where the answer goes, and the room there in bytes.
    lpBytesReturned: receives the answer's bytes; None only with an OVERLAPPED.
    lpOverlapped: the operation, if the handle was opened with FILE_FLAG_OVERLAPPED.

    Returns nonzero if it is done. 0: ask last_error(). ERROR_IO_PENDING (997): it has
    started. ERROR_INSUFFICIENT_BUFFER (122) or ERROR_MORE_DATA (234): the answer is
    longer; ERROR_INVALID_FUNCTION (1): the driver does not know the code.

    Lifetime: buffers and OVERLAPPED stay until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-deviceiocontrol
    """
