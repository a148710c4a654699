"""`aio.open`: files that are awaited do what Python's own files do, and more at a time."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gc
import io
import os
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S

from pyiocp import OperationCancelledError, aio

LINES = b"".join(b"line %d\n" % n for n in range(30_000))


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a loop of ours, with a deadline."""

    async def limited() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await main()

    aio.run(limited())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be made."""
    return tmp_path / "file"


# Both kinds against Python's own files

STEPS: list[list[tuple[Any, ...]]] = [
    [("read",)],
    [("read", 5), ("tell",), ("read", 0), ("readline",), ("tell",), ("read",)],
    [("readline", 3), ("readline", 100), ("tell",), ("readlines", 20), ("read", 9)],
    [("seek", 7), ("readline",), ("seek", 0, 2), ("read",), ("tell",), ("seek", 0), ("read", 4)],
    [("readlines",), ("read",), ("readline",)],
]


@pytest.mark.parametrize("steps", STEPS, ids=range(len(STEPS)))
@pytest.mark.parametrize("buffering", [-1, 0, 10, 70_000])
def test_bytes_are_read_as_pythons_own_files_read_them(
    path: Path, buffering: int, steps: list[tuple[Any, ...]]
) -> None:
    """The same calls, step by step; whatever is read ahead."""
    path.write_bytes(LINES)

    async def main() -> None:
        with builtins.open(path, "rb") as model:  # noqa: PTH123
            async with aio.open(path, "rb", buffering) as file:
                for name, *arguments in steps:
                    expected = getattr(model, name)(*arguments)
                    assert expected == await getattr(file, name)(*arguments), (name, arguments)

    run(main)


@pytest.mark.parametrize("steps", STEPS, ids=range(len(STEPS)))
@pytest.mark.parametrize(
    ("encoding", "newline"),
    [
        ("utf-8", None),
        ("utf-8", ""),
        ("utf-8", "\n"),
        ("utf-8", "\r"),
        ("utf-8", "\r\n"),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("cp1252", ""),
        ("gbk", None),
    ],
)
def test_text_is_read_as_pythons_own_files_read_it(
    path: Path, encoding: str, newline: str | None, steps: list[tuple[Any, ...]]
) -> None:
    """The same calls, step by step; what tell() gives is compared by going there."""
    text = "".join(f"{n} caf\xe9\r\nnext\nlone\rend " for n in range(6_000))
    if encoding == "gbk":
        text = text.replace("\xe9", "\u4e2d")
    path.write_bytes(text.encode(encoding))

    async def main() -> None:
        words: dict[str, Any] = {"encoding": encoding, "newline": newline}
        with builtins.open(path, **words) as model:  # noqa: PTH123
            async with aio.open(path, **words) as file:
                for name, *arguments in steps:
                    if name == "seek" and arguments == [7] and encoding == "utf-16":
                        arguments = [0]  # noqa: PLW2901
                    expected = getattr(model, name)(*arguments)
                    got = await getattr(file, name)(*arguments)
                    if name == "tell":
                        left = model.read()
                        assert await file.read() == left
                        model.seek(expected)
                        await file.seek(got)
                        assert await file.tell() == got
                        continue
                    assert expected == got, (name, arguments)
                assert await file.read() == model.read()
                assert file.newlines == model.newlines

    run(main)


@pytest.mark.parametrize("newline", [None, "", "\n"])
def test_every_place_in_a_text_is_found_again(path: Path, newline: str | None) -> None:
    """tell() after each character, and seek() back to it."""
    path.write_bytes("\ufeffa\r\nb\u4e2d\n\rc\r\r\n\U0001f600d\r".encode())

    async def main() -> None:
        async with aio.open(path, encoding="utf-8-sig", newline=newline) as file:
            whole = await file.read()
            await file.seek(0)
            places = [await file.tell()]
            while await file.read(1):
                places.append(await file.tell())
            assert len(places) == len(whole) + 1
            for n in reversed(range(len(places))):
                await file.seek(places[n])
                assert await file.read() == whole[n:]

    run(main)


def test_a_character_in_two_pieces(path: Path) -> None:
    """A piece of what is read may end in the middle of one, or of a line's end."""

    async def main() -> None:
        for before in ("x" * n for n in range(5)):
            path.write_bytes((before + "\u4e2d\r\n" * 20_000).encode())
            async with aio.open(path, encoding="utf-8", newline="\r\n") as file:
                lines = [line async for line in file]
                assert lines == [f"{before}\u4e2d\r\n", *(["\u4e2d\r\n"] * 19_999)]

    run(main)


