"""Pages: which pages buffers lie on, and that slices lie on as few as they can."""

from __future__ import annotations

import ctypes

import hypothesis
from hypothesis import strategies as st

from pyiocp.memory.pages import PAGE_SIZE, extent_of, pack, pack_guarded, pages_of

sizes = st.integers(1, 5 * PAGE_SIZE)


def test_extent_is_where_the_bytes_are() -> None:
    """A byte written at the address is in the buffer; read-only and empty ones have extents."""
    buffer = bytearray(100)
    address, size = extent_of(buffer)
    ctypes.memset(address + 99, 7, 1)
    assert (size, buffer[99]) == (100, 7)
    data = b"read-only"
    address, size = extent_of(data)
    assert ctypes.string_at(address, size) == data
    assert extent_of(b"")[1] == extent_of(bytearray())[1] == 0
    whole = memoryview(buffer)
    assert extent_of(whole[10:20]) == (extent_of(buffer)[0] + 10, 10)


def test_buffer_that_straddles_a_boundary_is_on_two_pages() -> None:
    """1,000 bytes take one page or two; no bytes take none; a shared page counts once."""
    first = 10 * PAGE_SIZE
    assert pages_of([(first, 1000)]) == {10}
    assert pages_of([(first + PAGE_SIZE - 1000, 1000)]) == {10}
    assert pages_of([(first + PAGE_SIZE - 999, 1000)]) == {10, 11}
    assert pages_of([(first, 0)]) == set()
    assert pages_of([(first, 1000), (first + 2000, 3000), (first + 100, 1)]) == {10, 11}


def test_four_slices_of_1000_bytes_share_a_page() -> None:
    """And of 6,000 bytes two share three pages, on two each."""
    assert pack(1000, 6) == ([0, 1000, 2000, 3000, 4096, 5096], 2 * 4096)
    assert pack(6000, 3) == ([0, 6000, 12288], 5 * 4096)
    assert pack(4096, 2) == ([0, 4096], 2 * 4096)


@hypothesis.given(sizes, st.integers(1, 50))
def test_no_slice_straddles_a_boundary_that_it_need_not(size: int, count: int) -> None:
    """Each lies on as few pages as its size needs; none overlaps another, none is outside."""
    offsets, total = pack(size, count)
    assert len(offsets) == count
    assert [len(pages_of([(offset, size)])) for offset in offsets] == [
        -(-size // PAGE_SIZE)
    ] * count
    ends = [0] + [offset + size for offset in offsets]
    assert all(end <= offset for end, offset in zip(ends, offsets, strict=False))
    assert ends[-1] <= total
    assert total % PAGE_SIZE == 0


@hypothesis.given(sizes, st.integers(1, 20))
def test_guarded_slices_end_at_a_page_of_nobody(size: int, count: int) -> None:
    """The page before a slice's first and the one after its last belong to no slice."""
    offsets, total = pack_guarded(size, count)
    owned = [pages_of([(offset, size)]) for offset in offsets]
    everybodys = set().union(*owned)
    assert len(everybodys) == sum(map(len, owned))
    for pages, offset in zip(owned, offsets, strict=True):
        assert (offset + size) % PAGE_SIZE == 0
        assert min(pages) - 1 not in everybodys
        assert max(pages) + 1 not in everybodys
    assert total == (max(everybodys) + 2) * PAGE_SIZE
