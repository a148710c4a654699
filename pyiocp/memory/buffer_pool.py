"""BufferPool: buffers on few pages, each handed out again once it is no longer referenced.

A slice is a writable ``memoryview``, which can be used like any other buffer. Under it is an
object that stands for the slice; each view of the slice, and each operation that holds one, keeps
a reference to that object. With the last reference, its finalizer puts the slice back. So a slice
is never handed out while its bytes can still be reached, and need not be given back explicitly.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.kernel import Kernel
from ..errors import closed_error
from ..observing.debugging import debug_mode_wanted
from .slab import Slab

if TYPE_CHECKING:
    from typing import Self

_SLAB_BYTES = 1 << 16
"""The default size of a slab: the granularity of VirtualAlloc."""

_SLICE_MAX = 1 << 30
"""Bytes of the largest slice: for larger ones a pool saves nothing."""

_SLICES_MAX = 1 << 24
"""The most slices of one slab."""


class PoolExhaustedError(BufferError):
    """All slices of a pool are in use, and it may not grow: try again after a completion."""


class PoolStatistics(NamedTuple):
    """What a pool has, and how much of it is in use.

    ``in_use`` of ``slices`` are handed out now, ``in_use_peak`` were at most. The pool has
    ``bytes`` of memory in ``slabs``, of which ``bytes_locked`` are locked by VirtualLock.
    """

    slice_size: int
    slices: int
    in_use: int
    in_use_peak: int
    slabs: int
    bytes: int
    bytes_locked: int


class BufferPool:
    """Buffers of one size, on few pages, for operations.

    ::

        with CompletionPort() as port:
            pool = port.buffer_pool(2048, slices=1000)
            port.stream(sock).receive(pool.take())
            for completion in port.wait(timeout=1.0):
                print(bytes(completion.data))

    ``take`` gives a slice: a writable ``memoryview``. It comes back by itself when its
    operation's completion has been dequeued and nobody has the slice, the operation or a
    view of either any more; ``release()`` of the view gives it back before that.

    slice_size: bytes of each slice, 1 to 1,073,741,824. Slices lie so that none straddles
        a page boundary that it need not: of 1,000 bytes four go on a page.
    slices: how many are made at once, now and whenever there are none left; by default as
        many as fit into 65,536 bytes.
    slices_max: how many there may be in all; by default the pool grows without limit.
    locked: lock the pages once and for all (VirtualLock), with the process's working set
        raised to suit. An operation then finds them locked.
    large_pages: lie on large pages (2 MB), which are locked as well; needs the right to lock
        pages in memory (SeLockMemoryPrivilege).
    debug: put pages that cannot be accessed around each slice, so that a write beyond it is
        caught where it happens; by default as ``PYIOCP_DEBUG`` says. Not with large pages.
    kernel: what stands for the operating system; by default the real one.

    Thread safety: any thread may call any method, and drop a slice.

    Lifetime: a slice holds the memory under it, also beyond `close`. What is in it when it
    is taken is whatever its last user left there.

    Raises ValueError for numbers out of range; `ResourceLimitError`
    (``ERROR_NOT_ENOUGH_MEMORY`` 8, ``ERROR_COMMITMENT_LIMIT`` 1455,
    ``ERROR_WORKING_SET_QUOTA`` 1453) if there is not so much memory, `AccessDeniedError`
    (``ERROR_PRIVILEGE_NOT_HELD`` 1314) if the user may not lock it.

    Source: https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-virtualalloc
    """

    def __init__(
        self,
        slice_size: int,
        *,
        slices: int | None = None,
        slices_max: int | None = None,
        locked: bool = False,
        large_pages: bool = False,
        debug: bool | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        if not 1 <= slice_size <= _SLICE_MAX:
            raise ValueError(f"slice_size must be 1 to {_SLICE_MAX:,} bytes, not {slice_size}")
        if slices is None:
            slices = max(1, _SLAB_BYTES // slice_size)
            if slices_max is not None:
                slices = min(slices, max(1, slices_max))
        if not 1 <= slices <= _SLICES_MAX:
            raise ValueError(f"slices must be 1 to {_SLICES_MAX:,}, not {slices}")
        if slices_max is not None and slices_max < slices:
            raise ValueError(f"slices_max must be at least {slices}, not {slices_max}")
        self.slice_size = slice_size
        self.locked = locked or large_pages
        self.closed = False
        self._slab_slices = slices
        self._slices_max = slices_max
        self._large_pages = large_pages
        self._guarded = (debug_mode_wanted() if debug is None else debug) and not large_pages
        self._kernel = Kernel() if kernel is None else kernel
        self._slice_type = _slice_type(slice_size)
        self._slabs: list[Slab] = []
        self._slices = 0
        self._in_use_peak = 0
        #: Addresses to hand out, each with its slab. The last one back is the first one out: its
        #: page is still in the processor's cache.
        self._free: deque[tuple[int, Slab]] = deque()
        self._growing = threading.Lock()
        self._free.append(self._grow())

    def take(self) -> memoryview:
        """Return a slice: a writable view of `slice_size` bytes, not zeroed.

        Raises `PoolExhaustedError` when all are in use and there may be no more, an
        `IocpError` if the system has no memory for another slab, ValueError on a closed pool.

        Lifetime: the slice is nobody else's until the last view of it, and the last
        operation that holds one, is gone.
        """
        try:
            place = self._free.pop()
        except IndexError:
            place = self._grow()
        in_use = self._slices - len(self._free)
        self._in_use_peak = max(self._in_use_peak, in_use)
        # Lifetime: views hold this object, which holds the slab.
        owner = self._slice_type.from_address(place[0])
        owner.pool = self
        owner.place = place
        return memoryview(owner).cast("B")

    def _grow(self) -> tuple[int, Slab]:
        """Make another slab, unless a slice is free by now; return a slice's address and slab."""
        with self._growing:
            if self.closed:
                raise closed_error(self, "it gives no slice", ValueError)
            with contextlib.suppress(IndexError):
                return self._free.pop()  # another thread has made a slab, or a slice has come back
            count = self._slab_slices
            if self._slices_max is not None:
                count = min(count, self._slices_max - self._slices)
            if not count:
                raise PoolExhaustedError(f"{self!r} may not grow: wait for a completion")
            slab = Slab(
                self._kernel,
                self.slice_size,
                count,
                locked=self.locked,
                large_pages=self._large_pages,
                guarded=self._guarded,
            )
            self._slabs.append(slab)
            self._slices += count
            places = [(address, slab) for address in reversed(slab.addresses)]
            last = places.pop()
            self._free.extend(places)
            return last

    def statistics(self) -> PoolStatistics:
        """Return what the pool has, and how much of it is in use."""
        return PoolStatistics(
            slice_size=self.slice_size,
            slices=self._slices,
            in_use=self._slices - len(self._free),
            in_use_peak=self._in_use_peak,
            slabs=len(self._slabs),
            bytes=sum(slab.size for slab in self._slabs),
            bytes_locked=sum(slab.locked_bytes for slab in self._slabs),
        )

    def close(self) -> None:
        """Give the memory back; of slices in use, when the last of their slab is gone.

        Closing twice does nothing.
        """
        with self._growing:
            self.closed = True
            # Slices that come back are dropped; the last one of a slab frees it.
            self._free = deque(maxlen=0)
            self._slabs = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return f"<BufferPool of {self.slice_size} bytes, closed>"
        now = self.statistics()
        return f"<BufferPool: {now.in_use} of {now.slices} slices of {self.slice_size} bytes used>"


def _slice_type(size: int) -> Any:
    """Return the type of the objects that stand for slices in use."""

    class Slice(ctypes.c_char * size):  # type: ignore[misc]
        # With slots, taking a slice and dropping it costs 300 ns; without them, 700.
        __slots__ = ("place", "pool")

        def __del__(self) -> None:
            # Lifetime: there is no view of it any more. This may run on any thread at any time,
            # also in a collection inside `take`, so it takes no lock and only one step.
            self.pool._free.append(self.place)

    return Slice
