"""advapi32.dll: who a process runs as, what it may do, and who may open a kernel object."""

from __future__ import annotations

from .binding import Library
from .structure import Structure
from .types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LONG,
    LPCWSTR,
    LPDWORD,
    LPVOID,
    LPWSTR,
    PDWORD,
    PHANDLE,
    PULONG,
    PVOID,
    Pointer,
)

_advapi32 = Library("advapi32.dll")

# A security identifier, and a security descriptor: opaque, of a length of their own.
PSID = PVOID
PSECURITY_DESCRIPTOR = PVOID
SECURITY_INFORMATION = DWORD
TOKEN_INFORMATION_CLASS = INT

# OpenProcessToken: DesiredAccess.
TOKEN_QUERY = 0x0008
TOKEN_ADJUST_PRIVILEGES = 0x0020

# LookupPrivilegeValueW: lpName.
SE_LOCK_MEMORY_NAME = "SeLockMemoryPrivilege"

# LUID_AND_ATTRIBUTES: Attributes.
SE_PRIVILEGE_ENABLED = 0x00000002

# GetTokenInformation: TokenInformationClass.
TokenUser = 1

# SECURITY_INFORMATION.
OWNER_SECURITY_INFORMATION = 0x00000001
GROUP_SECURITY_INFORMATION = 0x00000002
DACL_SECURITY_INFORMATION = 0x00000004

# ConvertStringSecurityDescriptorToSecurityDescriptorW: StringSDRevision.
SDDL_REVISION_1 = 1


class SID_AND_ATTRIBUTES(Structure):
    """A security identifier, and flags whose meaning depends on what it is part of.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-sid_and_attributes
    """

    _fields_ = (("Sid", PSID), ("Attributes", DWORD))
    _in_hexadecimal_ = ("Attributes",)


class TOKEN_USER(Structure):
    """The user of an access token. The identifier follows in the same block of memory.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-token_user
    """

    _fields_ = (("User", SID_AND_ATTRIBUTES),)


PTOKEN_USER = Pointer[TOKEN_USER]


class LUID(Structure):
    """A number that is unique on this machine until it starts anew: what a privilege is called.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-luid
    """

    _fields_ = (("LowPart", DWORD), ("HighPart", LONG))


PLUID = Pointer[LUID]


class LUID_AND_ATTRIBUTES(Structure):
    """A privilege, and whether it is enabled (SE_PRIVILEGE_ENABLED).

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-luid_and_attributes
    """

    _fields_ = (("Luid", LUID), ("Attributes", DWORD))
    _in_hexadecimal_ = ("Attributes",)


class TOKEN_PRIVILEGES(Structure):
    """How many privileges follow, and the first of them; the others lie behind it.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-token_privileges
    """

    _fields_ = (("PrivilegeCount", DWORD), ("Privileges", LUID_AND_ATTRIBUTES * 1))


PTOKEN_PRIVILEGES = Pointer[TOKEN_PRIVILEGES]


@_advapi32(since="Windows NT 3.1")
def OpenProcessToken(ProcessHandle: HANDLE, DesiredAccess: DWORD, TokenHandle: PHANDLE) -> BOOL:
    """Open the access token of a process: who it runs as, and what it may do.

    ProcessHandle: with PROCESS_QUERY_LIMITED_INFORMATION access; GetCurrentProcess() will do.
    DesiredAccess: TOKEN_QUERY, or other TOKEN_* rights.
    TokenHandle: receives the handle, to be closed with CloseHandle.

    Returns 0 on failure: ask last_error(). ERROR_ACCESS_DENIED (5).

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openprocesstoken
    """


@_advapi32(since="Windows NT 3.1")
def GetTokenInformation(
    TokenHandle: HANDLE,
    TokenInformationClass: TOKEN_INFORMATION_CLASS,
    TokenInformation: LPVOID,
    TokenInformationLength: DWORD,
    ReturnLength: PDWORD,
) -> BOOL:
    """Read what an access token says.

    TokenHandle: with TOKEN_QUERY access.
    TokenInformationClass: what is asked for: TokenUser for a TOKEN_USER.
    TokenInformation, TokenInformationLength: where the answer goes, and how many bytes are
        there; None and 0 to ask for the size.
    ReturnLength: receives how many bytes the answer has, or would have.

    Returns 0 on failure: ask last_error(). ERROR_INSUFFICIENT_BUFFER (122): ReturnLength
    says how many it takes.

    Source: https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-gettokeninformation
    """


@_advapi32(since="Windows NT 3.1")
def LookupPrivilegeValueW(lpSystemName: LPCWSTR, lpName: LPCWSTR, lpLuid: PLUID) -> BOOL:
    """Find the number of a privilege.

    lpSystemName: a machine, or None for this one.
    lpName: SE_LOCK_MEMORY_NAME, or another SE_*_NAME.
    lpLuid: receives the number.

    Returns 0 on failure: ask last_error(). ERROR_NO_SUCH_PRIVILEGE (1313).

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-lookupprivilegevaluew
    """


