"""FrameParser: finds the frames in one stream of bytes, however it is cut into chunks.

A frame within one chunk is handed over in place. Otherwise its parts are joined in ``_tail``, and
each of its bytes is copied there once: a frame in n pieces costs O(n). The tail takes no more of
a chunk than the frame needs, if that is known; the frames after it are in the chunk again.

Frames are found one at a time, as they are taken, so the caller can stop after any of them. The
position is stored in ``_chunk`` and ``_at`` before each frame is handed over, not only in the
generator: that may be dropped at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from .framing import Delimited, Framing, LengthPrefixed

_NOTHING = memoryview(b"")


class FramingError(ConnectionError):
    """What came on a stream is not a frame. What follows it cannot be parsed."""


class FrameTooLongError(FramingError):
    """A frame is longer than its framing allows."""


class FrameTruncatedError(FramingError, EOFError):
    """The stream ended in the middle of a frame."""


def bytes_of(view: memoryview) -> memoryview:
    """Return the bytes of any buffer in one row: of a strided one, a copy."""
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


class FrameParser:
    """Finds the frames in one stream. Made by `Framing.parser`.

    Thread safety: one thread at a time.
    """

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._limit = framing.limit
        #: The beginning of a frame that the last chunk ended in. It is never changed once a
        #: part of it has been handed over, because the user may have kept that.
        self._tail = bytearray()
        #: How many bytes that frame needs before it is asked about again; 0 if unknown.
        self._need = 0
        #: How many of its bytes the framing has seen already.
        self._seen = 0
        #: What has been fed and not parsed begins at `_at` of the chunk.
        self._chunk = _NOTHING
        self._at = 0
        self._kept = True
        self.error: FramingError | None = None
        """Why no more frames can be found."""

    def __repr__(self) -> str:
        state = repr(self.error) if self.error else f"{self.waiting_bytes} bytes wait"
        return f"<{type(self).__name__} of {self._framing!r}: {state}>"

    def feed(self, data: Buffer) -> Iterator[memoryview]:
        """Return an iterator over the frames that are complete with `data`.

        data: the next bytes of the stream, any number. They must stay as they are until the
            frames have been taken, or until `keep` is called.

        A frame is a view of `data` if it lies there as a whole, and else of a copy. Frames
        that are not taken come first the next time, which may be ``feed(b"")``.

        The iterator raises a `FramingError` where the stream has no frame, after the frames
        before that, and so does every later one.
        """
        chunk = memoryview(data)
        if not (chunk.format == "B" and chunk.ndim == 1 and chunk.contiguous):
            chunk = bytes_of(chunk)
        if self._at == len(self._chunk):
            self._kept = False
        else:
            rest = self._chunk[self._at :]
            if chunk:
                chunk = memoryview(b"".join((rest, chunk)))
                self._kept = True
            else:
                chunk = rest
        self._chunk = chunk
        self._at = 0
        if self._tail or self.error is not None:
            return self._frames()
        return self._whole_frames(chunk)

    def keep(self) -> None:
        """Copy what was fed and not taken, so that the caller may reuse its buffer."""
        if not self._kept:
            self._chunk = memoryview(bytes(self._chunk[self._at :]))
            self._at = 0
            self._kept = True

    def take_rest(self) -> memoryview:
        """Return, and drop, what has come after the last frame taken."""
        rest = self._chunk[self._at :]
        if self._tail:
            rest = memoryview(b"".join((self._tail, rest)))
        self._tail = bytearray()
        self._need = self._seen = 0
        self._chunk, self._at = _NOTHING, 0
        return rest

    @property
    def unparsed_bytes(self) -> int:
        """How many bytes were fed and not looked at: 0 if all that is complete was taken."""
        return len(self._chunk) - self._at

    @property
    def waiting_bytes(self) -> int:
        """How many bytes have come that were not handed over."""
        return len(self._tail) + len(self._chunk) - self._at

    def finish(self) -> None:
        """The stream has ended.

        Raises `FrameTruncatedError` if that is in the middle of a frame.
        """
        if self.error is not None:
            raise self.error
        if self.waiting_bytes:
            raise FrameTruncatedError(
                f"the stream ended after {self.waiting_bytes} bytes of a frame [{self._framing!r}]"
            )

    def _frames(self) -> Iterator[memoryview]:
        """Yield what is complete, beginning with the frame that the last chunk broke off."""
        if self.error is not None:
            raise self.error
        frame = self._complete()
        chunk = self._chunk
        if frame is not None:
            yield frame
        yield from self._whole_frames(chunk)

    def _complete(self) -> memoryview | None:
        """Add to the incomplete frame; return it if it is complete now."""
        tail, chunk = self._tail, self._chunk
        while self._at < len(chunk):
            end = len(chunk)
            if self._need:
                end = min(end, self._at + self._need - len(tail))
            tail += chunk[self._at : end]
            self._at = end
            if len(tail) < self._need:
                break
            view = memoryview(tail)
            found = self._look(view)
            if found is not None:
                begin, end, after = found
                too_many = len(tail) - after
                if too_many <= self._at:
                    self._at -= too_many
                else:  # the end was there before this chunk, and could not be told
                    self._chunk = memoryview(b"".join((view[after:], chunk[self._at :])))
                    self._at, self._kept = 0, True
                self._tail = bytearray()
                return view[begin:end]
            view.release()  # or it could not grow
        return None

    def _whole_frames(self, chunk: memoryview) -> Iterator[memoryview]:
        """Yield the frames that lie in a chunk as a whole; the rest becomes the tail."""
        while self._chunk is chunk and self._at < len(chunk):
            at = self._at
            found = self._look(chunk[at:])
            if found is None:
                break
            begin, end, after = found
            self._at = at + after
            yield chunk[at + begin : at + end]
        self._end_of(chunk)

    def _end_of(self, chunk: memoryview) -> None:
        """Copy the beginning of a frame at the end of a chunk, and release the chunk."""
        if self._chunk is chunk:  # or another one was fed while the frames were taken
            self._tail += chunk[self._at :]
            self._chunk, self._at = _NOTHING, 0

    def _look(self, data: memoryview) -> tuple[int, int, int] | None:
        """Ask the framing about the beginning of a frame, and check its answer."""
        try:
            found = self._framing.split(data, self._seen)
        except FramingError as error:
            self.error = error
            raise
        size = len(data)
        if isinstance(found, tuple):
            begin, end, after = found
            if not (0 <= begin <= end <= after <= size and after):
                raise RuntimeError(f"{self._framing!r}.split() found {found} in {size} bytes")
            if after > self._limit:
                raise self._too_long(after)
            self._need = self._seen = 0
            return found
        if found is not None and found <= size:
            raise RuntimeError(f"{self._framing!r}.split() asks for {found} bytes, and got {size}")
        need = found or size + 1
        if need > self._limit:
            raise self._too_long(need)
        self._need = found or 0
        self._seen = size
        return None

    def _too_long(self, size: int) -> FrameTooLongError:
        self.error = FrameTooLongError(
            f"a frame of {size} bytes or more; the limit is {self._limit} [{self._framing!r}]"
        )
        return self.error


class LengthPrefixedParser(FrameParser):
    """The same, with the loop over whole frames written out: half the time for each frame."""

    def __init__(self, framing: LengthPrefixed) -> None:
        super().__init__(framing)
        self._unpack_from = framing.header.unpack_from
        self._counted = framing.counted
        self._size = framing.size
        self._maximum = framing.maximum

    def _whole_frames(self, chunk: memoryview) -> Iterator[memoryview]:
        unpack_from, size, counted = self._unpack_from, self._size, self._counted
        maximum = self._maximum
        count = len(chunk)
        while self._chunk is chunk:
            at = self._at
            begin = at + size
            if begin > count:
                break
            length = unpack_from(chunk, at)[0] - counted
            end = begin + length
            if end > count or not 0 <= length <= maximum:
                break
            self._at = end
            yield chunk[begin:end]
        if self._at < count:
            # The end of the chunk, or a frame that is none, is looked at in the usual way.
            yield from super()._whole_frames(chunk)
        else:
            self._end_of(chunk)


class DelimitedParser(FrameParser):
    """The same, with one search through the chunk for all of its frames."""

    def __init__(self, framing: Delimited) -> None:
        super().__init__(framing)
        self._finditer = framing.pattern.finditer

    def _whole_frames(self, chunk: memoryview) -> Iterator[memoryview]:
        limit = self._limit
        at = self._at
        for match in self._finditer(chunk, at):
            end, after = match.span()
            if after - at > limit:
                raise self._too_long(after - at)
            self._at = after
            yield chunk[at:end]
            if self._chunk is not chunk:
                return
            at = after
        rest = len(chunk) - at
        if rest:
            if rest >= limit:
                raise self._too_long(rest + 1)
            self._need = 0
            self._seen = rest
        self._end_of(chunk)
