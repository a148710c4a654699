"""StuckCall: a system call that stays pending until the test, or a cancel, ends it.

The disc and the network stack answer when they like, mostly at once. Where a test needs an
operation of theirs that is pending for certain, this puts the call off that starts it, says
what the documentation says of a pending one, and has it made later, or never.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyiocp import CompletionPort
from pyiocp.winapi import (
    ERROR_IO_PENDING,
    OVERLAPPED,
    STATUS_CANCELLED,
    STATUS_PENDING,
    STATUS_SUCCESS,
)

if TYPE_CHECKING:
    from faulty_kernel import FaultyKernel


@functools.cache
def set_io_completion() -> Callable[..., int]:
    """Return NtSetIoCompletion, which queues a packet with a status.

    Looked up once: ctypes makes a class for each library, and free-threaded CPython 3.13 frees
    no class, which would look like a leak of the operation.
    Source: https://docs.python.org/3.13/howto/free-threading-python.html#immortalization
    """
    function: Callable[..., int] = ctypes.WinDLL("ntdll").NtSetIoCompletion
    return function


class StuckCall:
    """Has the calls of one function stay pending while ``enabled``; otherwise they are real."""

    def __init__(self, kernel: FaultyKernel, name: str) -> None:
        self.enabled = False
        self.port: CompletionPort
        self._failure = -1 if name.startswith("WSA") else 0
        self._overlapped: OVERLAPPED | None = None
        self._call: Callable[[], int]
        kernel.wrap(name, self._start)
        kernel.wrap("CancelIoEx", self._cancel)

    def _start(self, real: Callable[..., int], *arguments: Any) -> int:
        if not self.enabled:
            return real(*arguments)
        references = [getattr(argument, "_obj", None) for argument in arguments]
        [overlapped] = [found for found in references if isinstance(found, OVERLAPPED)]
        self._overlapped, self._call = overlapped, lambda: real(*arguments)
        overlapped.Internal = STATUS_PENDING
        ctypes.set_last_error(ERROR_IO_PENDING)
        return self._failure

    def _cancel(self, real: Callable[..., int], number: int, reference: Any) -> int:
        pending = self._overlapped
        if pending is None or (reference is not None and reference._obj is not pending):
            return real(number, reference)
        self._end(STATUS_CANCELLED)
        return 1

    def go_on(self, *, skips_on_success: bool) -> None:
        """Make the call that was put off. Its packet comes, whether it ends at once or later."""
        assert self._overlapped is not None, "nothing is pending"
        if self._call() == self._failure:
            assert ctypes.get_last_error() == ERROR_IO_PENDING
            self._overlapped = None
        elif skips_on_success:
            self._end(STATUS_SUCCESS, self._overlapped.InternalHigh)
        self._overlapped = None

    def _end(self, status: int, count: int = 0) -> None:
        """Have what is pending end in a status, by packet."""
        assert self._overlapped is not None
        overlapped, self._overlapped = self._overlapped, None
        overlapped.Internal, overlapped.InternalHigh = status, count
        address = ctypes.addressof(overlapped)
        numbers = (ctypes.c_void_p(n) for n in (self.port.handle, 1, address))
        rest = ctypes.c_uint32(status), ctypes.c_size_t(count)
        assert not set_io_completion()(*numbers, *rest)
