"""Control: how the benchmark asks a server how it is, and ends it."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any


class Control:
    """What a server is told, and asked.

    file: the path of the file to serve, for those that serve one.
    """

    def __init__(self, file: str = "") -> None:
        self.file = file

    def ready(self, port: int, stop: Callable[[], object] = lambda: os._exit(0)) -> None:
        """Say where the server listens; have `stop` called, from another thread, at the end."""
        threading.Thread(target=_answer, args=(stop,), daemon=True).start()
        print(json.dumps({"port": port}), flush=True)


def _answer(stop: Callable[[], object]) -> None:
    for _ in sys.stdin:
        print(json.dumps(_figures()), flush=True)
    stop()


def _figures() -> dict[str, float]:
    times = os.times()
    return {"user_s": times.user, "system_s": times.system, "private_bytes": private_bytes()}


class _MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS, whose PagefileUsage is the private bytes.

    Not pyiocp's declaration: in the other libraries' processes that would be memory, too.
    """

    _fields_ = (
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        *((f"_{n}", ctypes.c_size_t) for n in range(6)),
        ("PagefileUsage", ctypes.c_size_t),
        ("PeakPagefileUsage", ctypes.c_size_t),
    )


def private_bytes() -> int:
    """Return how many bytes of memory are this process's alone."""
    counters = _MemoryCounters(cb=ctypes.sizeof(_MemoryCounters))
    kernel32: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined, unused-ignore]
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel32.GetCurrentProcess())
    if not kernel32.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb):
        raise OSError("K32GetProcessMemoryInfo failed")
    return int(counters.PagefileUsage)
