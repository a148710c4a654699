"""Arguments: numbers within limits, and a one-line error for others."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
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


def add_number(
    parser: ArgumentParser, name: str, least: float, most: float, text: str, default: float | None
) -> None:
    """Add an option that is a number from `least` to `most`; a whole one if `least` is.

    name: with a placeholder for the number: ``--clients N``.
    text: the help; the default is added if there is one.
    """
    option, unit = name.split()
    parser.add_argument(
        option,
        type=number_between(type(least), least, most),
        default=default,
        metavar=unit,
        help=text if default is None else f"{text} (default: {default})",
    )
