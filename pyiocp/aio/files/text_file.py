"""TextFile: text over a `BinaryFile`: decoding, lines and their ends, and places in the text."""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from .text_position import Piece, Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .binary_file import BinaryFile

_PIECE_BYTES = 1 << 16

_ANY_LINE_END = re.compile("\r\n|\n|\r")


class TextFile:
    """A file of text, made by `open`. ``buffer`` is the `BinaryFile` beneath.

    Its methods do what those of Python's own files do, and are awaited.

    Thread safety: as all of asyncio, only in the loop's thread. Tasks may share a file: what moves
    its position takes turns.

    Lifetime: close it, best by ``async with``.
    """

    def __init__(
        self, buffer: BinaryFile, mode: str, encoding: str, errors: str, newline: str | None
    ) -> None:
        """Take over a file; the arguments have been checked."""
        self.buffer = buffer
        self.encoding = encoding
        self.errors = errors
        self._mode = mode
        self._newline = newline
        self._written_end = os.linesep if newline is None else newline
        self._decoder = self._new_decoder()
        self._first_flags = self._decoder.getstate()[1]
        self._encoder = codecs.getincrementalencoder(encoding)(errors)
        #: Whether the encoder is where the file is: a file has its byte order mark once.
        self._encoder_set = False
        #: What has been decoded and not been dropped yet, the pieces that it comes from, and how
        #: many characters of it have been read.
        self._text = ""
        self._pieces: deque[Piece] = deque()
        self._used = 0
        self._turn = asyncio.Lock()

    def _new_decoder(self) -> Any:
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        if self._newline in (None, ""):
            return io.IncrementalNewlineDecoder(decoder, translate=self._newline is None)
        return decoder

    # Reading

    async def read(self, size: int | None = -1) -> str:
        """Read up to so many characters, or with -1 or None all; fewer only at the end.

        A task that is cancelled meanwhile leaves the position where it was.

        Raises ValueError for a closed file, io.UnsupportedOperation for one not opened to be
        read, UnicodeDecodeError, an `IocpError` if the system refuses.
        """
        async with self._turn:
            if size is None or size < 0:
                await self._decode_more(-1)
                return self._take(len(self._text) - self._used)
            while len(self._text) - self._used < size:
                if not await self._decode_more(_PIECE_BYTES):
                    break
            return self._take(min(size, len(self._text) - self._used))

    async def readline(self, size: int | None = -1) -> str:
        """Read a line with its end, or so many characters of it; nothing at the end of the file.

        Raises what `read` raises.
        """
        most = -1 if size is None else size
        if not (self._turn.locked() or self.buffer.closed):
            end = self._line_end(self._used)
            if end and (most < 0 or end - self._used <= most):
                return self._take(end - self._used)
        async with self._turn:
            searched = 0
            while True:
                end = self._line_end(self._used + searched)
                have = len(self._text) - self._used
                if end or 0 <= most <= have:
                    break
                # A line's end of two characters may come in two parts.
                searched = max(0, have - 1)
                # As much again as there is: what a long line costs is in proportion to it.
                if not await self._decode_more(max(_PIECE_BYTES, have)):
                    break
            count = end - self._used if end else len(self._text) - self._used
            return self._take(min(count, most) if most >= 0 else count)

    async def readlines(self, hint: int | None = -1) -> list[str]:
        """Read all lines that follow; with a hint, no more once that many characters have come.

        Raises what `read` raises.
        """
        lines: list[str] = []
        left = hint if hint is not None and hint > 0 else None
        while line := await self.readline():
            lines.append(line)
            if left is not None:
                left -= len(line)
                if left <= 0:
                    break
        return lines

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def _line_end(self, begin: int) -> int:
        """Return where the line ends, or 0 if its end has not been decoded yet."""
        if self._newline == "":
            match = _ANY_LINE_END.search(self._text, begin)
            return match.end() if match else 0
        end = self._newline or "\n"
        found = self._text.find(end, begin)
        return found + len(end) if found >= 0 else 0

    def _take(self, count: int) -> str:
        taken = self._text[self._used : self._used + count]
        self._used += count
        return taken

    async def _decode_more(self, size: int) -> bool:
        """Decode so many more bytes, or with -1 all; tell whether there were any."""
        offset = await self.buffer.tell()
        data = await self.buffer.read(size)
        while self._pieces and self._used >= self._pieces[0].length:
            length = self._pieces.popleft().length
            self._text = self._text[length:]
            self._used -= length
        held_back, flags = self._decoder.getstate()
        try:
            text = self._decoder.decode(data, final=size < 0 or not data)
        except UnicodeError:
            await self.buffer.seek(offset)
            self._decoder.setstate((held_back, flags))
            raise
        place = Place(offset - len(held_back), flags)
        self._pieces.append(Piece(place, held_back + data, len(text)))
        self._text += text
        return bool(data)

    # Writing

    async def write(self, text: str) -> int:
        """Write text at the position or, in mode ``a``, at the end; return how many characters.

        Its lines end as `open` was told. It is with the system when this returns, as for
        `BinaryFile.write`.

        Raises ValueError for a closed file, io.UnsupportedOperation for one not opened to be
        written, TypeError for what is no text, UnicodeEncodeError, an `IocpError` if the system
        refuses.
        """
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        async with self._turn:
            self.buffer._check("write", self.buffer._writable)
            await self._settle()
            if not self._encoder_set:
                if await self.buffer.tell():
                    self._encoder.setstate(0)
                self._encoder_set = True
            state = self._encoder.getstate()
            ended = text.replace("\n", self._written_end) if self._written_end else text
            try:
                await self.buffer.write(self._encoder.encode(ended))
            except BaseException:
                self._encoder.setstate(state)
                raise
        return len(text)

    async def writelines(self, lines: Iterable[str]) -> None:
        """Write several pieces of text, one after the other, as one.

        Raises what `write` raises.
        """
        await self.write("".join(lines))

    async def truncate(self, size: int | None = None) -> int:
        """Make the file so many bytes long, by default up to the position; return its length.

        Raises what `BinaryFile.truncate` raises.
        """
        async with self._turn:
            if size is None:
                size = (await self._place()).offset
            return await self.buffer.truncate(size)

    async def flush(self) -> None:
        """Wait for what is being written; see `BinaryFile.flush`."""
        await self.buffer.flush()

    async def fsync(self) -> None:
        """Have all that was written go to the disk; see `BinaryFile.fsync`."""
        await self.buffer.fsync()

    # The position

    async def tell(self) -> int:
        """Return the position, as a number for `seek`: mostly that of the byte.

        Raises ValueError for a closed file.
        """
        async with self._turn:
            return (await self._place()).number()

    async def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place that `tell` has returned, to 0, or with `whence` 2 to the end.

        Returns the place. Raises io.UnsupportedOperation for another place relative to here or
        to the end, ValueError for a negative one, another `whence` and a closed file.
        """
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if whence != os.SEEK_SET and position:
            relative = "cur" if whence == os.SEEK_CUR else "end"
            raise io.UnsupportedOperation(f"can't do nonzero {relative}-relative seeks")
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        async with self._turn:
            if whence == os.SEEK_CUR:
                place = await self._place()
            elif whence == os.SEEK_END:
                place = Place(await self.buffer.seek(0, os.SEEK_END), 0)
            else:
                place = Place.of(position)
            await self._go_to(place)
            return place.number()

    async def _place(self) -> Place:
        """Return where the position is in the bytes."""
        end = await self.buffer.tell()
        left = self._used
        for piece in self._pieces:
            if left < piece.length:
                return piece.place_of(left, self._new_decoder)
            left -= piece.length
        held_back, flags = self._decoder.getstate()
        offset = end - len(held_back)
        # Behind what has been written, the decoder knows no more than at the beginning; but no byte
        # order mark comes there.
        return Place(offset, 0 if flags == self._first_flags else flags)

    async def _go_to(self, place: Place) -> None:
        await self.buffer.seek(place.offset)
        self._text, self._used = "", 0
        self._pieces.clear()
        self._decoder.reset()
        if place.number():
            self._decoder.setstate((b"", place.flags))
        self._encoder.reset()
        self._encoder_set = False

    async def _settle(self) -> None:
        """Forget what has been read ahead of the position."""
        if self._pieces:
            await self._go_to(await self._place())

    # The end

    async def close(self) -> None:
        """Close the file; see `BinaryFile.close`. Closing twice does nothing."""
        try:
            async with self._turn:
                pass
        finally:
            await self.buffer.close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self.buffer.closed

    @property
    def name(self) -> Any:
        """The path that it was opened with."""
        return self.buffer.name

    @property
    def mode(self) -> str:
        """The mode that it was opened with."""
        return self._mode

    @property
    def newlines(self) -> Any:
        """The line ends that have been read, as Python's own files tell them."""
        return getattr(self._decoder, "newlines", None)

    async def __aenter__(self) -> Self:
        self.buffer._check("__aenter__", True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        shown = " closed" if self.closed else ""
        return (
            f"<{type(self).__name__}{shown} name={self.name!r} mode={self._mode!r}"
            f" encoding={self.encoding!r}>"
        )
