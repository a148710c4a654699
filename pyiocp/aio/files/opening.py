"""`open`: opens files that are awaited, with the words of Python's own ``open``."""

from __future__ import annotations

import asyncio
import io
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ..event_loop import EventLoop
from .binary_file import BinaryFile
from .text_file import TextFile

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Generator

    from _typeshed import OpenBinaryMode, OpenTextMode

    from ...handles.files.file import File

    Path = str | bytes | os.PathLike[Any]

_F = TypeVar("_F", BinaryFile, TextFile)


class Opening(Generic[_F]):
    """What `open` returns: awaited, or entered by ``async with``, it is the file."""

    def __init__(self, path: Path, mode: str, make: Callable[[File], Any]) -> None:
        """Open nothing yet."""
        self._path = path
        self._mode = mode
        self._make = make
        self._file: _F | None = None

    def __await__(self) -> Generator[Any, None, _F]:
        return self._open().__await__()

    async def __aenter__(self) -> _F:
        self._file = await self._open()
        return self._file

    async def __aexit__(self, *_: object) -> None:
        if self._file is not None:
            await self._file.close()

    async def _open(self) -> _F:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, EventLoop):
            raise RuntimeError(f"aio.open() works in a loop of pyiocp.aio only, not in {loop!r}")
        opening = loop.run_in_executor(None, partial(loop.port.file, self._path, self._mode))
        try:
            file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)  # the thread goes on
            raise
        try:
            made: _F = self._make(file)
        except BaseException:
            file.close()
            raise
        return made


def _close(opening: Future[File]) -> None:
    """Close what has been opened for nobody."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@overload
def open(  # noqa: A001
    path: Path,
    mode: OpenTextMode = ...,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
) -> Opening[TextFile]: ...


@overload
def open(  # noqa: A001
    path: Path,
    mode: OpenBinaryMode,
    buffering: int = ...,
    encoding: None = ...,
    errors: None = ...,
    newline: None = ...,
) -> Opening[BinaryFile]: ...


@overload
def open(  # noqa: A001
    path: Path,
    mode: str,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
) -> Opening[Any]: ...


def open(  # noqa: A001
    path: Path,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Opening[Any]:
    """Open a file that is awaited, on the loop's port.

    ::

        async with aio.open("log.txt") as file:
            async for line in file:
                print(line)

        file = await aio.open("log.bin", "rb")

    path: as for Python's ``open``, but no descriptor.
    mode: ``r``, ``w``, ``x`` or ``a``, with ``b`` for bytes and ``+`` to read and write.
    buffering: bytes to read ahead; -1 is as many as seems good, 0 (of bytes only) none. Nothing
        that is written waits here, whatever this is.
    encoding, errors, newline: as for Python's ``open``.

    The file is opened in another thread, since that may wait for the network, or for a scanner of
    viruses. Reads and writes are overlapped requests, without a thread. Returns what is to be
    awaited, or entered; it then is a `TextFile` or, with ``b``, a `BinaryFile`.

    Raises ValueError for a bad mode and what does not go together, TypeError for what is no path,
    LookupError for an unknown encoding, all at once; what is awaited raises FileNotFoundError,
    FileExistsError, PermissionError or another `IocpError`, with ``filename``, and RuntimeError
    where no `EventLoop` runs.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    """
    if isinstance(path, int):
        raise TypeError(f"aio.open() needs a path, not the descriptor {path!r}")
    os.fspath(path)
    _check_mode(mode)
    letters = mode.replace("b", "").replace("t", "")
    if "b" in mode:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"binary mode doesn't take an {name} argument")
        make: Callable[[File], Any] = partial(_binary, path, mode, buffering)
    else:
        if buffering == 0:
            raise ValueError("can't have unbuffered text I/O")
        # Python's own says what is wrong with these, and what they stand for.
        checked = io.TextIOWrapper(
            io.BytesIO(), io.text_encoding(encoding), errors=errors, newline=newline
        )
        text = mode, checked.encoding, checked.errors or "strict", newline
        make = partial(_text, path, buffering, text)
    return Opening(path, letters, make)


def _check_mode(mode: str) -> None:
    """Raise TypeError or ValueError for what Python's ``open`` takes for no mode."""
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    if not set(mode) <= set("rwxabt+") or len(set(mode)) != len(mode):
        raise ValueError(f"invalid mode: {mode!r}")
    if "t" in mode and "b" in mode:
        raise ValueError("can't have text and binary mode at once")
    if len(set(mode) & set("rwxa")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")


def _binary(path: Path, mode: str, buffering: int, file: File) -> BinaryFile:
    return BinaryFile(file, path, mode, -1 if buffering == 1 else buffering)


def _text(
    path: Path, buffering: int, text: tuple[str, str, str, str | None], file: File
) -> TextFile:
    return TextFile(_binary(path, text[0], buffering, file), *text)
