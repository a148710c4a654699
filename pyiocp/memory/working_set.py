"""The working set: a process may lock nearly its minimum, which is raised for what is locked.

Source: https://learn.microsoft.com/windows/win32/memory/working-set
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from typing import TYPE_CHECKING

from ..errors import error_of_code
from ..winapi import DWORD, SIZE_T

if TYPE_CHECKING:
    from ..engine.kernel import Kernel

#: Held while the limits are read and set.
_limits = threading.Lock()

#: Bytes that the limits are to be lowered by at the next change.
_unlocked: deque[int] = deque()


def raise_working_set(kernel: Kernel, size: int) -> None:
    """Raise the working set by `size` bytes that are to be locked.

    Raises `AccessDeniedError` (``ERROR_PRIVILEGE_NOT_HELD`` 1314: the user may not),
    `ResourceLimitError` (``ERROR_NO_SYSTEM_RESOURCES`` 1450: there is not enough memory).

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-setprocessworkingsetsizeex
    """
    with _limits:
        _change(kernel, size)


def lower_working_set(kernel: Kernel, size: int) -> None:
    """Lower the working set by `size` bytes that were locked, now or with the next change.

    Finalizers call this, and a collection may run one while this thread holds the lock.
    """
    _unlocked.append(size)
    if _limits.acquire(blocking=False):
        try:
            _change(kernel, 0)
        except OSError:
            pass  # the limits stay higher than necessary
        finally:
            _limits.release()


def _change(kernel: Kernel, size: int) -> None:
    """Change the limits by `size` bytes and what has been unlocked; called with the lock."""
    lowered = 0
    while _unlocked:
        lowered += _unlocked.popleft()
    size -= lowered
    process = kernel.GetCurrentProcess()
    least, most, flags = SIZE_T(), SIZE_T(), DWORD()
    sizes = ctypes.byref(least), ctypes.byref(most)
    function = "GetProcessWorkingSetSizeEx"
    done = kernel.GetProcessWorkingSetSizeEx(process, *sizes, ctypes.byref(flags))
    if done:
        function = "SetProcessWorkingSetSizeEx"
        done = kernel.SetProcessWorkingSetSizeEx(
            process, least.value + size, most.value + size, flags.value
        )
    if not done:
        code = kernel.last_error()
        _unlocked.append(lowered)
        raise error_of_code(function, code)
