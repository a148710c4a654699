"""How many handles this process has, to detect leaks."""

from __future__ import annotations

from ctypes import byref

from ..winapi import DWORD, GetCurrentProcess, GetHandleInformation, GetProcessHandleCount

_GAP_MAX = 512


def handle_count() -> int:
    """Return how many handles this process has open: files, sockets, ports, threads, events.

    Where GetProcessHandleCount succeeds and says 0 (Wine 8 does), every number that a
    handle may have is asked after: multiples of 4, given out lowest first, up to a gap
    of 512 numbers without one. That takes some 40 ms. (Not by NtQuerySystemInformation: the
    list of all handles crashes Wine's server while some process has none yet, or none left.)

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesshandlecount
    """
    count = DWORD()
    if GetProcessHandleCount(GetCurrentProcess(), byref(count)) and count.value:
        return count.value
    flags = DWORD()
    found = gap = number = 0
    while gap < _GAP_MAX:
        number += 4
        if GetHandleInformation(number, byref(flags)):
            found += 1
            gap = 0
        else:
            gap += 1
    return found
