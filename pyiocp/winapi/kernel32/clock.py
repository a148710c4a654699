"""The performance counter."""

from __future__ import annotations

from ..types import BOOL, LARGE_INTEGER, Pointer
from .library import kernel32


@kernel32(since="Windows NT 3.1")
def QueryPerformanceCounter(lpPerformanceCount: Pointer[LARGE_INTEGER]) -> BOOL:
    """Read the counter that time.perf_counter() is made of.

    lpPerformanceCount: receives the count, in ticks of QueryPerformanceFrequency.

    Returns nonzero: since Windows XP it does not fail.

    Source: https://learn.microsoft.com/windows/win32/api/profileapi/nf-profileapi-queryperformancecounter
    """


@kernel32(since="Windows NT 3.1")
def QueryPerformanceFrequency(lpFrequency: Pointer[LARGE_INTEGER]) -> BOOL:
    """Read how many ticks a second the performance counter has.

    lpFrequency: receives the number; it does not change while the system runs.

    Returns nonzero: since Windows XP it does not fail.

    Source: https://learn.microsoft.com/windows/win32/api/profileapi/nf-profileapi-queryperformancefrequency
    """
