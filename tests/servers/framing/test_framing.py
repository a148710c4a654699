"""Framing: the same frames however the stream is cut, in linear time, and how it ends.

The first half feeds parsers, without any connection; the second half is `FramedSession`.
"""

from __future__ import annotations

import itertools
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deadline import DEADLINE_S
from hypothesis import given, settings
from hypothesis import strategies as st
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import (
    CompletionPort,
    Delimited,
    FixedSize,
    FramedSession,
    FrameParser,
    FrameTooLongError,
    FrameTruncatedError,
    Framing,
    FramingError,
    LengthPrefixed,
)

LOCAL = ("127.0.0.1", 0)


class KindAndLength(Framing):
    """The example of `Framing`: three bytes before each frame, which belong to it."""

    def split(self, data: memoryview, seen: int) -> tuple[int, int, int] | int:
        if len(data) < 3:
            return 3
        end = 3 + int.from_bytes(data[1:3], "little")
        return (0, end, end) if end <= len(data) else end

    def wrap(self, frame: Any) -> bytes:
        return b"k" + len(frame).to_bytes(2, "little") + bytes(frame)


class Folded(Framing):
    """Lines; one that begins with a blank goes on the line before it.

    Where a frame ends is known when the next one has begun: it needs to look ahead.
    """

    limit = 1000

    def split(self, data: memoryview, seen: int) -> tuple[int, int, int] | None:
        text = bytes(data)
        at = max(0, seen - 2)
        while (at := text.find(b"\n", at)) >= 0:
            at += 1
            if at < len(text) and text[at : at + 1] != b" ":
                return (0, at - 1, at)
        return None

    def wrap(self, frame: Any) -> bytes:
        return bytes(frame) + b"\n"


class Varint(Framing):
    """A length of one to three bytes of 7 bits, as in protocol buffers."""

    limit = 200

    def split(self, data: memoryview, seen: int) -> tuple[int, int, int] | int | None:
        length = 0
        for n in range(3):
            if n == len(data):
                return n + 1
            length |= (data[n] & 127) << 7 * n
            if data[n] < 128:
                end = n + 1 + length
                return (n + 1, end, end) if end <= len(data) else end
        raise FramingError("a length of more than three bytes")

    def wrap(self, frame: Any) -> bytes:
        data = bytes(frame)
        head = bytearray()
        rest = len(data)
        while rest > 127:
            head.append(rest & 127 | 128)
            rest >>= 7
        head.append(rest)
        return bytes(head) + data


FRAMINGS: list[Framing] = [
    LengthPrefixed(1, maximum=100),
    LengthPrefixed(1, maximum=100, counts_header=True),
    LengthPrefixed(2, maximum=100, byteorder="little"),
    LengthPrefixed(4, maximum=100, byteorder="little", counts_header=True),
    LengthPrefixed(8, maximum=100),
    Delimited(b"\n", maximum=100),
    Delimited(b"\r\n", maximum=100),
    Delimited(b"aab", maximum=100),
    FixedSize(1),
    FixedSize(7),
    KindAndLength(),
    Varint(),
]


def parts_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield the data, cut at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for begin, end in itertools.pairwise(places):
        yield data[begin:end]


def parsed(framing: Framing, parts: Iterator[bytes] | list[bytes], keep: bool = False) -> list[Any]:
    """Return the frames, and the class of the error that they end in, if they do.

    The parts are fed in a buffer that is overwritten after each; with `keep`, before the
    frames are taken.
    """
    parser = framing.parser()
    frames: list[Any] = []
    try:
        for part in parts:
            buffer = bytearray(part)
            found = parser.feed(buffer)
            if keep:
                parser.keep()
                buffer[:] = b"?" * len(part)
                found = parser.feed(b"")
            for frame in found:
                frames.append(bytes(frame))  # noqa: PERF401, those before an error count
            buffer[:] = b"?" * len(part)
        parser.finish()
    except FramingError as error:
        frames.append(type(error))
    return frames


cuts = st.lists(st.integers(0, 1 << 16), max_size=30)


