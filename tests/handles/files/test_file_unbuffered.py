"""Unbuffered files: what must be aligned is checked in words, and pages are scattered."""

from __future__ import annotations

import ctypes
import gc
import io
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import CompletionPort, ResourceLimitError
from pyiocp.memory.pages import extent_of
from pyiocp.winapi import ERROR_NOT_ENOUGH_QUOTA

PAGE = mmap.PAGESIZE
CONTENT = b"".join(bytes((n,)) * PAGE for n in range(4)) + b"tail"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of four pages and a little more, that Python has written."""
    path = tmp_path / "pages"
    path.write_bytes(CONTENT)
    return path


def aligned(length: int, fill: bytes = b"\xff") -> mmap.mmap:
    memory = mmap.mmap(-1, length)
    memory[:] = fill * length
    return memory


def test_unbuffered_reads_and_writes_whole_sectors(port: CompletionPort, path: Path) -> None:
    """The bytes are those that Python reads and writes; the last sector of the file is short."""
    with port.file(path, "r+", unbuffered=True) as file:
        assert file.sector_size in (512, 1024, 2048, 4096)
        sector = file.sector_size
        memory = aligned(4 * PAGE + sector)
        file.read(memory, sector)
        [completion] = port.wait(60)
        assert bytes(completion.data) == CONTENT[sector:]
        file.write(aligned(sector, b"w"), 2 * sector)
        [completion] = port.wait(60)
        assert (completion.bytes, completion.error) == (sector, None)
    written = path.read_bytes()
    assert written == CONTENT[: 2 * sector] + b"w" * sector + CONTENT[3 * sector :]


@pytest.mark.parametrize("method", ["read", "write"])
def test_what_is_not_aligned_is_refused_with_words(
    kernel: FaultyKernel, path: Path, method: str
) -> None:
    """Offset, length and address, each alone off by something; the kernel sees none of it."""
    asked = Refusal(87, 0)
    kernel.wrap("ReadFile", asked)
    kernel.wrap("WriteFile", asked)
    with CompletionPort(kernel=kernel) as port, port.file(path, "r+", unbuffered=True) as file:
        sector = file.sector_size
        call: Callable[..., Any] = getattr(file, method)
        memory = aligned(4 * sector)
        with pytest.raises(ValueError, match=rf"offset must be a multiple of {sector} bytes"):
            call(memory, 1)
        with pytest.raises(ValueError, match=r"length must be a multiple of .* not 513"):
            call(memoryview(memory)[:513], 0)
        with pytest.raises(ValueError, match=r"address must be a multiple .*\(mmap\.mmap"):
            call(memoryview(memory)[8 : 8 + sector], 0)
        operation = file.read_operation(memory, 0)
        with pytest.raises(ValueError, match="offset must be a multiple"):
            operation.offset = sector + 1
        operation.offset = sector
        with pytest.raises(ValueError, match="length must be a multiple"):
            file.append(b"x" * (sector - 1))
    assert asked.calls == 0


def test_pages_are_gathered_and_scattered(port: CompletionPort, tmp_path: Path) -> None:
    """Written from two buffers, the second of two pages; read into two others, cut elsewhere."""
    path = tmp_path / "new"
    with port.file(path, "x+", unbuffered=True) as file:
        operation = file.write_gather(aligned(PAGE, b"a"), aligned(2 * PAGE, b"b"), offset=PAGE)
        [completion] = port.wait(60)
        assert (completion.operation, completion.bytes) == (operation, 3 * PAGE)
        assert port.wait(0.05) == []
        first, second = aligned(2 * PAGE), aligned(PAGE)
        file.read_scatter(first, second, offset=PAGE)
        [completion] = port.wait(60)
        assert (completion.bytes, completion.error) == (3 * PAGE, None)
        assert first[:] == b"a" * PAGE + b"b" * PAGE
        assert second[:] == b"b" * PAGE
    assert path.read_bytes() == bytes(PAGE) + b"a" * PAGE + b"b" * 2 * PAGE


def test_scattered_read_across_the_end_and_behind_it(port: CompletionPort, path: Path) -> None:
    with port.file(path, unbuffered=True) as file:
        first, second = aligned(PAGE), aligned(PAGE)
        file.read_scatter(first, second, offset=3 * PAGE)
        [completion] = port.wait(60)
        assert (completion.bytes, completion.error) == (PAGE + 4, None)
        assert (first[:], second[:4]) == (CONTENT[3 * PAGE : 4 * PAGE], b"tail")
        file.read_scatter(first, offset=8 * PAGE)
        [completion] = port.wait(60)
        assert (completion.bytes, completion.error) == (0, None)
        assert port.wait(0.05) == []


def test_more_pages_than_a_call_takes_are_refused_with_words(
    kernel: FaultyKernel, path: Path
) -> None:
    """4 GiB that nobody has: the words come before anything looks at the memory."""
    asked = Refusal(87, 0)
    kernel.wrap("ReadFileScatter", asked)
    kernel.wrap("WriteFileGather", asked)
    page = aligned(PAGE)
    half = (ctypes.c_char * 2**31).from_address(extent_of(page)[0])
    with CompletionPort(kernel=kernel) as port, port.file(path, "r+", unbuffered=True) as file:
        for call in (file.read_scatter, file.write_gather):
            with pytest.raises(ValueError, match="4,294,967,295 bytes at a time"):
                call(half, half, offset=0)
    assert asked.calls == 0


def test_segments_that_are_no_pages_are_refused_with_words(
    kernel: FaultyKernel, path: Path
) -> None:
    asked = Refusal(87, 0)
    kernel.wrap("ReadFileScatter", asked)
    kernel.wrap("WriteFileGather", asked)
    with CompletionPort(kernel=kernel) as port:
        with port.file(path, "r+", unbuffered=True) as file:
            page = aligned(PAGE)
            for call in (file.read_scatter, file.write_gather):
                two_pages = memoryview(aligned(2 * PAGE))
                for bad in (two_pages[: PAGE // 2], two_pages[8 : 8 + PAGE], two_pages[:0]):
                    with pytest.raises(ValueError, match="needs buffers of whole pages"):
                        call(page, bad, offset=0)
                with pytest.raises(ValueError, match="needs at least one buffer"):
                    call(offset=0)
                with pytest.raises(ValueError, match="offset must be a multiple"):
                    call(page, offset=100)
                with pytest.raises(ValueError, match="offset must be between"):
                    call(page, offset=-PAGE)
            with pytest.raises(TypeError, match="buffer that can be written to"):
                file.read_scatter(bytes(PAGE), offset=0)
        with port.file(path, "r+") as file:
            for call in (file.read_scatter, file.write_gather):
                with pytest.raises(io.UnsupportedOperation, match="unbuffered=True"):
                    call(page, offset=0)
        with (
            port.file(path, unbuffered=True) as file,
            pytest.raises(io.UnsupportedOperation, match="not to be written"),
        ):
            file.write_gather(page, offset=0)
    assert asked.calls == 0


def test_pages_are_held_until_their_completion(port: CompletionPort, path: Path) -> None:
    """C13: names dropped, garbage collected: all pages are still there, and cannot be unmapped."""
    with port.file(path, unbuffered=True) as file:
        kept, dropped = aligned(PAGE), aligned(PAGE)
        file.read_scatter(kept, dropped, offset=0)
        del dropped
        gc.collect()
        with pytest.raises(BufferError):
            kept.close()
        [completion] = port.wait(60)
        assert completion.operation.buffers[1][:] == CONTENT[PAGE : 2 * PAGE]
        del completion
        gc.collect()
        kept.close()


def test_refused_scatter_leaves_nothing(kernel: FaultyKernel, path: Path) -> None:
    """C14: 300 times too many pages are locked; then the pages can be unmapped."""
    kernel.wrap("ReadFileScatter", Refusal(ERROR_NOT_ENOUGH_QUOTA, 0))
    kernel.wrap("WriteFileGather", Refusal(ERROR_NOT_ENOUGH_QUOTA, 0))
    page = aligned(PAGE)
    with (
        CompletionPort(kernel=kernel) as port,
        port.file(path, "r+", unbuffered=True) as file,
    ):
        for call in (file.read_scatter, file.write_gather):
            for _ in range(300):
                with pytest.raises(ResourceLimitError):
                    call(page, offset=0)
        assert port.in_flight == {}
    gc.collect()
    page.close()


def test_sector_size_is_a_page_where_nobody_tells_it(kernel: FaultyKernel, path: Path) -> None:
    """A whole disk, for one, is on no volume; every sector size divides the page size."""

    def fails(real: Callable[..., int], *arguments: Any) -> int:
        return ctypes.c_int32(0xC000000D).value

    kernel.wrap("NtQueryVolumeInformationFile", fails)
    with CompletionPort(kernel=kernel) as port, port.file(path, unbuffered=True) as file:
        assert file.sector_size == PAGE
        with pytest.raises(ValueError, match="offset must be a multiple of 4096"):
            file.read(aligned(PAGE), 512)
        file.read(aligned(PAGE), 0)
        assert [c.bytes for c in port.wait(60)] == [PAGE]


@pytest.mark.parametrize(
    "rounds", [200, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_rounds_of_scattering_leave_nothing(port: CompletionPort, path: Path, rounds: int) -> None:
    from pyiocp.observing.handle_count import handle_count

    page = aligned(PAGE)
    with port.file(path, "r+", unbuffered=True) as file:
        port.wait(0)
        handles = handle_count()
        for _ in range(rounds):
            file.read_scatter(page, offset=0)
            assert [c.bytes for c in port.wait(60)] == [PAGE]
            file.write_gather(page, offset=0)
            assert [c.bytes for c in port.wait(60)] == [PAGE]
        assert handle_count() <= handles
        assert port.in_flight_by_kind() == {}
    gc.collect()
    page.close()
    assert path.read_bytes() == CONTENT
