"""Footprint: what the process holds of the system, to be compared before and after."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import dataclass

from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import PROCESS_MEMORY_COUNTERS, GetCurrentProcess, GetProcessMemoryInfo


@dataclass(frozen=True)
class Footprint:
    """Handles, and bytes of private memory, after the garbage has been collected."""

    handles: int
    private_bytes: int

    @classmethod
    def now(cls) -> Footprint:
        """Measure."""
        gc.collect()
        return cls(handle_count(), private_bytes())


def private_bytes() -> int:
    """Return how much memory is committed for this process alone, in bytes."""
    counters = PROCESS_MEMORY_COUNTERS()
    size = ctypes.sizeof(counters)
    assert GetProcessMemoryInfo(GetCurrentProcess(), ctypes.byref(counters), size)
    assert counters.PagefileUsage > 0
    return int(counters.PagefileUsage)
