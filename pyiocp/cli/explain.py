"""Tell what an error code means for an overlapped operation, and what to do about it.

examples:
  python -m pyiocp explain 10054
  python -m pyiocp explain 0xC000020D
  python -m pyiocp explain STATUS_PIPE_BROKEN 109
  python -m pyiocp explain 10054 --json

A code is a Win32 or Winsock code, an NTSTATUS, or the name of one.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..explanation import explain
from .json_output import add_json_option, print_json

if TYPE_CHECKING:
    from ..explanation import Explanation

HELP = "tell what an error code means, and what to do"

NEEDS_WINDOWS = False
"""Codes are the same everywhere."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("code", nargs="+", metavar="CODE", help="a number, or a name")
    add_json_option(parser, "a list, an object for each code,")


def run(options: argparse.Namespace) -> int:
    """Print what each code means; return 1 if one is unknown."""
    found: list[Explanation] = []
    for code in options.code:
        try:
            found.append(explain(code))
        except ValueError as error:
            print(f"pyiocp: error: {error}", file=sys.stderr)
    if options.json:
        print_json([as_values(explanation) for explanation in found])
    elif found:
        print("\n\n".join(map(str, found)), flush=True)
    return 0 if len(found) == len(options.code) else 1


def as_values(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation, ready for JSON: the exception by its name."""
    error = explanation.error
    return asdict(explanation) | {"error": error and error.__name__}