# Parsers


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
@settings(max_examples=40)
@given(st.data())
def test_every_split_of_what_was_wrapped_gives_the_same_frames(
    framing: Framing, data: st.DataObject
) -> None:
    """The stream is cut anywhere: in headers, in delimiters, in the middle."""
    size = framing.size if isinstance(framing, FixedSize) else 0
    contents = st.binary(min_size=size, max_size=size or 30)
    if isinstance(framing, Delimited):
        delimiter = framing.delimiter
        contents = contents.filter(lambda c: (c + delimiter).find(delimiter) == len(c))
    frames = data.draw(st.lists(contents, max_size=12))
    stream = b"".join(framing.wrap(frame) for frame in frames)
    if isinstance(framing, KindAndLength):
        frames = [framing.wrap(frame) for frame in frames]
    assert parsed(framing, parts_of(stream, data.draw(cuts)), data.draw(st.booleans())) == frames


@pytest.mark.parametrize("framing", [*FRAMINGS, Folded()], ids=repr)
@settings(max_examples=40)
@given(data=st.data())
def test_every_split_of_any_bytes_gives_the_same_frames_and_the_same_error(
    framing: Framing, data: st.DataObject
) -> None:
    """Bytes that nobody wrapped: as one chunk, byte by byte, and cut anywhere."""
    alphabet = st.sampled_from(b"\x00\x01\x02\x05aab\r\n\n  \x80\xff")
    stream = bytes(data.draw(st.lists(alphabet, max_size=300)))
    whole = parsed(framing, [stream])
    assert parsed(framing, [bytes([byte]) for byte in stream]) == whole
    assert parsed(framing, parts_of(stream, data.draw(cuts))) == whole
    assert parsed(framing, parts_of(stream, data.draw(cuts)), keep=True) == whole


@pytest.mark.parametrize("framing", [*FRAMINGS, Folded()], ids=repr)
@settings(max_examples=40)
@given(data=st.data())
def test_who_stops_taking_frames_gets_the_others_later(
    framing: Framing, data: st.DataObject
) -> None:
    """Of each chunk so many frames are taken, or the iterator is not even begun."""
    alphabet = st.sampled_from(b"\x00\x01\x02\x05aab\r\n\n ")
    stream = bytes(data.draw(st.lists(alphabet, max_size=100)))
    parser = framing.parser()
    frames: list[Any] = []
    try:
        for part in [*parts_of(stream, data.draw(cuts)), b""]:
            found = parser.feed(part)
            for _ in range(data.draw(st.integers(0, 3)) if part else 1000):
                frame = next(found, None)
                if frame is None:
                    break
                frames.append(bytes(frame))
        parser.finish()
    except FramingError as error:
        frames.append(type(error))
    assert frames == parsed(framing, [stream])


def test_frames_in_one_chunk_are_not_copied() -> None:
    """Each is a view of the chunk; one that was broken off is a copy, those after it are not."""
    for framing in (LengthPrefixed(2), Delimited(b"\n"), FixedSize(3), KindAndLength()):
        chunk = bytearray(framing.wrap(b"abc") * 3)
        frames = list(framing.parser().feed(chunk))
        assert [frame.obj is chunk for frame in frames] == [True] * 3
        parser = framing.parser()
        assert list(parser.feed(chunk[:2])) == []
        rest = chunk[2:]
        frames = list(parser.feed(rest))
        assert [frame.obj is rest for frame in frames] == [False, True, True]


def test_a_frame_that_was_kept_stays_as_it_is() -> None:
    """The joined copy belongs to whoever kept the frame: the parser takes another one."""
    parser = LengthPrefixed(1).parser()
    kept = []
    for _ in range(3):
        for part in (b"\x04ab", b"cd"):
            kept += list(parser.feed(part))
    assert kept == [b"abcd"] * 3


def test_the_maximum_is_exact() -> None:
    """A frame of the maximum passes, one byte more is an error, as soon as that is known."""
    prefixed = LengthPrefixed(4, maximum=10)
    assert parsed(prefixed, [prefixed.wrap(bytes(10))]) == [bytes(10)]
    assert parsed(prefixed, [b"\0\0\0\x0b"]) == [FrameTooLongError]
    lines = Delimited(b"\r\n", maximum=10)
    assert parsed(lines, [b"x" * 10 + b"\r\n"]) == [b"x" * 10]
    assert parsed(lines, [b"x" * 11 + b"\r\n"]) == [FrameTooLongError]
    parser = lines.parser()
    assert list(parser.feed(b"x" * 11)) == []  # it may be 10 and a part of the delimiter
    with pytest.raises(FrameTooLongError, match="13 bytes or more; the limit is 12"):
        list(parser.feed(b"x"))


def test_a_length_less_than_its_own_bytes_is_no_frame() -> None:
    framing = LengthPrefixed(2, counts_header=True)
    assert parsed(framing, [b"\0\x02\0\x01"]) == [b"", FramingError]