def test_lines_are_iterated_and_a_long_one_is_no_trouble(path: Path) -> None:
    """5 MB without an end of line come as one."""
    path.write_bytes(LINES + b"x" * 5_000_000 + b"\nend")

    async def main() -> None:
        async with aio.open(path, "rb") as file:
            lines = [line async for line in file]
            assert b"".join(lines) == LINES + b"x" * 5_000_000 + b"\nend"
            assert len(lines) == 30_002

    run(main)


# Writing


@pytest.mark.parametrize("mode", ["w", "a", "r+", "w+", "a+", "x"])
def test_what_is_written_is_what_pythons_own_files_write(tmp_path: Path, mode: str) -> None:
    """Text with its line ends, and the position behind it."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    if mode != "x":
        for path in (ours, theirs):
            path.write_bytes(b"before\r\n" * 3)

    async def main() -> None:
        for binary in (False, True):
            if mode == "x":
                ours.unlink(missing_ok=True)
                theirs.unlink(missing_ok=True)
            kind = mode + "b" * binary
            words: dict[str, Any] = {} if binary else {"encoding": "utf-16"}
            data: Any = b"some\nbytes" if binary else "some\ntext"
            with builtins.open(theirs, kind, **words) as model:  # noqa: PTH123
                async with aio.open(ours, kind, **words) as file:
                    assert model.write(data) == await file.write(data)
                    model.writelines([data, data])
                    await file.writelines([data, data])
                    model.flush()
                    await file.flush()
                    assert model.tell() == await file.tell()
                    for place in (model.tell(), 0):  # a byte order mark is at the beginning only
                        assert model.seek(place) == await file.seek(place)
                        assert model.write(data) == await file.write(data)
            assert ours.read_bytes() == theirs.read_bytes()

    run(main)


def test_reading_and_writing_by_turns(path: Path) -> None:
    """A write goes where the reader is, not where the reading ahead has got to."""
    path.write_bytes(b"0123456789\n" * 10)

    async def main() -> None:
        async with aio.open(path, "r+b") as file:
            assert await file.readline() == b"0123456789\n"
            assert await file.write(b"abc") == 3
            assert await file.read(3) == b"345"
            assert await file.tell() == 17
            assert await file.truncate() == 17
            assert await file.read() == b""
            assert await file.truncate(5) == 5
            await file.seek(-2, os.SEEK_END)
            await file.seek(1, os.SEEK_CUR)
            assert await file.read() == b"4"
            await file.fsync()
        assert path.read_bytes() == b"01234"
        async with aio.open(path, "r+", encoding="utf-8") as text:
            assert await text.read(2) == "01"
            await text.write("x")
            assert await text.read() == "34"
        assert path.read_bytes() == b"01x34"

    run(main)


def test_large_ones_are_read_and_written_in_pieces(path: Path) -> None:
    """3 MB and a byte."""
    data = os.urandom(3 * 1024 * 1024 + 1)

    async def main() -> None:
        async with aio.open(path, "w+b") as file:
            assert await file.write(memoryview(data)) == len(data)
            await file.seek(0)
            assert await file.read(len(data) - 5) == data[:-5]
            assert await file.read(100) == data[-5:]
            assert await file.read_at(7, len(data)) == data[7:]

    run(main)


def test_a_file_that_grows_while_it_is_read(path: Path) -> None:
    """What is appended before the end has been reached is read as well."""
    path.write_bytes(LINES)
    more = b"more" * 1_000_000

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        real, calls = loop.port.kernel.ReadFile, []

        def read_file(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 1:
                with path.open("ab") as file:
                    file.write(more)
            return real(*arguments)

        loop.port.kernel.ReadFile = read_file
        async with aio.open(path, "rb") as file:
            assert await file.read() == LINES + more

    run(main)


def test_many_requests_at_a_time(path: Path) -> None:
    """read_at and write_at have places of their own, and leave the position alone."""
    count, size = 64, 4096

    async def main() -> None:
        async with aio.open(path, "w+b") as file:
            pieces = [bytes([n]) * size for n in range(count)]
            await asyncio.gather(*(file.write_at(n * size, p) for n, p in enumerate(pieces)))
            assert await asyncio.gather(*(file.read_at(n * size, size) for n in range(count))) == (
                pieces
            )
            assert await file.tell() == 0
            assert await file.readline() == b"".join(pieces[:10]) + b"\n"
            await file.write_at(10 * size + 1, b"fresh")  # where it has read ahead
            assert await file.read(5) == b"fresh"
            assert await file.read_at(count * size, 1) == b""

    run(main)


def test_tasks_that_share_a_file_take_turns(path: Path) -> None:
    """Each line comes out once, and what they write is in one piece."""
    path.write_bytes(LINES)

    async def main() -> None:
        async with aio.open(path, "rb", 100) as file:

            async def read() -> list[bytes]:
                return [line async for line in file]

            parts = await asyncio.gather(*(read() for _ in range(3)))
            assert sorted(line for part in parts for line in part) == sorted(
                LINES.splitlines(keepends=True)
            )
        async with aio.open(path, "wb") as file:
            pieces = [bytes([n]) * 2_000_000 for n in range(3)]
            await asyncio.gather(*map(file.write, pieces))
        assert path.read_bytes() == b"".join(pieces)

    run(main)


# Cancelling


def test_a_cancelled_task_leaves_the_position_where_it_belongs(path: Path) -> None:
    """A read that was cancelled has not been; a write counts as far as it got."""
    path.write_bytes(LINES)

    async def main() -> None:
        async with aio.open(path, "r+b") as file:
            for step in range(12):
                await file.seek(3)
                task = asyncio.create_task(file.read())
                for _ in range(step):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    assert await task == LINES[3:]
                except asyncio.CancelledError:
                    assert await file.tell() == 3
                    assert await file.read(10) == LINES[3:13]
            data = b"y" * (4 << 20)
            for step in range(12):
                await file.seek(0)
                await file.truncate()
                task = asyncio.create_task(file.write(data))  # type: ignore[arg-type]
                for _ in range(step):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                assert await file.tell() == path.stat().st_size

    run(main)


def test_a_cancelled_open_leaves_nothing_open(path: Path) -> None:
    """The thread goes on, and what it has opened is closed: the file can be removed."""
    path.write_bytes(b"x")

    async def main() -> None:
        for step in range(5):
            task = asyncio.ensure_future(aio.open(path))
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task.result().close()
        loop: Any = asyncio.get_running_loop()
        await loop.shutdown_default_executor()
        while loop.port.handles:  # noqa: ASYNC110, nothing tells
            await asyncio.sleep(0.001)
        path.unlink()

    run(main)


# The end, and bad input


def test_a_closed_file(path: Path) -> None:
    """Everything but closing it again is a ValueError, as with Python's own."""

    async def main() -> None:
        for mode in ("w+b", "w+"):
            file = await aio.open(path, mode)
            assert (file.closed, file.name, file.mode) == (False, path, mode)
            async with file as same:
                assert same is file
            await file.close()
            assert file.closed
            assert "closed" in repr(file)
            data: Any = b"x" if "b" in mode else "x"
            for call in (
                file.read,
                file.readline,
                file.readlines,
                file.tell,
                file.flush,
                file.truncate,
                file.fsync,
                file.__anext__,
                file.__aenter__,
                lambda: file.seek(0),  # noqa: B023
                lambda: file.write(data),  # noqa: B023
                lambda: file.writelines([data]),  # noqa: B023
            ):
                with pytest.raises(ValueError, match="closed file"):
                    await call()

    run(main)


