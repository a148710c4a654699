"""Pages: which ones a buffer is on, and how to place buffers on as few as possible.

While an operation is in flight the kernel locks the pages under its buffers. A buffer of
1,000 bytes takes one page, or two if it straddles a boundary.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from ..winapi import WSABUF

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    Extent = tuple[int, int]
    """An address, and a number of bytes from there on."""

PAGE_SIZE = mmap.PAGESIZE
"""Bytes that are locked and protected together: 4,096 on all processors that Windows runs on."""


def extent_of(buffer: Buffer) -> Extent:
    """Return where a buffer's bytes are.

    Lifetime: the address is valid for as long as the buffer is exported.
    """
    view = WSABUF.over(buffer, read_only=True)
    return view.buf or 0, view.len


def pages_of(extents: Iterable[Extent]) -> set[int]:
    """Return the numbers of the pages under some memory, each once."""
    pages: set[int] = set()
    for address, size in extents:
        if size:
            pages.update(range(address // PAGE_SIZE, (address + size - 1) // PAGE_SIZE + 1))
    return pages


def rounded_up(size: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is not less than `size`."""
    return -(-size // unit) * unit


def pack(slice_size: int, count: int) -> tuple[list[int], int]:
    """Return the offsets of `count` slices from the start of a page, and the bytes they take.

    Slices follow each other, but none straddles more boundaries than it has to: four of 1,000
    bytes are on a page of 4,096; of 6,000 bytes, two are on three pages, each on two of them.
    """
    fewest = rounded_up(slice_size, PAGE_SIZE)
    offsets = []
    at = 0
    for _ in range(count):
        start = at // PAGE_SIZE * PAGE_SIZE
        if at + slice_size > start + fewest:
            at = start + PAGE_SIZE
        offsets.append(at)
        at += slice_size
    return offsets, rounded_up(at, PAGE_SIZE)


def pack_guarded(slice_size: int, count: int) -> tuple[list[int], int]:
    """Return offsets like `pack`, with a guard page before, after and between the slices.

    Each slice ends at the end of a page, so that the byte after it is on the guard page.
    """
    stride = rounded_up(slice_size, PAGE_SIZE) + PAGE_SIZE
    return [(n + 1) * stride - slice_size for n in range(count)], count * stride + PAGE_SIZE