def test_frames_before_an_error_are_handed_over_and_it_comes_again() -> None:
    """After the error nothing is known about the stream: feeding more ends in the same one."""
    parser = LengthPrefixed(1, maximum=3).parser()
    found = parser.feed(b"\x01a\x02bc\x04defg\x01h")
    assert [bytes(next(found)), bytes(next(found))] == [b"a", b"bc"]
    for _ in range(2):
        with pytest.raises(FrameTooLongError, match="a frame of 4 bytes"):
            next(parser.feed(b"\x01a"))
    with pytest.raises(FrameTooLongError):
        parser.finish()


def test_the_end_in_the_middle_of_a_frame_is_an_error() -> None:
    """Which is an EOFError as well; the end between two frames is none."""
    parser = FixedSize(4).parser()
    assert list(parser.feed(b"abcd")) == [b"abcd"]
    parser.finish()
    assert list(parser.feed(b"ab")) == []
    with pytest.raises(EOFError, match="the stream ended after 2 bytes of a frame"):
        parser.finish()


def test_feeding_while_frames_are_taken() -> None:
    """The inner iterator goes on where the outer one was; the outer one ends."""
    for framing in (LengthPrefixed(1), Delimited(b"|"), FixedSize(1)):
        parser = framing.parser()
        stream = b"".join(framing.wrap(c) for c in (b"a", b"b"))
        outer = parser.feed(stream)
        assert bytes(next(outer)) == b"a"
        assert [bytes(f) for f in parser.feed(framing.wrap(b"c"))] == [b"b", b"c"]
        assert list(outer) == []


@pytest.mark.parametrize(
    "answer", [(0, 3, 3), (0, 0, 0), (-1, 1, 1), (1, 0, 1), (0, 2, 1), 2, 1, 0, -5]
)
def test_an_answer_of_a_split_that_makes_no_sense_is_told(answer: Any) -> None:
    """And not looped over for ever: it says what was answered to how many bytes."""

    class Wrong(Framing):
        def split(self, data: memoryview, seen: int) -> Any:
            return answer

    with pytest.raises(RuntimeError, match=r"Wrong\(\)\.split\(\) .* 2"):
        list(Wrong().parser().feed(b"ab"))


def test_a_framing_of_ones_own_has_a_limit() -> None:
    """It need not look for it itself: the parser refuses what would take more."""

    class Unlimited(Framing):
        limit = 10

        def split(self, data: memoryview, seen: int) -> Any:
            return None if bytes(data[:1]) == b"?" else 5 + data[0]

    assert parsed(Unlimited(), [b"\x06"]) == [FrameTooLongError]
    assert parsed(Unlimited(), [b"?" * 9]) == [FrameTruncatedError]
    assert parsed(Unlimited(), [b"?"] * 10) == [FrameTooLongError]
    with pytest.raises(NotImplementedError, match="must override split"):
        list(Framing().parser().feed(b"x"))
    with pytest.raises(NotImplementedError, match="must override wrap"):
        Framing().wrap(b"x")


class CountingSlices(Framing):
    """Counts the bytes that it is shown for the first time, and the times it is asked."""

    limit = 1 << 30

    def __init__(self, inner: Framing) -> None:
        self.inner = inner
        self.asked = 0

    def split(self, data: memoryview, seen: int) -> Any:
        self.asked += 1
        return self.inner.split(data, seen)


def test_a_frame_in_n_pieces_is_asked_about_twice() -> None:
    """Its header and its end: not once for each of 100,000 pieces."""
    framing = CountingSlices(LengthPrefixed(4))
    parser = FrameParser(framing)
    frames = []
    for byte in LengthPrefixed(4).wrap(bytes(100_000)):
        frames += list(parser.feed(bytes([byte])))
    assert frames == [bytes(100_000)]
    assert framing.asked <= 4