def test_closing_cancels_requests_at_offsets(path: Path) -> None:
    """They raise; those that move the position are waited for."""
    path.write_bytes(LINES)

    async def main() -> None:
        file = await aio.open(path, "rb")
        at = [asyncio.create_task(file.read_at(0, 1 << 20)) for _ in range(3)]
        reading = asyncio.create_task(file.read())
        await asyncio.sleep(0)
        await file.close()
        assert await reading == LINES
        for task in at:
            with contextlib.suppress(OperationCancelledError, ValueError):
                assert await task == LINES

    run(main)


def test_one_that_is_dropped_is_closed_with_a_warning(path: Path) -> None:
    """As Python's own."""

    async def main() -> None:
        file = await aio.open(path, "wb")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del file
            gc.collect()
        unclosed = [w for w in caught if "unclosed file" in str(w.message)]
        assert [w.category for w in unclosed] == [ResourceWarning]
        path.unlink()

    run(main)


@pytest.mark.parametrize(
    "arguments",
    [
        ("file", ""),
        ("file", "rw"),
        ("file", "z"),
        ("file", "rr"),
        ("file", "b"),
        ("file", "rtb"),
        ("file", "r", 0),
        ("file", "rb", -1, "utf-8"),
        ("file", "rb", -1, None, "strict"),
        ("file", "rb", -1, None, None, "\n"),
        ("file", "r", -1, None, None, "x"),
        ("file", "r", -1, "no-such-encoding"),
        ("file", 7),
        (None,),
        (1.5,),
    ],
)
def test_arguments_that_pythons_own_open_refuses(arguments: tuple[Any, ...], path: Path) -> None:
    """With the same exception, at once."""
    path.write_bytes(b"x")
    if arguments[0] == "file":
        arguments = (path, *arguments[1:])
    with pytest.raises((TypeError, ValueError, LookupError)) as theirs:
        builtins.open(*arguments).close()  # noqa: PTH123
    with pytest.raises(theirs.type):
        aio.open(*arguments)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    """With the same exceptions as Python's own, and the name."""

    async def main() -> None:
        (tmp_path / "there").write_bytes(b"x")
        for name, mode in (("missing", "r"), ("no/such", "w"), ("there", "x"), (".", "r")):
            with pytest.raises(OSError) as theirs:  # noqa: PT011
                builtins.open(tmp_path / name, mode).close()  # noqa: PTH123
            with pytest.raises(theirs.type) as ours:
                await aio.open(tmp_path / name, mode)
            assert ours.value.filename == str(tmp_path / name)
        with pytest.raises(TypeError, match="not the descriptor"):
            aio.open(0)  # type: ignore[call-overload]

    run(main)


