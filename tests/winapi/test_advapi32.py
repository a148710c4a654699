"""Tokens and security descriptors work as declared."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, sizeof

from win32_helpers import Handles, on_windows

from pyiocp.winapi import *

pytestmark = on_windows


def text_and_free(address: LPWSTR) -> str:
    """Return the text at the address, which LocalFree then takes."""
    text = address.value
    assert LocalFree(ctypes.cast(address, ctypes.c_void_p)) is None
    return str(text)


def user(handles: Handles) -> str:
    """Return this process's user as text."""
    token, size = HANDLE(), DWORD()
    assert OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, byref(token))
    handles.keep(token.value)
    assert not GetTokenInformation(token, TokenUser, None, 0, byref(size))
    assert ERROR_INSUFFICIENT_BUFFER == last_error()
    memory = ctypes.create_string_buffer(size.value)
    assert GetTokenInformation(token, TokenUser, memory, size, byref(size))
    text = LPWSTR()
    assert ConvertSidToStringSidW(TOKEN_USER.from_buffer(memory).User.Sid, byref(text))
    return text_and_free(text)


def test_the_process_runs_as_a_user(handles: Handles) -> None:
    """The token's user has an identifier with this revision, and it is the same twice."""
    assert "S-1-5-" == user(handles)[:6]
    assert user(handles) == user(handles)


def test_a_descriptor_goes_onto_an_object_and_comes_back(handles: Handles) -> None:
    """From text to a pipe's security descriptor, and read from there as the same text."""
    text = f"D:P(A;;GA;;;{user(handles)})"
    descriptor, size = PSECURITY_DESCRIPTOR(), ULONG()
    assert ConvertStringSecurityDescriptorToSecurityDescriptorW(
        text, SDDL_REVISION_1, byref(descriptor), byref(size)
    )
    attributes = SECURITY_ATTRIBUTES(sizeof(SECURITY_ATTRIBUTES), descriptor, False)
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-descriptor"
    pipe = handles.keep(
        CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX, 0, 1, 0, 0, 0, byref(attributes))
    )
    assert LocalFree(descriptor) is None
    needed = DWORD()
    assert not GetKernelObjectSecurity(pipe, DACL_SECURITY_INFORMATION, None, 0, byref(needed))
    assert ERROR_INSUFFICIENT_BUFFER == last_error()
    memory = ctypes.create_string_buffer(needed.value)
    assert GetKernelObjectSecurity(pipe, DACL_SECURITY_INFORMATION, memory, needed, byref(needed))
    shown = LPWSTR()
    assert ConvertSecurityDescriptorToStringSecurityDescriptorW(
        memory, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, byref(shown), None
    )
    # Windows writes the generic right as what it is for files, which pipes are.
    assert text_and_free(shown) in (text, text.replace(";GA;", ";FA;"))


def test_what_is_no_descriptor_is_refused() -> None:
    """The error says that the parameter is wrong, and no memory is handed out."""
    descriptor = PSECURITY_DESCRIPTOR()
    assert not ConvertStringSecurityDescriptorToSecurityDescriptorW(
        "nonsense", SDDL_REVISION_1, byref(descriptor), None
    )
    assert ERROR_INVALID_PARAMETER == last_error()
    assert descriptor.value is None