class CountingPattern:
    """Counts the bytes that are searched."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.searched = 0

    def search(self, data: memoryview, at: int) -> re.Match[bytes] | None:
        self.searched += len(data) - at
        return self.pattern.search(data, at)

    def finditer(self, data: memoryview, at: int) -> Iterator[re.Match[bytes]]:
        self.searched += len(data) - at
        return self.pattern.finditer(data, at)


def test_a_delimiter_is_not_searched_from_the_start_again() -> None:
    """In 10,000 pieces of a frame each byte is looked at once, but for those before a cut."""
    framing = Delimited(b"\r\n", maximum=1 << 20)
    framing.pattern = pattern = CountingPattern(framing.pattern)  # type: ignore[assignment]
    parser = framing.parser()
    frames = []
    for _ in range(10_000):
        frames += list(parser.feed(bytes(10)))
    frames += list(parser.feed(b"\r\n"))
    assert frames == [bytes(100_000)]
    assert pattern.searched == 100_002 + 10_000


def seconds(framing: Framing, data: bytes, piece: int, times: int = 1) -> float:
    """Return the least of the times that it takes to parse the data so often, in such pieces."""
    parts = [data[at : at + piece] for at in range(0, len(data), piece)]
    least = 1e9
    for _ in range(5):
        parsers = [framing.parser() for _ in range(times)]
        count = 0
        begin = time.perf_counter()
        for parser in parsers:
            for part in parts:
                for _frame in parser.feed(part):
                    count += 1
        least = min(least, time.perf_counter() - begin)
        assert count > 0
    return least


@pytest.mark.parametrize("framing", [Delimited(b"ab", maximum=1 << 26), LengthPrefixed(4)])
def test_the_time_is_linear_in_the_pieces_of_a_frame(framing: Framing) -> None:
    """A frame of 16 times as many pieces takes as long as 16 frames, not 16 times as long.

    That would be so if it were joined anew with each piece; there is room for a machine that
    has other things to do, and does them in both.
    """
    small, large = (framing.wrap(b"a" * (n << 16)) for n in (1, 16))
    assert seconds(framing, large, 64) < 5 * seconds(framing, small, 64, times=16)


@pytest.mark.parametrize("framing", [Delimited(b"\n"), LengthPrefixed(2), KindAndLength()])
def test_the_time_is_linear_in_the_frames_of_a_chunk(framing: Framing) -> None:
    """A chunk of 16 times as many frames takes as long as 16 chunks."""
    small, large = (framing.wrap(b"x" * 10) * n for n in (500, 8000))
    assert seconds(framing, large, 1 << 30) < 5 * seconds(framing, small, 1 << 30, times=16)


def test_wrong_values_are_refused() -> None:
    """Each with words that say what is right."""
    wrong: list[tuple[Any, str]] = [
        (lambda: LengthPrefixed(3), "size must be 1, 2, 4 or 8 bytes, not 3"),  # type: ignore[arg-type]
        (lambda: LengthPrefixed(1, maximum=256), "maximum must be between 0 and 255"),
        (lambda: LengthPrefixed(1, maximum=255, counts_header=True), "between 0 and 254"),
        (lambda: LengthPrefixed(2, maximum=-1), "maximum must be between 0 and 65535"),
        (lambda: LengthPrefixed(2, byteorder="network"), "byteorder must be"),  # type: ignore[arg-type]
        (lambda: Delimited(b""), "delimiter must have at least 1 byte"),
        (lambda: Delimited(b"x", maximum=-1), "maximum must be at least 0"),
        (lambda: FixedSize(0), "size must be at least 1 byte"),
        (lambda: LengthPrefixed(2, maximum=3).wrap(b"abcd"), "a frame of 4 bytes cannot be sent"),
        (lambda: Delimited(b"\n", maximum=3).wrap(b"abcd"), "a frame of 4 bytes cannot be sent"),
        (lambda: Delimited(b"\n").wrap(b"a\nb"), "must not contain its delimiter"),
        (lambda: Delimited(b"aa").wrap(b"ba"), "must not contain its delimiter"),
        (lambda: FixedSize(3).wrap(b"ab"), "a frame of 2 bytes cannot be sent"),
    ]
    for make, message in wrong:
        with pytest.raises(ValueError, match=message):
            make()


def test_what_is_no_buffer_is_refused() -> None:
    for framing in (LengthPrefixed(2), Delimited(b"\n"), FixedSize(5)):
        with pytest.raises(TypeError):
            framing.wrap(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            framing.parser().feed("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="delimiter must be bytes"):
        Delimited("\n")  # type: ignore[arg-type]


def test_buffers_of_other_items_are_taken_as_bytes() -> None:
    """A memoryview of integers has fewer items than bytes; one with gaps is copied (C49)."""
    numbers = memoryview(bytearray(8)).cast("I")
    assert LengthPrefixed(1).wrap(numbers) == b"\x08" + bytes(8)
    assert list(FixedSize(4).parser().feed(numbers)) == [bytes(4), bytes(4)]
    gaps = memoryview(bytes(range(8)))[::2]
    framings = [LengthPrefixed(1), Delimited(b";"), FixedSize(4)]
    for framing in framings:
        for frame in (gaps, gaps[::-1], gaps.toreadonly()):
            [parsed] = framing.parser().feed(framing.wrap(frame))
            assert bytes(parsed) == frame.tobytes()
    assert list(FixedSize(4).parser().feed(gaps)) == [b"\0\2\4\6"]
    fortran = memoryview(bytes(range(6))).cast("B", (2, 3))
    assert bytes(LengthPrefixed(1).wrap(fortran)) == b"\6" + bytes(range(6))


# Sessions


class Frames(Journal, FramedSession):
    """Writes its frames down."""

    framing: Framing = LengthPrefixed(2, maximum=1000)

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.got = threading.Event()
        self.awaited = 1

    def on_frame(self, frame: memoryview) -> None:
        self.hooks.append("frame")
        self.frames.append(bytes(frame))
        if len(self.frames) == self.awaited:
            self.got.set()


class Echo(Frames):
    def on_frame(self, frame: memoryview) -> None:
        super().on_frame(frame)
        self.send_frame(frame)


def wrapped(*frames: bytes) -> bytes:
    return b"".join(Frames.framing.wrap(frame) for frame in frames)


def test_frames_arrive_one_by_one_and_on_receive_is_not_called(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """In pieces, one byte at a time, and many at once; then the peer's end."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    frames = [b"", b"one", bytes(1000), *(b"%d" % n for n in range(50))]
    data = wrapped(*frames)
    with served(port), connect(listener) as peer:
        for at in range(20):
            peer.sendall(data[at : at + 1])
        peer.sendall(data[20:])
        assert receive_all(peer, len(data)) == data
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
        [session] = sessions
        assert session.closed.wait(DEADLINE_S)
    assert session.frames == frames
    assert session.hooks == ["connect", *["frame"] * len(frames), "eof", "close"]
    assert session.error is None


