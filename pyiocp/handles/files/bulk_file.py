"""Whole files, block by block, with several blocks in flight: copy, hash, read.

With one read at a time, the disk is idle while the bytes are processed. With several in flight
it always has the next one to do; the caller says how many with `depth`.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import error_of_code
from ...winapi import ERROR_WRITE_FAULT
from .file import File
from .transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...engine.completion import Completion
    from ...port import CompletionPort

    Name = str | bytes | os.PathLike[Any]

DEPTH_MAX = 1024
"""The most blocks in flight, and in memory."""

BLOCK_SIZE_MAX = 1 << 30
"""The most bytes of a block."""


def copy_file(
    port: CompletionPort,
    source: Name | File,
    target: Name | File,
    *,
    depth: int = 8,
    block_size: int = 1 << 20,
) -> int:
    """Copy a file's bytes, have them go to the disk, and return how many there are.

    source, target: paths, or files on the port, which stay open; what the target held
        before is gone. depth: how many blocks are read and written at a time, 1 to 1,024.
    block_size: bytes of a block, 1 to 2**30; a multiple of the sector size if one of the
        files is unbuffered. The memory needed is depth times that.

    The calling thread serves the port meanwhile: hooks are called, completions that are
    others' are kept for ``wait``. A source that shrinks meanwhile is copied as far as it
    then goes, one that grows until its end has been reached.

    If it fails or is interrupted, a target that it began to write is left empty. Raises an
    `IocpError` with the ``filename`` that it is about (`PathNotFoundError`,
    `SharingViolationError`, ``ERROR_DISK_FULL`` 112 …), ValueError for bad arguments and
    for a source that is the target, `PortClosedError`, KeyboardInterrupt on Ctrl-C. Any
    thread may call it.
    """
    _check(depth, block_size)
    if _is_same(source, target):
        raise ValueError(f"{source!r} and {target!r} are the same file: it would be emptied")
    with (
        _naming_the_file(),
        _opened(port, source, "r", sequential=True) as readable,
        _opened(port, target, "w", share="r") as writable,
    ):
        copy = _Copy(port, readable, writable, block_size)
        try:
            length = copy.run(depth)
            writable.truncate(length)
            writable.flush()
        except BaseException:
            copy.end()
            with contextlib.suppress(OSError, ValueError):  # the first error is the one to tell
                writable.truncate(0)
            raise
        return length


def hash_file(
    port: CompletionPort,
    source: Name | File,
    algorithm: str = "sha256",
    *,
    depth: int = 8,
    block_size: int = 1 << 20,
) -> hashlib._Hash:
    """Return the hash object of a file's bytes, as ``hashlib.file_digest`` does.

    algorithm: a name that ``hashlib.new`` knows. The other arguments, what is done
    meanwhile, and the errors are those of `read_blocks`; ValueError for an unknown name.
    """
    digest = hashlib.new(algorithm)
    for block in read_blocks(port, source, depth=depth, block_size=block_size):
        digest.update(block)
    return digest


def read_blocks(
    port: CompletionPort, source: Name | File, *, depth: int = 8, block_size: int = 1 << 20
) -> Iterator[memoryview]:
    """Read a file from the beginning to the end; yield its blocks in order.

    source: a path, which is opened when the first block is asked for, or a file on the
        port, which stays open. depth: how many blocks are read ahead, 1 to 1,024.
    block_size: bytes of a block, 1 to 2**30; the last one is shorter. On an unbuffered file
        a multiple of the sector size.

    A block is valid until the next one is asked for: copy what you want to keep. While the
    caller waits for a block its thread serves the port: hooks are called, completions that
    are others' are kept for ``wait``. A file that shrinks or grows meanwhile ends where its
    end is found. Leaving the loop early calls off the reads.

    Raises an `IocpError` with ``filename``, ValueError for bad arguments,
    `PortClosedError`, KeyboardInterrupt on Ctrl-C. Any thread may call it.
    """
    _check(depth, block_size)
    return _blocks(port, source, depth, block_size)


def _blocks(
    port: CompletionPort, source: Name | File, depth: int, block_size: int
) -> Iterator[memoryview]:
    with _naming_the_file(), _opened(port, source, "r", sequential=True) as file:
        reader = _Reader(port, file, block_size)
        try:
            yield from reader.run(depth)
        finally:
            reader.end()


class _Block:
    """Memory for a block, page-aligned as unbuffered files require, and how much was read."""

    def __init__(self, size: int) -> None:
        # Lifetime: the operation that reads into it exports it, so it is never closed: it is
        # freed with the last reference to it.
        self.memory = mmap.mmap(-1, size)
        self.count: int | None = None


class _Reader(Transfer):
    """The blocks of one file, read ahead and handed out in order."""

    def __init__(self, port: CompletionPort, file: File, block_size: int) -> None:
        super().__init__(port._queue)
        self._file = file
        self._block_size = block_size
        self._next = 0
        self._blocks: deque[_Block] = deque()

    def run(self, depth: int) -> Iterator[memoryview]:
        """Yield the blocks; each is overwritten when the next one is asked for."""
        size = self._file.size()
        for _ in range(_block_count(size, self._block_size, depth)):
            self._read(_Block(self._block_size))
        count: int | None = self._block_size
        while count == self._block_size:
            block = self._blocks.popleft()
            self.wait(lambda block=block: block.count is not None)  # type: ignore[misc]
            count = block.count
            if count:
                with memoryview(block.memory) as whole, whole[:count] as view:
                    yield view
            # Past the size that the file had there is usually nothing: one read is enough.
            if self._next < size or not self._blocks:
                self._read(block)

    def _read(self, block: _Block) -> None:
        block.count = None
        self._blocks.append(block)
        self.post(
            self._file.read_operation(block.memory, self._next), partial(self._on_read, block)
        )
        self._next += self._block_size

    @staticmethod
    def _on_read(block: _Block, completion: Completion) -> None:
        block.count = completion.bytes


class _Copy(Transfer):
    """The blocks of one file, each written to the other file as soon as it has been read."""

    def __init__(self, port: CompletionPort, source: File, target: File, block_size: int) -> None:
        super().__init__(port._queue)
        self._source = source
        self._target = target
        self._block_size = block_size
        self._size = source.size()
        self._next = 0
        #: Where the source ends; known once a read has come back short.
        self._end: int | None = None

    def run(self, depth: int) -> int:
        """Copy; return how many bytes the source had."""
        # A write that extends a file blocks its thread, so it is extended once, to the length
        # that is known now. If the disk is full, that shows before anything has been read.
        self._target.truncate(self._size)
        with self.lock:  # from the first read on, other threads may complete it and read on
            for _ in range(_block_count(self._size, self._block_size, depth)):
                self._read(mmap.mmap(-1, self._block_size))
        self.wait(lambda: not self.in_flight)
        assert self._end is not None, "nothing is in flight when the end has been found"
        return self._end

    def _read(self, memory: mmap.mmap) -> None:
        """Read the next block, if there may be one."""
        # Past the size that the file had there is usually nothing: one read is enough.
        if self._end is not None or (self._next >= self._size and self.in_flight):
            return
        offset = self._next
        self._next += self._block_size
        self.post(
            self._source.read_operation(memory, offset), partial(self._on_read, memory, offset)
        )

    def _on_read(self, memory: mmap.mmap, offset: int, completion: Completion) -> None:
        count = completion.bytes
        if count < self._block_size:
            end = offset + count
            self._end = end if self._end is None else min(end, self._end)
        if not count or (self._end is not None and offset >= self._end):
            return
        sector = self._target.sector_size
        length = -(-count // sector) * sector  # cut off at the end by truncate()
        memory[count:length] = bytes(length - count)
        with memoryview(memory) as whole:
            operation = self._target.write_operation(whole[:length], offset)
        self.post(operation, partial(self._on_written, memory, length))

    def _on_written(self, memory: mmap.mmap, length: int, completion: Completion) -> None:
        if completion.bytes < length:
            raise error_of_code("WriteFile", ERROR_WRITE_FAULT, None, completion.operation)
        self._read(memory)


def _check(depth: int, block_size: int) -> None:
    if not 1 <= depth <= DEPTH_MAX:
        raise ValueError(f"depth must be between 1 and {DEPTH_MAX:,} blocks, not {depth}")
    if not 1 <= block_size <= BLOCK_SIZE_MAX:
        raise ValueError(
            f"block_size must be between 1 and {BLOCK_SIZE_MAX:,} bytes, not {block_size}"
        )


def _block_count(size: int, block_size: int, depth: int) -> int:
    """Return how many blocks to read at a time: no more than the file has."""
    return min(depth, max(1, -(-size // block_size)))


def _is_same(source: Name | File, target: Name | File) -> bool:
    """Tell whether both names are of the same file."""
    first, second = (
        file.name if isinstance(file, File) else os.fsdecode(file) for file in (source, target)
    )
    try:
        return bool(first and second) and Path(first).samefile(second)
    except OSError:  # one of them does not exist, which is reported elsewhere
        return False


@contextlib.contextmanager
def _opened(port: CompletionPort, file: Name | File, mode: str, **words: Any) -> Iterator[File]:
    """Open a path, and close it at the end; a file that is open stays so."""
    if not isinstance(file, File):
        with port.file(file, mode, **words) as opened:
            yield opened
        return
    if file.port is not port:
        raise ValueError(f"{file!r} is on another port than {port!r}")
    yield file


@contextlib.contextmanager
def _naming_the_file() -> Iterator[None]:
    """Give an error the name of the file that it is about."""
    try:
        yield
    except OSError as error:
        subject = getattr(error, "subject", None)
        file = getattr(subject, "handle", subject)
        if error.filename is None and isinstance(file, File):
            error.filename = file.name
        raise
