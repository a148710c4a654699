"""Wording: numbers with their nouns and units, and how things end, as they are printed."""

from __future__ import annotations

import sys


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 client``, ``1,000 clients``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def reason(error: BaseException | str) -> str:
    """Return an error's text without the object concerned, which is for programmers."""
    return str(error).partition(" [<")[0]


def exit_code_of(end: SystemExit) -> int:
    """Return the exit code of ``exit(…)``, as Python does: a text is printed."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def show_duration(duration_s: float) -> str:
    """Return a duration with three digits and a fitting unit: ``3.21 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if duration_s >= size:
            return f"{_three_digits(duration_s / size)} {unit}"
    return f"{_three_digits(duration_s / 1e-6)} us"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