@pytest.mark.parametrize(
    ("sent", "error", "text"),
    [
        (wrapped(b"good") + b"\xff\xff", FrameTooLongError, "a frame of 65535 bytes"),
        (wrapped(b"good") + b"\0\x05abc", FrameTruncatedError, "after 5 bytes of a frame"),
    ],
    ids=["too long", "truncated"],
)
def test_what_is_no_frame_ends_the_session_with_its_own_error(
    port: CompletionPort, no_errors_logged: None, sent: bytes, error: type, text: str
) -> None:
    """The frames before it come; no on_eof; nothing is logged, for it is the peer's fault."""
    sessions = Made(Frames)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        assert session.closed.wait(DEADLINE_S)
    assert session.frames == [b"good"]
    assert session.hooks == ["connect", "frame", "close"]
    assert type(session.error) is error
    assert text in str(session.error)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_no_frame_comes_after_close(port: CompletionPort, how: str) -> None:
    """Ten frames in one chunk, of which the third closes the session."""

    class Closing(Frames):
        def on_frame(self, frame: memoryview) -> None:
            super().on_frame(frame)
            if bytes(frame) == b"3":
                getattr(self, how)()

    sessions = Made(Closing)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(wrapped(*(b"%d" % n for n in range(1, 11))))
        assert eventually(lambda: bool(sessions))
        if how == "close":
            assert peer.recv(1) == b""
            peer.close()
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].frames[:3] == [b"1", b"2", b"3"]
    if how == "close":
        assert len(sessions[0].frames) == 3


def test_frames_wait_while_the_session_is_paused(port: CompletionPort) -> None:
    """Each frame pauses; each resume brings one, in order; then the end of the stream.

    The peer's bytes and its end have long come when the first resume is called.
    """

    class Pausing(Frames):
        def on_frame(self, frame: memoryview) -> None:
            self.pause_receiving()
            super().on_frame(frame)

        def on_eof(self) -> None:
            super().on_eof()

    frames = [b"%d" % n for n in range(20)]
    sessions = Made(Pausing)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(wrapped(*frames))
        peer.shutdown(socket.SHUT_WR)
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        for n in range(1, 21):
            assert eventually(lambda n=n: len(session.frames) >= n)  # type: ignore[misc]
            assert session.hooks == ["connect", *["frame"] * n]
            session.resume_receiving()
        assert session.has_eof.wait(DEADLINE_S)
        assert peer.recv(1) == b""
        assert session.closed.wait(DEADLINE_S)
    assert session.frames == frames
    assert session.error is None


