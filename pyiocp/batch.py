"""Batch: the array that one thread dequeues packets into, and the call that fills it.

What belongs here: GetQueuedCompletionStatusEx and the layout of what it writes.
"""

from __future__ import annotations

import ctypes
import threading
from functools import partial
from operator import call
from typing import TYPE_CHECKING

from .winapi import BOOL, DWORD, HANDLE, OVERLAPPED_ENTRY, ULONG

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY_WORDS = ctypes.sizeof(OVERLAPPED_ENTRY) // ctypes.sizeof(ctypes.c_size_t)
"""A packet in words: key, address, status, and the byte count in the lower half of one."""


class Batch:
    """Room for `size` packets of the port `handle`; for one thread at a time.

    ``ident`` is that thread's.
    """

    def __init__(
        self, dequeue: Callable[..., int], last_error: Callable[[], int], handle: int, size: int
    ) -> None:
        memory = bytearray(ctypes.sizeof(OVERLAPPED_ENTRY) * size)
        # Lifetime: the arguments hold the array, the array exports the memory.
        entries = (OVERLAPPED_ENTRY * size).from_buffer(memory)
        # Read as words, a packet costs 80 ns; as attributes of the structure, 213 ns.
        self._words = memoryview(memory).cast("P")
        self._removed = ULONG()
        self._timeout_ms = DWORD()
        arguments = (
            HANDLE(handle),
            ctypes.byref(entries),
            ULONG(size),
            ctypes.byref(self._removed),
            self._timeout_ms,
            BOOL(False),
        )
        self._attempt: tuple[Callable[[], int], ...] = (partial(dequeue, *arguments), last_error)
        self.error = 0
        """Why the last `fill` failed."""
        self.size = size
        self.ident = threading.get_ident()

    def fill(self, milliseconds: int) -> list[int] | None:
        """Wait for packets and return their words, or None if the call failed."""
        self._timeout_ms.value = milliseconds
        # Two C functions and no bytecode in between, as in Operation.
        result, self.error = map(call, self._attempt)
        if result:
            return self._words[: self._removed.value * ENTRY_WORDS].tolist()
        return None
