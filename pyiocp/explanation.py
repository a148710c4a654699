"""explain(): what an error code means for an overlapped operation, and what to do about it."""

from __future__ import annotations

import ctypes
import difflib
import errno
import textwrap
from dataclasses import dataclass

from . import errors
from .explanation_words import BY_CODE
from .winapi import FunctionUnavailableError, RtlNtStatusToDosError
from .winapi import errorcodes as codes

_NAMES = {
    name: code
    for name, code in vars(codes).items()
    if isinstance(code, int) and name.startswith(("ERROR_", "STATUS_", "WAIT_", "WSA", "NO_ERROR"))
}
"""Every code that has a name here."""

_NO_FAILURES = {
    codes.STATUS_SUCCESS: codes.ERROR_SUCCESS,
    codes.STATUS_PENDING: codes.ERROR_IO_PENDING,
}

_LOOK_IT_UP = "Look it up in Microsoft's pages, under the function that failed."

_WIN32_OF_HRESULT = 0x80070000
"""The upper half of an HRESULT that stands for a Win32 code, which the lower half is."""


@dataclass(frozen=True)
class Explanation:
    """What a code means; in a REPL it shows itself in words. A plain value.

    ``code`` is the number (of an NTSTATUS: unsigned), ``name`` its name in Windows' headers,
    or the number as text; ``meaning`` what has happened and ``remedy`` what to do;
    ``error`` the class that pyiocp raises for it, or None if it is no failure; ``related``
    the other codes of the same event, as text.
    """

    code: int | None
    name: str
    meaning: str
    remedy: str
    error: type[BaseException] | None = None
    related: tuple[str, ...] = ()

    def __str__(self) -> str:
        title = self.name if self.code is None else _titled(self.code, self.name)
        if self.error is not None and self.error.__name__ != self.name:
            builtin = next(base for base in self.error.__mro__ if base.__module__ == "builtins")
            title += f": {self.error.__name__}, a kind of {builtin.__name__}"
        parts = [self.meaning, f"What to do: {self.remedy}"]
        if self.related:
            parts.append(f"The same: {', '.join(self.related)}")
        indented = [
            textwrap.fill(part, 90, initial_indent="  ", subsequent_indent="  ") for part in parts
        ]
        return "\n".join([title, *indented])

    def __repr__(self) -> str:
        return str(self)


def explain(code: int | str | BaseException) -> Explanation:
    """Tell what an error code means for an overlapped operation, and what to do about it.

    code: a Win32 or Winsock code (``10054``), an NTSTATUS, signed or unsigned
        (``0xC000020D``), an HRESULT that stands for a Win32 code, the name of any of these
        (``"STATUS_PIPE_BROKEN"``), a number as text, or an exception, pyiocp's or Python's.

    Raises ValueError for a name that no code has (and says which are like it), TypeError for
    what is neither number, name nor exception. Works on every system, but where it is not
    Windows, codes that have no words here have only their name. Any thread may call it.
    """
    if isinstance(code, BaseException):
        return _of_exception(code)
    if isinstance(code, str):
        return _of_name(code.strip())
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"explain() takes a code, its name or an exception, not {code!r}")
    return _of_number(code)


def _of_exception(error: BaseException) -> Explanation:
    if isinstance(error, errors.IocpError) and error.ntstatus is not None:
        name = codes.status_name(error.ntstatus)
        explanation = _of_win32(error.winerror)
        related = (*explanation.related, _titled(error.ntstatus, name))
        return Explanation(
            error.winerror,
            explanation.name,
            explanation.meaning,
            explanation.remedy,
            type(error),
            tuple(dict.fromkeys(related)),
        )
    if isinstance(error, OSError):
        winerror = getattr(error, "winerror", None) or _winsock_code(error.errno)
        if winerror is not None:
            return _of_win32(winerror)
    doc = (type(error).__doc__ or "").partition("\n")[0]
    if type(error).__module__.partition(".")[0] != __package__:
        raise TypeError(f"{error!r} carries no error code")
    return Explanation(None, type(error).__name__, doc, str(error), type(error))


