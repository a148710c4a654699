"""NTSTATUS values and the Win32 errors that stand for them."""

from __future__ import annotations

from ..types import NTSTATUS, ULONG
from .library import ntdll


@ntdll(since="Windows NT 3.1")
def RtlNtStatusToDosError(Status: NTSTATUS) -> ULONG:
    """Translate an NTSTATUS to the Win32 error that GetLastError would show for it.

    Status: the value, signed or unsigned, as from OVERLAPPED.Internal.

    Returns the error code; ERROR_MR_MID_NOT_FOUND (317) if there is none. Several values
    share one code: STATUS_CONNECTION_RESET, STATUS_NETWORK_NAME_DELETED and others are
    ERROR_NETNAME_DELETED (64). Winsock translates them for itself, to WSAECONNRESET.

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-rtlntstatustodoserror
    """
