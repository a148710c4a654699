"""FileMode: what a file is opened for, in the letters of Python's ``open``.

What belongs here: the letters and what they are for CreateFileW.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...winapi import (
    CREATE_ALWAYS,
    CREATE_NEW,
    FILE_GENERIC_WRITE,
    FILE_SHARE_DELETE,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    FILE_WRITE_DATA,
    GENERIC_READ,
    GENERIC_WRITE,
    OPEN_ALWAYS,
    OPEN_EXISTING,
)

_DISPOSITIONS = {"r": OPEN_EXISTING, "w": CREATE_ALWAYS, "x": CREATE_NEW, "a": OPEN_ALWAYS}

#: All that writing takes, without the right to write anywhere but at the end.
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
