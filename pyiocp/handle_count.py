"""How many handles this process has: what shows a leak.

What belongs here: the count, on Windows and where Windows' own count is not to be had.
"""

from __future__ import annotations

import os
from ctypes import byref, sizeof

from .errors import error_of_status
from .winapi import (
    DWORD,
    SYSTEM_HANDLE_ENTRY,
    SYSTEM_HANDLE_INFORMATION,
    ULONG,
    GetCurrentProcess,
    GetProcessHandleCount,
    NtQuerySystemInformation,
    SystemHandleInformation,
)
from .winapi.errorcodes import STATUS_INFO_LENGTH_MISMATCH

_FIRST_GUESS = 1 << 16
"""Bytes for the handles of all processes: 2,700 of them."""


def handle_count() -> int:
    """Return how many handles this process has open: files, sockets, ports, threads, events.

    Where GetProcessHandleCount succeeds and says 0 (Wine 8 does), this process's are counted
    among those of all processes, which takes a millisecond. Raises an `IocpError` if the
    system does not tell either.

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesshandlecount
    """
    count = DWORD()
    if GetProcessHandleCount(GetCurrentProcess(), byref(count)) and count.value:
        return count.value
    memory = bytearray(_FIRST_GUESS)
    needed = ULONG()
    while True:
        information = SYSTEM_HANDLE_INFORMATION.from_buffer(memory)
        status = ULONG(
            NtQuerySystemInformation(
                SystemHandleInformation, byref(information), len(memory), byref(needed)
            )
        ).value
        if status != STATUS_INFO_LENGTH_MISMATCH:
            break
        memory = bytearray(needed.value + _FIRST_GUESS)
    if status:
        raise error_of_status("NtQuerySystemInformation", status)
    first = SYSTEM_HANDLE_INFORMATION.Handle.offset
    end = first + information.Count * sizeof(SYSTEM_HANDLE_ENTRY)
    pids = memoryview(memory)[first:end].cast("I")[:: sizeof(SYSTEM_HANDLE_ENTRY) // sizeof(ULONG)]
    return pids.tolist().count(os.getpid())
