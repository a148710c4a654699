"""Scatter: reading one stretch of a file into separate pages of memory, or writing it from them.

ReadFileScatter and WriteFileGather take an array of FILE_SEGMENT_ELEMENTs, one for each page.
"""

from __future__ import annotations

import ctypes
import mmap
from ctypes import byref
from typing import TYPE_CHECKING

from ...winapi import DWORD, FILE_SEGMENT_ELEMENT, HANDLE
from .alignment import check_alignment
from .file_operation import LENGTH_MAX, FileOperation, ReadOperation, check_range, pinned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from ...winapi import WSABUF
    from ..handle import Handle

PAGE_SIZE = mmap.PAGESIZE
"""The bytes that one element stands for."""


def segments(wanted: str, pins: Iterable[WSABUF]) -> ctypes.Array[FILE_SEGMENT_ELEMENT]:
    """Return an element for each page of the buffers, in order, and the zero at the end.

    Raises ValueError for a buffer that does not consist of whole pages; `wanted` names the
    attempt.

    Lifetime: the array has bare addresses: the pins must outlive the call's use of it.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-file_segment_element
    """
    addresses: list[int] = []
    for pin in pins:
        address, length = pin.buf or 0, pin.len
        if not length or length % PAGE_SIZE or address % PAGE_SIZE:
            raise ValueError(
                f"{wanted} needs buffers of whole pages: {PAGE_SIZE} bytes or a multiple, at an"
                f" address that is one too, not {length:,} bytes at {address:#x}"
                " (mmap.mmap(-1, length) gives such a buffer)"
            )
        addresses += range(address, address + length, PAGE_SIZE)
    if not addresses:
        raise ValueError(f"{wanted} needs at least one buffer")
    array: ctypes.Array[FILE_SEGMENT_ELEMENT] = (FILE_SEGMENT_ELEMENT * (len(addresses) + 1))()
    for element, address in zip(array, addresses, strict=False):
        # 8 bytes wide everywhere: a 32-bit address is sign-extended, as Microsoft asks.
        element.Alignment = ctypes.c_ssize_t(address).value & 0xFFFFFFFFFFFFFFFF
    return array


def scatter_operation(
    file: Handle, sector_size: int, buffers: tuple[Buffer, ...], offset: int
) -> FileOperation:
    """Return a read into buffers of whole pages, not posted yet.

    Raises TypeError or ValueError for buffers and offsets that do not fit.
    """
    return _operation(file, sector_size, "read_scatter", buffers, offset)


def gather_operation(
    file: Handle, sector_size: int, buffers: tuple[Buffer, ...], offset: int
) -> FileOperation:
    """Return a write of buffers of whole pages, not posted yet.

    Raises ValueError for buffers and offsets that do not fit.
    """
    return _operation(file, sector_size, "write_gather", buffers, offset)


def _operation(
    file: Handle, sector_size: int, kind: str, buffers: tuple[Buffer, ...], offset: int
) -> FileOperation:
    reads, wanted, kernel = kind == "read_scatter", f"{kind}()", file.home.kernel
    pins = [pinned(wanted, buffer, read_only=not reads) for buffer in buffers]
    length: int = sum(pin.len for pin in pins)
    if length > LENGTH_MAX:
        raise ValueError(f"{wanted}: at most {LENGTH_MAX:,} bytes at a time, not {length:,}")
    check_range(wanted, offset, length)
    check_alignment(wanted, sector_size, offset, 0, 0)
    operation = (ReadOperation if reads else FileOperation)(
        file, kind, offset, length, *pins, sector_size=sector_size
    )
    operation.buffers = buffers
    operation._calls(
        "ReadFileScatter" if reads else "WriteFileGather",
        kernel.ReadFileScatter if reads else kernel.WriteFileGather,
        0,
        HANDLE(file.number),
        byref(segments(wanted, pins)),
        DWORD(length),
        None,
        byref(operation.overlapped),
    )
    return operation
