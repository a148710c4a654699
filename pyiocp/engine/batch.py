"""Batch: the array that one thread dequeues packets into, and what of it is still to be routed.

CPython runs signal handlers after a call and at the end of a loop's body, and what they raise
is raised there. So a packet must never be known to a local variable only: what the kernel has
written stays in the batch until it is taken out of `entries`.
"""

from __future__ import annotations

import ctypes
import itertools
from typing import TYPE_CHECKING

from ..winapi import BOOL, DWORD, HANDLE, OVERLAPPED_ENTRY, ULONG
from .endless_calls import endless_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Entry = tuple[int, int, int, int]
    """A packet: key, address, status, and the byte count in the lower half of a word."""

_TAKEN = 0, 0

_ENTRY_WORDS = ctypes.sizeof(OVERLAPPED_ENTRY) // ctypes.sizeof(ctypes.c_size_t)


class Batch:
    """Room for `size` packets of the port `handle`; for one thread at a time."""

    def __init__(
        self, dequeue: Callable[..., int], error_codes: Iterator[int], handle: int, size: int
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
        self._endless = endless_calls(dequeue, arguments, error_codes)
        #: The result and the error code of the last call; `_TAKEN` when the packets have come
        #: into `_entries`.
        self._outcome = _TAKEN
        self._entries: Iterator[Entry] = iter(())
        self.size = size

    @property
    def error(self) -> int:
        """Why the last `fill` failed."""
        return self._outcome[1]

    def fill(self, milliseconds: int) -> int:
        """Wait for packets; return how many have been dequeued, or 0 if the call failed."""
        self._timeout_ms.value = milliseconds
        # Two C functions, and no call in between (see `endless_calls`) or until their results are
        # where they belong. 150 ns less than to assign a map of the two.
        for self._outcome in self._endless:  # noqa: B020, it is an attribute
            break
        return self._removed.value if self._outcome[0] else 0

    def entries(self) -> Iterator[Entry]:
        """Return what has been dequeued and not been taken yet: the same iterator each time."""
        if self._outcome[0]:
            # Done again from the beginning if it is interrupted: nothing has been taken yet.
            words = iter(self._words[: self._removed.value * _ENTRY_WORDS].tolist())
            self._entries = zip(words, words, words, words)  # noqa: B905, strict costs 140 ns
            self._outcome = _TAKEN
        return self._entries

    def put_back(self, entry: Entry) -> None:
        """Have `entries` begin with this one, which has been taken out of it."""
        self._entries = itertools.chain((entry,), self._entries)
