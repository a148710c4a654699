"""BinaryFile: a file of bytes that is awaited, on the loop's port.

The kernel knows of no position here: each request has its own offset. The position that ``read``
and ``write`` move is this side's, and so they take turns. `read_at` and `write_at` have none to
move: any number of them run at a time.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import warnings
from typing import TYPE_CHECKING, Any, Self

from ..completing import ended, result_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from ...handles.files.file import File

_REQUEST_MAX = 1 << 20
"""Bytes of the largest request. Most are done before the call that makes them returns, and the loop
does nothing else meanwhile: about 0.2 ms."""

_AHEAD_BYTES = 1 << 16
"""Bytes that are read ahead, unless something else is asked for."""


def _invalid(what: str) -> OSError:
    return OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {what}")


class BinaryFile:
    """A file of bytes, made by `open`.

    What is written is with the system when `write` returns, and in one piece: gather small pieces
    with `writelines`.

    Thread safety: as all of asyncio, only in the loop's thread. Tasks may share a file: what moves
    its position takes turns, in the order in which it was called.

    Lifetime: close it, best by ``async with``. One that is dropped is closed too, with a
    ResourceWarning.
    """

    def __init__(self, file: File, name: Any, mode: str, ahead: int) -> None:
        """Take over a file of the port.

        name, mode: what it was opened with. ahead: how many bytes to read ahead; -1 is as many as
        seems good, 0 none.
        """
        self._file = file
        self._name = name
        self._mode = mode
        self._ahead_bytes = _AHEAD_BYTES if ahead < 0 else ahead
        updating = "+" in mode
        self._appending = "a" in mode
        self._readable = updating or "r" in mode
        self._writable = updating or "r" not in mode
        self._position = file.size() if self._appending else 0
        #: What has been read from the position on, from `_used` on.
        self._ahead = b""
        self._used = 0
        #: Whether it may be older than what has been written since.
        self._stale = False
        self._turn = asyncio.Lock()

    # Reading

    async def read(self, size: int | None = -1) -> bytes:
        """Read up to so many bytes, or with -1 or None all that follow; fewer only at the end.

        A task that is cancelled meanwhile leaves the position where it was.

        Raises ValueError for a closed file, io.UnsupportedOperation for one not opened to be
        read, an `IocpError` if the system refuses.
        """
        self._check("read", self._readable)
        if size is not None and 0 <= size <= self._ahead_left() and self._at_rest():
            return self._take(size)
        async with self._turn:
            self._begin("read", self._readable)
            have = self._ahead_left()
            if size is not None and 0 <= size <= have:
                return self._take(size)
            wanted = -1 if size is None or size < 0 else size - have
            if 0 <= wanted < self._ahead_bytes:
                await self._read_ahead(self._ahead_bytes)
                return self._take(min(have + wanted, self._ahead_left()))
            more = await self._read_all(self._position + have, wanted)
            taken = self._take(have) + more
            self._position += len(more)
            return taken

    async def readline(self, size: int | None = -1) -> bytes:
        """Read a line with its end, or so many bytes of it; nothing at the end of the file.

        Raises what `read` raises.
        """
        self._check("readline", self._readable)
        most = -1 if size is None else size
        if self._at_rest():
            end = self._ahead.find(b"\n", self._used) + 1
            if end and (most < 0 or end - self._used <= most):
                return self._take(end - self._used)
        async with self._turn:
            self._begin("readline", self._readable)
            searched = self._used
            while True:
                end = self._ahead.find(b"\n", searched) + 1
                have = self._ahead_left()
                if end or 0 <= most <= have:
                    break
                # As much again as there is: what a long line costs is in proportion to it.
                wanted = max(self._ahead_bytes, have, 1024)
                if not await self._read_ahead(wanted):
                    break
                searched = have
            count = end - self._used if end else have
            return self._take(min(count, most) if most >= 0 else count)

    async def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Read all lines that follow; with a hint, no more once that many bytes have come.

        Raises what `read` raises.
        """
        lines: list[bytes] = []
        left = hint if hint is not None and hint > 0 else None
        while line := await self.readline():
            lines.append(line)
            if left is not None:
                left -= len(line)
                if left <= 0:
                    break
        return lines

    async def read_at(self, offset: int, size: int) -> bytes:
        """Read bytes from a place in the file, without the position; fewer only at the end.

        offset: bytes from the beginning, 0 to 2**63 - 1. size: 0 or more.

        Any number of them, and of `write_at`, run at a time; what overlaps has no order.

        Raises what `read` raises, and ValueError for a bad offset or size.
        """
        self._check("read_at", self._readable)
        if size < 0:
            raise ValueError(f"read_at(): size must be at least 0, not {size}")
        return await self._read_all(offset, size)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def _ahead_left(self) -> int:
        return len(self._ahead) - self._used

    async def _read_ahead(self, size: int) -> bool:
        """Read so many more bytes ahead; tell whether there were any."""
        more = await self._read_once(self._position + self._ahead_left(), size)
        self._ahead, self._used = self._ahead[self._used :] + more, 0
        return bool(more)

    def _take(self, count: int) -> bytes:
        """Take bytes out of what has been read ahead."""
        taken = self._ahead[self._used : self._used + count]
        self._used += count
        self._position += count
        return taken

    def _forget_ahead(self) -> None:
        self._ahead, self._used, self._stale = b"", 0, False

    def _at_rest(self) -> bool:
        """Tell whether nobody has the turn, and what has been read ahead is good."""
        return not (self._stale or self._turn.locked())

    def _begin(self, wanted: str, allowed: bool) -> None:
        """Check once more, with the turn; other tasks have had it meanwhile."""
        self._check(wanted, allowed)
        if self._stale:
            self._forget_ahead()

    async def _read_all(self, offset: int, size: int) -> bytes:
        """Read so many bytes, or with -1 all, in requests that are not too large."""
        left = size if size >= 0 else max(self._file.size() - offset, 0) + 1
        pieces: list[bytes] = []
        while left > 0:
            piece = await self._read_once(offset, min(left, _REQUEST_MAX))
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            left -= len(piece)
            if size < 0 and left <= 0:  # it has grown meanwhile
                left = _REQUEST_MAX
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read_once(self, offset: int, size: int) -> bytes:
        # Lifetime: the operation keeps the buffer, the in-flight table keeps the operation.
        completion, cancelled = await ended(self._file.read(bytearray(size), offset))
        if cancelled is not None:
            raise asyncio.CancelledError(*cancelled)
        return bytes(result_of(completion).data)

    # Writing

    async def write(self, data: Buffer) -> int:
        """Write bytes, at the position or, in mode ``a``, at the end; return how many.

        A task that is cancelled meanwhile leaves the position behind what has been written.

        Lifetime: `data` may not change until this returns.

        Raises ValueError for a closed file, io.UnsupportedOperation for one not opened to be
        written, TypeError for what is no buffer, an `IocpError` if the system refuses.
        """
        self._check("write", self._writable)
        view = memoryview(data).cast("B")
        async with self._turn:
            self._begin("write", self._writable)
            self._forget_ahead()
            for begin in range(0, len(view), _REQUEST_MAX):
                piece = view[begin : begin + _REQUEST_MAX]
                file, place = self._file, self._position
                operation = file.append(piece) if self._appending else file.write(piece, place)
                completion, cancelled = await ended(operation)
                if completion.error is None:
                    self._position = file.size() if self._appending else place + completion.bytes
                if cancelled is not None:
                    raise asyncio.CancelledError(*cancelled)
                result_of(completion)
        return len(view)

    async def writelines(self, lines: Iterable[Buffer]) -> None:
        """Write several pieces, one after the other, as one.

        Raises what `write` raises.
        """
        await self.write(b"".join(lines))

    async def write_at(self, offset: int, data: Buffer) -> int:
        """Write bytes at a place in the file, without the position; return how many.

        offset: bytes from the beginning, 0 to 2**63 - 1. A gap behind the end becomes zeros.

        Lifetime: `data` may not change until this returns.

        Raises what `write` raises, ValueError for a bad offset, and io.UnsupportedOperation for
        mode ``a``: there is no writing but at the end.
        """
        self._check("write_at", self._writable)
        view = memoryview(data).cast("B")
        for begin in range(0, len(view), _REQUEST_MAX):
            operation = self._file.write(view[begin : begin + _REQUEST_MAX], offset + begin)
            completion, cancelled = await ended(operation)
            # What has been read ahead may be older. Who reads just now may have it.
            self._stale = True
            if cancelled is not None:
                raise asyncio.CancelledError(*cancelled)
            result_of(completion)
        return len(view)

    async def truncate(self, size: int | None = None) -> int:
        """Make the file so many bytes long, by default up to the position; return its length.

        The position stays. Done at once, in the loop's thread: the system only notes the end.

        Raises what `write` raises, OSError for a negative size, and io.UnsupportedOperation for
        mode ``a``.
        """
        self._check("truncate", self._writable)
        async with self._turn:
            self._begin("truncate", self._writable)
            size = self._position if size is None else size
            if size < 0:
                raise _invalid(f"truncate({size})")
            self._forget_ahead()
            self._file.truncate(size)
            return size

    async def flush(self) -> None:
        """Wait for what is being written; there is nothing else to flush. See `fsync`.

        Raises ValueError for a closed file.
        """
        self._check("flush", True)
        async with self._turn:
            self._begin("flush", True)

    async def fsync(self) -> None:
        """Have all that was written go to the disk, and wait until it is there.

        Another thread waits meanwhile: there is no overlapped form of it.

        Raises what `write` raises.
        """
        self._check("fsync", self._writable)
        await asyncio.get_running_loop().run_in_executor(None, self._file.flush)

    # The position

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, relative to the beginning, to itself (1) or to the end (2).

        Returns the position. Raises OSError for a negative one, ValueError for another `whence`
        and for a closed file.
        """
        self._check("seek", True)
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        async with self._turn:
            self._begin("seek", True)
            if whence == os.SEEK_CUR:
                offset += self._position
            elif whence == os.SEEK_END:
                offset += self._file.size()
            if offset < 0:
                raise _invalid(f"seek to {offset}")
            self._forget_ahead()
            self._position = offset
            return offset

    async def tell(self) -> int:
        """Return the position.

        Raises ValueError for a closed file.
        """
        self._check("tell", True)
        async with self._turn:
            return self._position

    # The end

    async def close(self) -> None:
        """Close the file, after what has the position's turn. Closing twice does nothing.

        A `read_at` or `write_at` that is under way is cancelled, and raises
        `OperationCancelledError`.
        """
        try:
            async with self._turn:
                pass
        finally:
            self._file.close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    @property
    def name(self) -> Any:
        """The path that it was opened with."""
        return self._name

    @property
    def mode(self) -> str:
        """The mode that it was opened with."""
        return self._mode

    async def __aenter__(self) -> Self:
        self._check("__aenter__", True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if not self._file.closed:
            warnings.warn(f"unclosed file {self!r}", ResourceWarning, stacklevel=1, source=self)
            self._file.close()

    def _check(self, wanted: str, allowed: bool) -> None:
        if self._file.closed:
            raise ValueError(f"{wanted}(): I/O operation on closed file {self._name!r}")
        if not allowed:
            raise io.UnsupportedOperation(
                f"{wanted}(): {self._name!r} was opened with mode {self._mode!r}"
            )

    def __repr__(self) -> str:
        shown = " closed" if self._file.closed else ""
        return f"<{type(self).__name__}{shown} name={self._name!r} mode={self._mode!r}>"