def test_what_a_mode_does_not_allow(path: Path) -> None:
    """io.UnsupportedOperation, and what Python's own files say of bad arguments."""
    path.write_bytes(b"x")

    async def main() -> None:
        async with aio.open(path, "ab") as file:
            for call in (file.read, file.readline, file.truncate, lambda: file.read_at(0, 1)):
                with pytest.raises(io.UnsupportedOperation):
                    await call()
            with pytest.raises(io.UnsupportedOperation):
                await file.write_at(0, b"x")
        async with aio.open(path, "rb") as file:
            for call in (lambda: file.write(b"x"), lambda: file.write_at(0, b"x"), file.fsync):
                with pytest.raises(io.UnsupportedOperation):
                    await call()
            with pytest.raises(OSError, match="Invalid argument"):
                await file.seek(-1)
            with pytest.raises(ValueError, match="whence"):
                await file.seek(0, 7)
            with pytest.raises(ValueError, match="at least 0"):
                await file.read_at(0, -1)
            with pytest.raises(ValueError, match="offset"):
                await file.read_at(-1, 1)
        async with aio.open(path, "w") as text:
            with pytest.raises(TypeError, match="must be str, not bytes"):
                await text.write(b"x")  # type: ignore[arg-type]
            with pytest.raises(io.UnsupportedOperation):
                await text.read()
            with pytest.raises(io.UnsupportedOperation, match="cur-relative"):
                await text.seek(1, 1)
            with pytest.raises(ValueError, match="negative"):
                await text.seek(-1)
        async with aio.open(path, "wb") as file:
            with pytest.raises(TypeError):
                await file.write("text")  # type: ignore[arg-type]
            with pytest.raises(OSError, match="Invalid argument"):
                await file.truncate(-1)

    run(main)


def test_bytes_that_are_no_text(path: Path) -> None:
    """The error comes each time, until another way of reading is taken."""
    path.write_bytes(b"good\nbad \xff\n")

    async def main() -> None:
        async with aio.open(path, encoding="utf-8") as file:
            for _ in range(2):
                with pytest.raises(UnicodeDecodeError):
                    await file.read()
        async with aio.open(path, "w", encoding="ascii") as file:
            with pytest.raises(UnicodeEncodeError):
                await file.write("caf\xe9")
            await file.write("cafe")
        assert path.read_bytes() == b"cafe"

    run(main)


def test_in_another_loop(path: Path) -> None:
    """The error says where it works."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"in a loop of pyiocp\.aio only"):
            await aio.open(path, "w")

    asyncio.run(main())
