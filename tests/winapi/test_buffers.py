"""A WSABUF keeps the memory under it where it is, for as long as it lives."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import buffers as implementation
from pyiocp.winapi.ws2_32 import wsabufs


def content(wsabuf: Any) -> bytes:
    """Return the bytes that the kernel would see."""
    return ctypes.string_at(wsabuf.buf, wsabuf.len)


def test_a_bytearray_under_a_wsabuf_refuses_to_be_resized() -> None:
    """C32: every way of changing the length raises BufferError until the WSABUF is gone."""
    buffer = bytearray(b"0123456789")
    wsabuf = WSABUF.over(buffer)
    address = wsabuf.buf
    for resize in (
        lambda: buffer.append(0),
        lambda: buffer.extend(b"x" * 100_000),
        buffer.clear,
        buffer.pop,
        lambda: buffer.__delitem__(slice(2, 5)),
    ):
        with pytest.raises(BufferError):
            resize()
    buffer[:5] = b"hello"
    assert b"hello56789" == content(wsabuf)
    assert address == wsabuf.buf
    del wsabuf
    buffer.append(0)
    assert 11 == len(buffer)


def test_memory_that_was_mapped_cannot_be_unmapped_under_a_wsabuf() -> None:
    """C32: closing the mmap is refused, too."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    wsabuf = WSABUF.over(memory)
    with pytest.raises(BufferError):
        memory.close()
    del wsabuf
    memory.close()


def test_ctypes_cannot_resize_memory_that_it_does_not_own() -> None:
    """C32: an array that looks at a bytearray is refused by both.

    ctypes.resize() of an array with memory of its own asks no export (cpython#154524);
    the docstring of WSABUF.over says so, and nothing here could refuse it.
    """
    buffer = bytearray(16)
    memory = (ctypes.c_char * 16).from_buffer(buffer)
    wsabuf = WSABUF.over(memory)
    with pytest.raises(ValueError, match="doesn't own"):
        ctypes.resize(memory, 1024)
    with pytest.raises(BufferError):
        buffer.append(0)
    assert ctypes.addressof(memory) == wsabuf.buf


@pytest.mark.parametrize(
    "buffer",
    [
        bytearray(b"abcd"),
        memoryview(bytearray(b"xxabcdxx"))[2:6],
        array.array("H", [0x6261, 0x6463]),
        (ctypes.c_char * 4)(*b"abcd"),
        memoryview(bytearray(b"abcd")).cast("B", (2, 2)),
    ],
)
def test_every_contiguous_buffer_fits(buffer: Any) -> None:
    """Length in bytes, whatever the items are; content by address."""
    assert b"abcd" == content(WSABUF.over(buffer))


def test_an_empty_buffer_is_a_wsabuf_of_length_zero() -> None:
    """As a zero-byte receive needs it; the buffer is kept all the same."""
    buffer = bytearray()
    wsabuf = WSABUF.over(buffer)
    assert 0 == wsabuf.len
    with pytest.raises(BufferError):
        buffer.append(0)


def test_the_same_memory_can_be_under_several_wsabufs() -> None:
    """Each holds its own export; the memory is free when the last is gone."""
    buffer = bytearray(8)
    first, second = WSABUF.over(buffer), WSABUF.over(memoryview(buffer)[4:])
    assert first.buf + 4 == second.buf
    del first
    with pytest.raises(BufferError):
        buffer.append(0)
    del second
    gc.collect()
    buffer.append(0)


@given(st.binary(max_size=64))
def test_bytes_can_be_sent_from_and_never_received_into(data: bytes) -> None:
    """Read-only memory needs the word read_only=True, and is looked at in place."""
    with pytest.raises(TypeError, match=r"bytes is read-only: to send .* read_only=True"):
        WSABUF.over(data)
    assert data == content(WSABUF.over(data, read_only=True))


def test_read_only_memory_is_kept_alive_and_let_go() -> None:
    """The reference that a WSABUF holds on a bytes object goes with it."""
    data = bytes(range(200))
    before = sys.getrefcount(data)
    wsabuf = WSABUF.over(memoryview(data)[100:], read_only=True)
    assert data[100:] == content(wsabuf)
    assert before < sys.getrefcount(data)
    del wsabuf
    gc.collect()
    assert before == sys.getrefcount(data)


def test_writable_memory_may_be_sent_from_as_well() -> None:
    """read_only=True admits more, it refuses nothing."""
    assert b"ab" == content(WSABUF.over(bytearray(b"ab"), read_only=True))


@pytest.mark.parametrize(("data", "read_only"), [(bytearray(8), False), (bytes(8), True)])
def test_memory_with_gaps_is_refused(data: Any, read_only: bool) -> None:
    """The kernel knows an address and a length, no stride."""
    with pytest.raises(BufferError, match="not contiguous"):
        WSABUF.over(memoryview(data)[::2], read_only=read_only)


@pytest.mark.parametrize("thing", ["text", 12, None, object()])
def test_what_is_no_buffer_is_a_type_error(thing: Any) -> None:
    """Text has to be encoded by whoever sends it."""
    with pytest.raises(TypeError):
        WSABUF.over(thing)


def test_more_than_a_ulong_can_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with the limit lowered, for 4 GiB would be a slow way to show it."""
    monkeypatch.setattr(implementation, "_LENGTH_MAX", 7)
    assert 7 == WSABUF.over(bytearray(7)).len
    with pytest.raises(ValueError, match="at most 7 bytes, and this is 8"):
        WSABUF.over(bytearray(8))


def test_an_array_of_wsabufs_keeps_all_its_buffers() -> None:
    """C32, for scatter and gather: also an element taken out of it keeps them."""
    first, second = bytearray(b"ab"), bytearray(b"cde")
    both = wsabufs(first, second)
    assert [content(wsabuf) for wsabuf in both] == [b"ab", b"cde"]
    element = both[1]
    del both
    gc.collect()
    for buffer in (first, second):
        with pytest.raises(BufferError):
            buffer.append(0)
    del element
    gc.collect()
    first.append(0)
    second.append(0)


def test_an_array_that_cannot_be_made_keeps_nothing() -> None:
    """When the second buffer is refused, the first is free again."""
    buffer = bytearray(4)
    with pytest.raises(TypeError):
        wsabufs(buffer, b"constant")
    gc.collect()
    buffer.append(0)


def test_no_wsabufs_make_an_empty_array() -> None:
    """Its length is what dwBufferCount wants."""
    assert 0 == len(wsabufs())


def test_repr_shows_length_and_address() -> None:
    """As it is read in a REPL."""
    assert "WSABUF(len=5, buf=0x1000)" == repr(WSABUF(5, 0x1000))
