"""Opening files: CreateFileW with what a port needs, and errors that name the file.

What belongs here: the way from a path and words to the number of a handle.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...errors import error_of_code
from ...winapi import (
    FILE_FLAG_NO_BUFFERING,
    FILE_FLAG_OVERLAPPED,
    FILE_FLAG_RANDOM_ACCESS,
    FILE_FLAG_SEQUENTIAL_SCAN,
    FILE_FLAG_WRITE_THROUGH,
    INVALID_HANDLE_VALUE,
)
from .file_mode import FileMode, share_flags

if TYPE_CHECKING:
    from ...engine.kernel import Kernel


def file_name(path: str | bytes | os.PathLike[Any]) -> str:
    """Return a path as text; ValueError if Windows would see only a part of it."""
    name = os.fsdecode(path)
    if "\0" in name:
        raise ValueError(f"a path has no null character, and this has: {name!r}")
    return name


def open_file(
    kernel: Kernel,
    name: str,
    mode: str,
    *,
    share: str,
    sequential: bool,
    random: bool,
    write_through: bool,
    unbuffered: bool,
) -> int:
    """Return the handle of a file, opened or created for overlapped operations.

    The arguments are those of `HandlePort.file`. Raises ValueError for words that exclude
    each other, and an `IocpError` with ``filename`` if the system does not open it.

    Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
    """
    letters = FileMode.of(mode)
    if sequential and random:
        raise ValueError("sequential and random exclude each other: say which it will be")
    if unbuffered and letters.appending:
        raise ValueError(
            "an unbuffered file is not opened for appending: its end is seldom that of a sector"
        )
    flags = FILE_FLAG_OVERLAPPED
    flags |= FILE_FLAG_SEQUENTIAL_SCAN if sequential else 0
    flags |= FILE_FLAG_RANDOM_ACCESS if random else 0
    flags |= FILE_FLAG_WRITE_THROUGH if write_through else 0
    flags |= FILE_FLAG_NO_BUFFERING if unbuffered else 0
    number = kernel.CreateFileW(
        name, letters.access, share_flags(share), None, letters.disposition, flags, None
    )
    if number is None or number == INVALID_HANDLE_VALUE:
        error = error_of_code("CreateFileW", kernel.last_error(), None, name)
        error.filename = name
        raise error
    return number
