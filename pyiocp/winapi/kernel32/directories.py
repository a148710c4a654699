"""Directories: being told of what changes in them."""

from __future__ import annotations

from ..overlapped import LPOVERLAPPED
from ..structure import Structure
from ..types import BOOL, DWORD, HANDLE, INT, LARGE_INTEGER, LPDWORD, LPVOID, WCHAR, Pointer
from .constants import (
    FILE_ACTION_ADDED,
    FILE_ACTION_MODIFIED,
    FILE_ACTION_REMOVED,
    FILE_ACTION_RENAMED_NEW_NAME,
    FILE_ACTION_RENAMED_OLD_NAME,
)
from .library import kernel32
from .ports import LPOVERLAPPED_COMPLETION_ROUTINE

READ_DIRECTORY_NOTIFY_INFORMATION_CLASS = INT

_ACTIONS = {
    FILE_ACTION_ADDED: "FILE_ACTION_ADDED",
    FILE_ACTION_REMOVED: "FILE_ACTION_REMOVED",
    FILE_ACTION_MODIFIED: "FILE_ACTION_MODIFIED",
    FILE_ACTION_RENAMED_OLD_NAME: "FILE_ACTION_RENAMED_OLD_NAME",
    FILE_ACTION_RENAMED_NEW_NAME: "FILE_ACTION_RENAMED_NEW_NAME",
}


class FILE_NOTIFY_INFORMATION(Structure):
    """The head of one change in ReadDirectoryChangesW's buffer.

    The name follows: ``FileNameLength`` *bytes* of UTF-16 from ``FileName`` on, without a
    terminator, relative to the watched directory. The next entry begins
    ``NextEntryOffset`` bytes after this one; 0 marks the last. Entries are aligned to 4
    bytes.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-file_notify_information
    """

    _fields_ = (
        ("NextEntryOffset", DWORD),
        ("Action", DWORD),
        ("FileNameLength", DWORD),
        ("FileName", WCHAR * 1),
    )

    def __repr__(self) -> str:
        # Not the name: only whoever has the buffer knows that it is there to be read.
        action = _ACTIONS.get(self.Action, self.Action)
        return (
            f"FILE_NOTIFY_INFORMATION({action}, FileNameLength={self.FileNameLength}, "
            f"NextEntryOffset={self.NextEntryOffset})"
        )


PFILE_NOTIFY_INFORMATION = Pointer[FILE_NOTIFY_INFORMATION]


class FILE_NOTIFY_EXTENDED_INFORMATION(Structure):
    """The head of one change in ReadDirectoryChangesExW's buffer.

    Times are in units of 100 ns since 1601, sizes in bytes; the name follows as in
    FILE_NOTIFY_INFORMATION. Entries are aligned to 8 bytes.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-file_notify_extended_information
    """

    _fields_ = (
        ("NextEntryOffset", DWORD),
        ("Action", DWORD),
        ("CreationTime", LARGE_INTEGER),
        ("LastModificationTime", LARGE_INTEGER),
        ("LastChangeTime", LARGE_INTEGER),
        ("LastAccessTime", LARGE_INTEGER),
        ("AllocatedLength", LARGE_INTEGER),
        ("FileSize", LARGE_INTEGER),
        ("FileAttributes", DWORD),
        ("ReparsePointTag", DWORD),
        ("FileId", LARGE_INTEGER),
        ("ParentFileId", LARGE_INTEGER),
        ("FileNameLength", DWORD),
        ("FileName", WCHAR * 1),
    )

    def __repr__(self) -> str:
        action = _ACTIONS.get(self.Action, self.Action)
        return (
            f"FILE_NOTIFY_EXTENDED_INFORMATION({action}, FileSize={self.FileSize}, "
            f"FileAttributes={self.FileAttributes:#x}, FileId={self.FileId:#x}, "
            f"FileNameLength={self.FileNameLength}, NextEntryOffset={self.NextEntryOffset})"
        )


PFILE_NOTIFY_EXTENDED_INFORMATION = Pointer[FILE_NOTIFY_EXTENDED_INFORMATION]


@kernel32(since="Windows NT 4.0")
def ReadDirectoryChangesW(
    hDirectory: HANDLE,
    lpBuffer: LPVOID,
    nBufferLength: DWORD,
    bWatchSubtree: BOOL,
    dwNotifyFilter: DWORD,
    lpBytesReturned: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
    lpCompletionRoutine: LPOVERLAPPED_COMPLETION_ROUTINE,
) -> BOOL:
    """Ask for the next changes in a directory.

    hDirectory: opened with FILE_LIST_DIRECTORY access and FILE_FLAG_BACKUP_SEMANTICS.
    lpBuffer: receives FILE_NOTIFY_INFORMATION entries; 4-byte aligned.
    nBufferLength: its size in bytes; at most 64 KB for a directory on a network.
    bWatchSubtree: nonzero for the directories below as well; the first call on a handle
        decides.
    dwNotifyFilter: FILE_NOTIFY_CHANGE_* flags; the first call on a handle decides.
    lpBytesReturned: receives the bytes of the entries, if the call is synchronous.
    lpOverlapped: the operation, if the handle was opened with FILE_FLAG_OVERLAPPED.
    lpCompletionRoutine: called as an APC, if the handle is on no port; usually None.

    Returns nonzero if it has started (an overlapped call does not set ERROR_IO_PENDING)
    or, for a synchronous one, if there are changes. 0: ask last_error().
    ERROR_INVALID_PARAMETER (87): more than 64 KB on a network; ERROR_NOACCESS (998): the
    buffer is not aligned; ERROR_INVALID_FUNCTION (1): the file system has no such thing.

    A completion of 0 bytes, or ERROR_NOTIFY_ENUM_DIR (1022), says that there were more
    changes than the kernel kept: list the directory. The kernel collects changes between
    calls, from the first call until the handle is closed, in a buffer of this size.

    Lifetime: buffer and OVERLAPPED stay until the completion is dequeued.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-readdirectorychangesw
    """


@kernel32(since="Windows 10 1709")
def ReadDirectoryChangesExW(
    hDirectory: HANDLE,
    lpBuffer: LPVOID,
    nBufferLength: DWORD,
    bWatchSubtree: BOOL,
    dwNotifyFilter: DWORD,
    lpBytesReturned: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
    lpCompletionRoutine: LPOVERLAPPED_COMPLETION_ROUTINE,
    ReadDirectoryNotifyInformationClass: READ_DIRECTORY_NOTIFY_INFORMATION_CLASS,
) -> BOOL:
    """Ask for the next changes in a directory, with the times and sizes of what changed.

    The parameters, result and lifetimes are ReadDirectoryChangesW's, and
    ReadDirectoryNotifyInformationClass: ReadDirectoryNotifyInformation for
        FILE_NOTIFY_INFORMATION entries, ReadDirectoryNotifyExtendedInformation for
        FILE_NOTIFY_EXTENDED_INFORMATION, whose buffer has to be 8-byte aligned.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-readdirectorychangesexw
    """
