"""Arguments: numbers within limits, and one line that says so when they are not."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable


def number_between(kind: type[int | float], least: float, most: float) -> Callable[[str], float]:
    """Return a function that reads a number from `least` to `most`, for argparse's ``type``."""

    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            what = "a whole number" if kind is int else "a number"
            raise ArgumentTypeError(f"{text!r} is not {what} from {least:,} to {most:,}")
        return number

    return read