@_advapi32(since="Windows NT 3.1")
def AdjustTokenPrivileges(
    TokenHandle: HANDLE,
    DisableAllPrivileges: BOOL,
    NewState: PTOKEN_PRIVILEGES,
    BufferLength: DWORD,
    PreviousState: PTOKEN_PRIVILEGES,
    ReturnLength: PDWORD,
) -> BOOL:
    """Enable or disable privileges that a token has; it gets none that it has not.

    TokenHandle: with TOKEN_ADJUST_PRIVILEGES access; TOKEN_QUERY too, to be told the state.
    DisableAllPrivileges: whether to disable all of them, whatever NewState says.
    NewState: which, with SE_PRIVILEGE_ENABLED or without.
    BufferLength, PreviousState: room in bytes for what they were before; 0 and None for none.
    ReturnLength: receives how many bytes that takes; may be None with PreviousState.

    Returns 0 on failure, and not 0 even if it changed nothing: last_error() is then
    ERROR_NOT_ALL_ASSIGNED (1300), because the token lacks one, or else 0.

    Source: https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-adjusttokenprivileges
    """


@_advapi32(since="Windows NT 3.1")
def GetKernelObjectSecurity(
    Handle: HANDLE,
    RequestedInformation: SECURITY_INFORMATION,
    pSecurityDescriptor: PSECURITY_DESCRIPTOR,
    nLength: DWORD,
    lpnLengthNeeded: LPDWORD,
) -> BOOL:
    """Read the security descriptor of a kernel object.

    Handle: with READ_CONTROL access.
    RequestedInformation: which parts: OWNER_, GROUP_, DACL_SECURITY_INFORMATION.
    pSecurityDescriptor, nLength: where a self-relative one goes, and how many bytes are there.
    lpnLengthNeeded: receives how many bytes it takes.

    Returns 0 on failure: ask last_error(). ERROR_INSUFFICIENT_BUFFER (122), ERROR_ACCESS_DENIED
    (5).

    Source: https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-getkernelobjectsecurity
    """


@_advapi32(since="Windows 2000")
def ConvertSidToStringSidW(Sid: PSID, StringSid: Pointer[LPWSTR]) -> BOOL:
    """Write a security identifier as text, ``S-1-5-…``.

    Sid: its address.
    StringSid: receives the address of the text, to be freed with LocalFree.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_SID (1337).

    Source: https://learn.microsoft.com/windows/win32/api/sddl/nf-sddl-convertsidtostringsidw
    """


@_advapi32(since="Windows 2000")
def ConvertStringSecurityDescriptorToSecurityDescriptorW(
    StringSecurityDescriptor: LPCWSTR,
    StringSDRevision: DWORD,
    SecurityDescriptor: Pointer[PSECURITY_DESCRIPTOR],
    SecurityDescriptorSize: PULONG,
) -> BOOL:
    """Make a security descriptor of its text in the definition language (SDDL).

    StringSecurityDescriptor: the text: ``D:P(A;;GA;;;SY)`` is a DACL that inherits nothing
        and gives the system every right.
    StringSDRevision: SDDL_REVISION_1.
    SecurityDescriptor: receives the address of a self-relative one, to be freed with LocalFree.
    SecurityDescriptorSize: receives its size in bytes, or None.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_PARAMETER (87), ERROR_INVALID_ACL
    (1336), ERROR_NONE_MAPPED (1332): the text is none.

    Source: https://learn.microsoft.com/windows/win32/api/sddl/nf-sddl-convertstringsecuritydescriptortosecuritydescriptorw
    """


@_advapi32(since="Windows 2000")
def ConvertSecurityDescriptorToStringSecurityDescriptorW(
    SecurityDescriptor: PSECURITY_DESCRIPTOR,
    RequestedStringSDRevision: DWORD,
    SecurityInformation: SECURITY_INFORMATION,
    StringSecurityDescriptor: Pointer[LPWSTR],
    StringSecurityDescriptorLen: PULONG,
) -> BOOL:
    """Write a security descriptor as text, in the definition language (SDDL).

    SecurityDescriptor: its address.
    RequestedStringSDRevision: SDDL_REVISION_1.
    SecurityInformation: which parts to write.
    StringSecurityDescriptor: receives the address of the text, to be freed with LocalFree.
    StringSecurityDescriptorLen: receives its length in characters, or None.

    Returns 0 on failure: ask last_error().

    Source: https://learn.microsoft.com/windows/win32/api/sddl/nf-sddl-convertsecuritydescriptortostringsecuritydescriptorw
    """
