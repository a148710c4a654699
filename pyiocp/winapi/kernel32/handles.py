"""Handles of any kind: close, duplicate, and whether children inherit them."""

from __future__ import annotations

from ..structure import Structure
from ..types import BOOL, DWORD, HANDLE, LPDWORD, LPHANDLE, LPVOID, Pointer
from .library import kernel32


class SECURITY_ATTRIBUTES(Structure):
    """Who may open a new object, and whether child processes inherit its handle.

    ``nLength`` is the size of the structure; a NULL ``lpSecurityDescriptor`` stands for
    the process's default.

    Source: https://learn.microsoft.com/windows/win32/api/wtypesbase/ns-wtypesbase-security_attributes
    """

    _fields_ = (
        ("nLength", DWORD),
        ("lpSecurityDescriptor", LPVOID),
        ("bInheritHandle", BOOL),
    )


LPSECURITY_ATTRIBUTES = Pointer[SECURITY_ATTRIBUTES]


@kernel32(since="Windows NT 3.1")
def CloseHandle(hObject: HANDLE) -> BOOL:
    """Close a handle of a kernel object. A socket is closed with closesocket instead.

    hObject: the handle; its number may be handed out again at once.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_HANDLE (6): not an open handle.

    Closing the last handle of a file cancels its operations in flight; their packets
    are still queued to its port, and their memory is the kernel's until then.

    Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-closehandle
    """


@kernel32(since="Windows NT 3.1")
def DuplicateHandle(
    hSourceProcessHandle: HANDLE,
    hSourceHandle: HANDLE,
    hTargetProcessHandle: HANDLE,
    lpTargetHandle: LPHANDLE,
    dwDesiredAccess: DWORD,
    bInheritHandle: BOOL,
    dwOptions: DWORD,
) -> BOOL:
    """Make a second handle of the same object, in this process or another.

    hSourceProcessHandle, hTargetProcessHandle: the processes that have the handle and
        get the new one, with PROCESS_DUP_HANDLE access; GetCurrentProcess() will do.
    hSourceHandle: the handle to duplicate.
    lpTargetHandle: receives the new handle, whose number is valid in the target process.
    dwDesiredAccess: the new handle's rights; not read with DUPLICATE_SAME_ACCESS.
    bInheritHandle: nonzero if children of the target process shall inherit it.
    dwOptions: DUPLICATE_SAME_ACCESS, DUPLICATE_CLOSE_SOURCE (closes the source whatever
        the result), or 0.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_HANDLE (6), ERROR_ACCESS_DENIED
    (5).

    Both handles name one object: a file's port, its position and its operations in
    flight are shared. Not for sockets, which have WSADuplicateSocketW.

    Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle
    """


@kernel32(since="Windows NT 3.51")
def GetHandleInformation(hObject: HANDLE, lpdwFlags: LPDWORD) -> BOOL:
    """Read a handle's flags.

    hObject: the handle.
    lpdwFlags: receives HANDLE_FLAG_INHERIT and HANDLE_FLAG_PROTECT_FROM_CLOSE, or 0.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_HANDLE (6): not an open handle.

    Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-gethandleinformation
    """


@kernel32(since="Windows NT 3.51")
def SetHandleInformation(hObject: HANDLE, dwMask: DWORD, dwFlags: DWORD) -> BOOL:
    """Change a handle's flags.

    hObject: the handle.
    dwMask: which flags to change: HANDLE_FLAG_INHERIT, HANDLE_FLAG_PROTECT_FROM_CLOSE.
    dwFlags: their new values.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_HANDLE (6): not an open handle.

    Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-sethandleinformation
    """
