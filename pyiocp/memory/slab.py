"""Slab: pages of VirtualAlloc, locked or guarded, that a pool cuts into slices."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ..errors import error_of_code
from ..winapi import (
    DWORD,
    MEM_COMMIT,
    MEM_LARGE_PAGES,
    MEM_RELEASE,
    MEM_RESERVE,
    PAGE_NOACCESS,
    PAGE_READWRITE,
    SE_LOCK_MEMORY_NAME,
)
from ..winapi.errorcodes import ERROR_PRIVILEGE_NOT_HELD
from .pages import PAGE_SIZE, pack, pack_guarded, rounded_up
from .privilege import enable_privilege
from .working_set import lower_working_set, raise_working_set

if TYPE_CHECKING:
    from ..engine.kernel import Kernel
    from .pages import Extent

_LARGE_PAGES_NOTE = (
    "Large pages need the right 'Lock pages in memory' (SeLockMemoryPrivilege): give it to the"
    " user in secpol.msc, Local Policies, User Rights Assignment, and log on again."
)


class Slab:
    """`count` slices of `slice_size` bytes, on pages of their own; ``addresses`` are theirs.

    locked: VirtualLock the pages, and raise the working set by as much.
    large_pages: take large pages, which are always locked.
    guarded: put a page that cannot be accessed before and after each slice.

    Lifetime: the memory is freed with the slab: keep it for as long as an address is in use.

    Raises an `IocpError` if the system refuses; then nothing is left allocated.
    """

    def __init__(
        self,
        kernel: Kernel,
        slice_size: int,
        count: int,
        *,
        locked: bool,
        large_pages: bool,
        guarded: bool,
    ) -> None:
        self._kernel = kernel
        self._address = 0
        self._locked: list[Extent] = []
        offsets, self.size = (pack_guarded if guarded else pack)(slice_size, count)
        unit = kernel.GetLargePageMinimum() if large_pages else PAGE_SIZE
        if not unit:
            raise ValueError("large_pages: this processor has none")
        self.size = rounded_up(self.size, unit)
        self._address = self._allocate(large_pages)
        self.addresses = [self._address + offset for offset in offsets]
        if locked and not large_pages:
            # Guard pages cannot be locked: only the pages of each slice are.
            last = rounded_up(slice_size, PAGE_SIZE)
            runs = (
                [(end - last, last) for end in (at + slice_size for at in self.addresses)]
                if guarded
                else [(self._address, self.size)]
            )
            self._lock(runs)
        if guarded:
            self._guard(rounded_up(slice_size, PAGE_SIZE) + PAGE_SIZE)

    @property
    def locked_bytes(self) -> int:
        """How many bytes of it are locked by VirtualLock."""
        return sum(size for _, size in self._locked)

    def _allocate(self, large_pages: bool) -> int:
        how = MEM_RESERVE | MEM_COMMIT
        if large_pages:
            how |= MEM_LARGE_PAGES
            # If that fails, VirtualAlloc reports it.
            enable_privilege(self._kernel, SE_LOCK_MEMORY_NAME)
        address = self._kernel.VirtualAlloc(None, self.size, how, PAGE_READWRITE)
        if address:
            return int(address)
        error = error_of_code("VirtualAlloc", self._kernel.last_error())
        if error.winerror == ERROR_PRIVILEGE_NOT_HELD:
            error.add_note(_LARGE_PAGES_NOTE)
        raise error

    def _lock(self, runs: list[Extent]) -> None:
        raise_working_set(self._kernel, sum(size for _, size in runs))
        # From here on the finalizer undoes it, even if the next lines raise.
        self._locked = runs
        for address, size in runs:
            if not self._kernel.VirtualLock(address, size):
                raise error_of_code("VirtualLock", self._kernel.last_error())

    def _guard(self, stride: int) -> None:
        before = DWORD()
        for address in range(self._address, self._address + self.size, stride):
            if not self._kernel.VirtualProtect(
                address, PAGE_SIZE, PAGE_NOACCESS, ctypes.byref(before)
            ):
                raise error_of_code("VirtualProtect", self._kernel.last_error())

    def __del__(self) -> None:
        if not self._address:
            return
        kernel = self._kernel
        # A collection may run between another function's call and its last_error().
        code = ctypes.get_last_error()
        for address, size in self._locked:
            kernel.VirtualUnlock(address, size)
        # Lifetime: no slice of it is left, so no operation uses one.
        kernel.VirtualFree(self._address, 0, MEM_RELEASE)
        if self._locked:
            lower_working_set(kernel, self.locked_bytes)
        ctypes.set_last_error(code)