def _winsock_code(number: int | None) -> int | None:
    """Return Winsock's code for an error number of C's: one of the same name."""
    name = errno.errorcode.get(number or 0, "")
    return _NAMES.get(name if name.startswith("WSA") else f"WSA{name}")


def _of_name(name: str) -> Explanation:
    try:
        return _of_number(int(name, 0))
    except ValueError:
        pass
    known = _NAMES.get(name.upper())
    if known is None:
        near = difflib.get_close_matches(name.upper(), _NAMES, 3)
        hint = f": perhaps {' or '.join(near)}" if near else ""
        raise ValueError(f"no code is called {name!r}{hint}")
    if name.upper().startswith("STATUS_"):
        return _of_status(known)
    return _of_win32(known)


def _of_number(number: int) -> Explanation:
    if not -(1 << 31) <= number < 1 << 32:
        raise ValueError(f"a code has 32 bits, and {number} has more")
    unsigned = number & 0xFFFFFFFF
    if unsigned & 0xFFFF0000 == _WIN32_OF_HRESULT:
        return _of_win32(unsigned & 0xFFFF)
    # Win32's codes are small; an NTSTATUS has its severity in the two highest bits.
    return _of_status(unsigned) if unsigned >> 30 else _of_win32(unsigned)


def _of_win32(code: int) -> Explanation:
    name = codes.error_name(code)
    event = BY_CODE.get(code)
    if event is None:
        # All codes with a class of their own have words.
        words = _words_of_system(code) or "This code has no words here."
        return Explanation(code, name, words, _LOOK_IT_UP, errors.IocpError)
    related = [_titled(other, codes.error_name(other)) for other in event.codes if other != code]
    for table in (errors.SOCKET_WINERROR_OF, errors.WINERROR_OF):
        related += [
            _titled(status, codes.status_name(status))
            for status, winerror in table.items()
            if winerror in event.codes
        ]
    failure = code not in (codes.ERROR_SUCCESS, codes.ERROR_IO_PENDING)
    return Explanation(
        code,
        name,
        event.meaning,
        event.remedy,
        type(errors.error_of_code("", code)) if failure else None,
        tuple(dict.fromkeys(related)),
    )


def _of_status(status: int) -> Explanation:
    """Explain an NTSTATUS: what it means on a socket and elsewhere, if that is not the same."""
    name = codes.status_name(status)
    winerrors = [
        table[status]
        for table in (errors.SOCKET_WINERROR_OF, errors.WINERROR_OF)
        if status in table
    ] or _translated(status)
    found = {explained.meaning: explained for explained in map(_of_win32, winerrors)}
    related = tuple(_titled(code, codes.error_name(code)) for code in dict.fromkeys(winerrors))
    if not found:
        meaning = "This status has no words here."
        return Explanation(status, name, meaning, _LOOK_IT_UP, errors.IocpError)
    if len(found) == 1:
        [one] = found.values()
        return Explanation(status, name, one.meaning, one.remedy, one.error, related)
    on_socket, elsewhere = found.values()
    return Explanation(
        status,
        name,
        f"On a socket: {on_socket.meaning} On a file or pipe: {elsewhere.meaning}",
        f"On a socket: {on_socket.remedy} On a file or pipe: {elsewhere.remedy}",
        None,
        related,
    )


def _translated(status: int) -> list[int]:
    """Return ntdll's Win32 code for a status; nothing off Windows, but for what is no failure."""
    try:
        return [RtlNtStatusToDosError(status - (1 << 32) if status >> 31 else status)]
    except FunctionUnavailableError:
        return [_NO_FAILURES[status]] if status in _NO_FAILURES else []


def _titled(code: int, name: str) -> str:
    """Return a code with its name: ``WSAECONNRESET (10054)``, or alone if it has none."""
    number = f"{code:#010X}".replace("X", "x") if code >> 30 else str(code)
    return number if name in (number, number.lower(), str(code)) else f"{name} ({number})"


def _words_of_system(code: int) -> str:
    """Return what the system itself says, in its own language; nothing off Windows."""
    try:
        return ctypes.FormatError(code).strip()
    except AttributeError:
        return ""
