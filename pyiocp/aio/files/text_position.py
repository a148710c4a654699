"""Where in a file's bytes a place in its text is.

Text is decoded in pieces, and a program stands somewhere in the text of one. For the place in the
bytes a piece is decoded once more, up to there. Such a place is where the bytes go on, and what the
decoder knows by then: of most encodings nothing, so the number that `TextFile.tell` returns is
mostly the offset.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from codecs import IncrementalDecoder
    from collections.abc import Callable

_OFFSET_BITS = 64
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_CR_PENDING = 1
"""Of the flags of `io.IncrementalNewlineDecoder`: a carriage return has been held back."""


class Place(NamedTuple):
    """Where decoding goes on: at an offset, with what the decoder knows by then."""

    offset: int
    flags: int

    def number(self) -> int:
        """Return it as one number: the beginning is 0, whatever the decoder knows."""
        if not self.offset:
            return 0
        return self.offset | self.flags << _OFFSET_BITS

    @classmethod
    def of(cls, number: int) -> Place:
        """Return the place of a number."""
        return cls(number & _OFFSET_MASK, number >> _OFFSET_BITS)


class Piece(NamedTuple):
    """Bytes that have been decoded, from a place on, to so many characters."""

    place: Place
    data: bytes
    length: int

    def place_of(self, characters: int, new_decoder: Callable[[], IncrementalDecoder]) -> Place:
        """Return the place behind so many characters of the piece."""

        def decoded(size: int) -> tuple[int, int]:
            decoder = new_decoder()
            decoder.setstate((b"", self.place.flags))
            length = len(decoder.decode(self.data[:size]))
            return length, decoder.getstate()[1]

        sizes = range(len(self.data) + 1)
        size = bisect_left(sizes, characters, key=lambda size: decoded(size)[0])
        length, flags = decoded(size)
        if length > characters:
            # The last byte has made two characters: itself, and what was held back before it.
            size -= 1
            flags = decoded(size)[1] & ~_CR_PENDING
        return Place(self.place.offset + size, flags)