def test_what_was_under_way_when_paused_waits_too(port: CompletionPort) -> None:
    """Paused from outside with a receive pending: its frames come after the resume only.

    Then the end comes while frames wait: it is told after them.
    """
    sessions = Made(Frames)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(wrapped(b"1"))
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        assert session.got.wait(DEADLINE_S)
        assert eventually(lambda: "receive" in repr(port))
        session.pause_receiving()
        peer.sendall(wrapped(b"2", b"3"))
        assert eventually(lambda: session._pyiocp._parser.waiting_bytes == 6)
        assert session.frames == [b"1"]
        framer = session._pyiocp
        framer.connection.inbox.deliver(framer.on_eof)
        assert not session.has_eof.is_set()
        session.resume_receiving()
        assert session.has_eof.wait(DEADLINE_S)
        peer.shutdown(socket.SHUT_WR)
        assert session.closed.wait(DEADLINE_S)
    assert session.frames == [b"1", b"2", b"3"]
    assert session.hooks == ["connect", *["frame"] * 3, "eof", "close"]


def test_the_framing_may_change_after_any_frame(port: CompletionPort) -> None:
    """Lines that say how long the body after them is, as in many text protocols.

    All in one chunk, and cut in the middle of a line and of a body.
    """

    class LineAndBody(Frames):
        line: Framing = Delimited(b"\n")
        framing = line

        def on_frame(self, frame: memoryview) -> None:
            super().on_frame(frame)
            if self.framing is self.line:
                self.framing = FixedSize(int(bytes(frame)))
            else:
                self.framing = self.line

    sessions = Made(LineAndBody)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"3\nabc10\n0123456789" * 3 + b"1")
        assert eventually(lambda: bool(sessions) and len(sessions[0].frames) == 12)
        peer.sendall(b"2\n01234")
        assert eventually(lambda: len(sessions[0].frames) == 13)
        peer.sendall(b"5678901")
        assert eventually(lambda: len(sessions[0].frames) == 14)
    lines_and_bodies = [b"3", b"abc", b"10", b"0123456789"] * 3
    assert sessions[0].frames == [*lines_and_bodies, b"12", b"012345678901"]


def test_a_frame_hook_that_raises_ends_that_session(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if it raises what framings raise: it is logged, unlike a peer's mistake."""

    class Failing(Frames):
        def on_frame(self, frame: memoryview) -> None:
            raise FramingError("an answer to nothing")

    sessions = Made(Failing)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(wrapped(b"1", b"2"))
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(DEADLINE_S)
    assert "an answer to nothing" in str(sessions[0].error)
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    caplog.clear()


def test_a_session_without_framing_is_told_so(port: CompletionPort) -> None:
    class Without(FramedSession):
        pass

    with pytest.raises(TypeError, match=r"Without\.framing must be a Framing"):
        port.connect(("127.0.0.1", 9), Without)
    assert port.sessions == set()


def test_frames_of_several_threads_do_not_mix(port: CompletionPort) -> None:
    """Header and content go out together, whoever sends at the same time."""
    sessions = Made(Frames)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())

        def send(letter: bytes) -> None:
            for n in range(100):
                sessions[0].send_frame(letter * (n + 1))

        threads = [threading.Thread(target=send, args=(bytes([65 + n]),)) for n in range(4)]
        for thread in threads:
            thread.start()
        parser = Frames.framing.parser()
        got: list[bytes] = []
        while len(got) < 400:
            got += [bytes(frame) for frame in parser.feed(peer.recv(1 << 16))]
        for thread in threads:
            thread.join()
    for n in range(4):
        letter = bytes([65 + n])
        assert [f for f in got if f[:1] == letter] == [letter * (n + 1) for n in range(100)]


def test_a_refused_frame_leaves_the_session_as_it_is(port: CompletionPort) -> None:
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        with pytest.raises(ValueError, match="a frame of 1001 bytes cannot be sent"):
            sessions[0].send_frame(bytes(1001))
        with pytest.raises(TypeError):
            sessions[0].send_frame("text")
        peer.sendall(wrapped(b"alive"))
        assert receive_all(peer, 7) == wrapped(b"alive")


def test_sending_before_the_connection_stands_is_refused(port: CompletionPort) -> None:
    session = Frames()
    with pytest.raises(RuntimeError, match="no connection"):
        session.send_frame(b"x")
