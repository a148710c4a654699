"""Privileges: what the user may do besides, and a process has to switch on."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ..winapi import (
    HANDLE,
    LUID_AND_ATTRIBUTES,
    SE_PRIVILEGE_ENABLED,
    TOKEN_ADJUST_PRIVILEGES,
    TOKEN_PRIVILEGES,
    TOKEN_QUERY,
)
from ..winapi.errorcodes import ERROR_SUCCESS

if TYPE_CHECKING:
    from ..engine.kernel import Kernel


def enable_privilege(kernel: Kernel, name: str) -> bool:
    """Switch a privilege on, for this process and until it ends; tell whether it is on.

    name: such as SE_LOCK_MEMORY_NAME. A right that an administrator has given to the user is
    off in each new process; one that the user has not been given stays off.

    Source: https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-adjusttokenprivileges
    """
    token = HANDLE()
    access = TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY
    if not kernel.OpenProcessToken(kernel.GetCurrentProcess(), access, ctypes.byref(token)):
        return False
    try:
        privilege = LUID_AND_ATTRIBUTES(Attributes=SE_PRIVILEGE_ENABLED)
        if not kernel.LookupPrivilegeValueW(None, name, ctypes.byref(privilege.Luid)):
            return False
        wanted = TOKEN_PRIVILEGES(PrivilegeCount=1)
        wanted.Privileges[0] = privilege
        # It succeeds, too, when there was nothing to switch on.
        done = kernel.AdjustTokenPrivileges(token, False, ctypes.byref(wanted), 0, None, None)
        return bool(done) and kernel.last_error() == ERROR_SUCCESS
    finally:
        kernel.CloseHandle(token)
