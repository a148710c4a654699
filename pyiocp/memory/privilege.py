"""Privileges: rights of the user that a process has to enable before it can use them."""

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
    """Enable a privilege for this process, until it ends; tell whether it is enabled.

    name: such as SE_LOCK_MEMORY_NAME. A right that an administrator has given to the user is
    disabled in each new process; one that the user does not have cannot be enabled.

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
        # It succeeds even if the user does not have the right; then last_error() says so.
        done = kernel.AdjustTokenPrivileges(token, False, ctypes.byref(wanted), 0, None, None)
        return bool(done) and kernel.last_error() == ERROR_SUCCESS
    finally:
        kernel.CloseHandle(token)
