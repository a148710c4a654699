"""Opening files: CreateFileW with what a port needs, and errors that name the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import error_of_code
from ...winapi import (
    CREATE_ALWAYS,
    CREATE_NEW,
    FILE_FLAG_NO_BUFFERING,
    FILE_FLAG_OVERLAPPED,
    FILE_FLAG_RANDOM_ACCESS,
    FILE_FLAG_SEQUENTIAL_SCAN,
    FILE_FLAG_WRITE_THROUGH,
    FILE_GENERIC_WRITE,
    FILE_SHARE_DELETE,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    FILE_WRITE_DATA,
    GENERIC_READ,
    GENERIC_WRITE,
    INVALID_HANDLE_VALUE,
    OPEN_ALWAYS,
    OPEN_EXISTING,
)

if TYPE_CHECKING:
    from ...engine.kernel import Kernel


_DISPOSITIONS = {"r": OPEN_EXISTING, "w": CREATE_ALWAYS, "x": CREATE_NEW, "a": OPEN_ALWAYS}

#: The access that writing needs, without the right to write anywhere but at the end.
_APPEND_ACCESS = FILE_GENERIC_WRITE & ~FILE_WRITE_DATA

_SHARES = {"r": FILE_SHARE_READ, "w": FILE_SHARE_WRITE, "d": FILE_SHARE_DELETE}


@dataclass(frozen=True, slots=True)
class FileMode:
    """A mode such as ``"r+"``: a plain value.

    ``access`` and ``disposition`` are CreateFileW's; ``appending`` means that the file is
    written to at its end only.
    """

    text: str
    access: int
    disposition: int
    readable: bool
    writable: bool
    appending: bool

    @classmethod
    def of(cls, text: str) -> FileMode:
        """Return the mode for the letters of Python's ``open``; ``b`` may be left out.

        Raises ValueError for other letters, and for ``t``: a port moves bytes.
        """
        letters = sorted(text.replace("b", "", 1))
        kinds = [letter for letter in letters if letter in _DISPOSITIONS]
        others = [letter for letter in letters if letter not in _DISPOSITIONS]
        if len(kinds) != 1 or others not in ([], ["+"]):
            raise ValueError(
                f"mode must be one of 'r', 'w', 'x', 'a', with '+' to read and write, not {text!r}"
                " (files on a port are binary)"
            )
        [kind] = kinds
        both = others == ["+"]
        readable = kind == "r" or both
        writable = kind != "r" or both
        access = GENERIC_READ if readable else 0
        if writable:
            access |= _APPEND_ACCESS if kind == "a" else GENERIC_WRITE
        return cls(text, access, _DISPOSITIONS[kind], readable, writable, kind == "a")


def share_flags(share: str) -> int:
    """Return CreateFileW's dwShareMode for letters: ``r`` read, ``w`` write, ``d`` delete.

    Raises ValueError for other letters.
    """
    if len(set(share)) != len(share) or not set(share) <= set(_SHARES):
        raise ValueError(
            "share must be letters of 'r' (read), 'w' (write) and 'd' (delete, rename), or ''"
            f" to exclude everybody, not {share!r}"
        )
    return sum(_SHARES[letter] for letter in share)


def file_name(path: str | bytes | os.PathLike[Any]) -> str:
    """Return a path as text; ValueError if Windows would only see part of it."""
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

    The arguments are those of `CompletionPort.file`. Raises ValueError for arguments that exclude
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
