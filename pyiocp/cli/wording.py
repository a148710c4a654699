"""Wording: numbers with their nouns and units, as they are printed."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 client``, ``1,000 clients``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def reason(error: BaseException | str) -> str:
    """Return an error without which of our objects it was, which is for programmers."""
    return str(error).partition(" [<")[0]


def show_duration(duration_s: float) -> str:
    """Return a duration with three digits and a fitting unit: ``3.21 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if duration_s >= size:
            return f"{_three_digits(duration_s / size)} {unit}"
    return f"{_three_digits(duration_s / 1e-6)} us"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
