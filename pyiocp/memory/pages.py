"""Pages: which ones a buffer lies on, and where buffers lie so that they take few of them.

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
    """An address, and how many bytes from there on."""

PAGE_SIZE = mmap.PAGESIZE
"""Bytes that are locked and protected together: 4,096 on every processor of Windows'."""


def extent_of(buffer: Buffer) -> Extent:
    """Return where a buffer's bytes are.

    Lifetime: the address is good for as long as somebody exports the buffer.
    """
    view = WSABUF.over(buffer, read_only=True)
    return view.buf or 0, view.len


def pages_of(extents: Iterable[Extent]) -> set[int]:
    """Return the numbers of the pages under some memory: one that two lie on counts once."""
    pages: set[int] = set()
    for address, size in extents:
        if size:
            pages.update(range(address // PAGE_SIZE, (address + size - 1) // PAGE_SIZE + 1))
    return pages


def rounded_up(size: int, unit: int) -> int:
    """Return the least multiple of `unit` that is not less than `size`."""
    return -(-size // unit) * unit


def pack(slice_size: int, count: int) -> tuple[list[int], int]:
    """Return the offsets of `count` slices from the start of a page, and the bytes they take.

    Slices follow each other, but none straddles a boundary that it need not: 1,000 bytes
    go four to a page of 4,096; of 6,000 bytes two share three pages, two pages each.
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
    """Return offsets like `pack`, with a page to spare before, after and between the slices.

    Each slice ends where its last page does, so that the byte after it is on the guard.
    """
    stride = rounded_up(slice_size, PAGE_SIZE) + PAGE_SIZE
    return [(n + 1) * stride - slice_size for n in range(count)], count * stride + PAGE_SIZE
