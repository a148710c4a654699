"""Handles of any kind: close, duplicate, and whether children inherit them."""

from __future__ import annotations

from ..types import BOOL, HANDLE
from .library import kernel32


@kernel32(since="Windows NT 3.1")
def CloseHandle(hObject: HANDLE) -> BOOL:
    """Close a handle of a kernel object. A socket is closed with closesocket instead.

    hObject: the handle; its number may be handed out again at once.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_HANDLE (6): not an open handle.

    Closing the last handle of a file cancels its operations in flight; their packets
    are still queued to its port, and their memory is the kernel's until then.

    Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-closehandle
    """
