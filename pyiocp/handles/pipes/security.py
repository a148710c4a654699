"""SecurityDescriptor: who may open a kernel object; for functions that create one."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ...errors import error_of_code
from ...winapi import (
    DWORD,
    HANDLE,
    LPWSTR,
    PSECURITY_DESCRIPTOR,
    SDDL_REVISION_1,
    SECURITY_ATTRIBUTES,
    TOKEN_QUERY,
    TOKEN_USER,
    ULONG,
    TokenUser,
)

if TYPE_CHECKING:
    from ...engine.kernel import Kernel


class SecurityDescriptor:
    """A security descriptor, made from its text, ``sddl``.

    ``attributes`` is the SECURITY_ATTRIBUTES to pass: with this descriptor, and not
    inherited by child processes.

    Raises ValueError for text that the system does not understand.

    Source: https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-definition-language
    """

    def __init__(self, kernel: Kernel, sddl: str) -> None:
        allocated, size = PSECURITY_DESCRIPTOR(), ULONG()
        if not kernel.ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl, SDDL_REVISION_1, ctypes.byref(allocated), ctypes.byref(size)
        ):
            code = kernel.last_error()
            error = error_of_code("ConvertStringSecurityDescriptorToSecurityDescriptorW", code)
            raise ValueError(f"{sddl!r} is no security descriptor in SDDL: {error}")
        try:
            address = allocated.value or 0
            self._memory = ctypes.create_string_buffer(
                ctypes.string_at(address, size.value), size.value
            )
        finally:
            kernel.LocalFree(allocated)
        self.sddl = sddl
        # Lifetime: the structure points to the copy, and this object has both.
        self.attributes = SECURITY_ATTRIBUTES(
            ctypes.sizeof(SECURITY_ATTRIBUTES), ctypes.addressof(self._memory), False
        )

    @classmethod
    def of_this_user(cls, kernel: Kernel) -> SecurityDescriptor:
        """Return one that lets in only the user that this process runs as.

        It excludes administrators too, unless they are that user; but they can take ownership, as
        of any object.
        """
        return cls(kernel, f"D:P(A;;GA;;;{user_sid(kernel)})")


def user_sid(kernel: Kernel) -> str:
    """Return the security identifier of the user that this process runs as, ``S-1-5-…``.

    Source: https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-gettokeninformation
    """
    token = HANDLE()
    if not kernel.OpenProcessToken(kernel.GetCurrentProcess(), TOKEN_QUERY, ctypes.byref(token)):
        raise error_of_code("OpenProcessToken", kernel.last_error())
    try:
        # A security identifier has at most 68 bytes.
        memory = ctypes.create_string_buffer(ctypes.sizeof(TOKEN_USER) + 68)
        size = DWORD()
        if not kernel.GetTokenInformation(
            token, TokenUser, memory, len(memory), ctypes.byref(size)
        ):
            raise error_of_code("GetTokenInformation", kernel.last_error())
    finally:
        kernel.CloseHandle(token)
    text = LPWSTR()
    # Lifetime: the identifier is in `memory`, after the structure that points to it.
    user = TOKEN_USER.from_buffer(memory).User
    if not kernel.ConvertSidToStringSidW(user.Sid, ctypes.byref(text)):
        raise error_of_code("ConvertSidToStringSidW", kernel.last_error())
    try:
        return str(text.value)
    finally:
        kernel.LocalFree(ctypes.cast(text, ctypes.c_void_p))
