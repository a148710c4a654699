"""Tell what an error code means for an overlapped operation, and what to do about it.

examples:
  python -m pyiocp explain 10054
  python -m pyiocp explain 0xC000020D
  python -m pyiocp explain STATUS_PIPE_BROKEN 109

A code is a Win32 or Winsock code, an NTSTATUS, or the name of one.
"""

from __future__ import annotations

import argparse
import sys

from ..explanation import explain

HELP = "tell what an error code means, and what to do"

NEEDS_WINDOWS = False
"""Codes are the same everywhere."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("code", nargs="+", metavar="CODE", help="a number, or a name")


def run(options: argparse.Namespace) -> int:
    """Print what each code means; 1 if there is one that nobody knows."""
    unknown = 0
    for number, code in enumerate(options.code):
        if number:
            print()
        try:
            print(explain(code), flush=True)
        except ValueError as error:
            print(f"pyiocp: error: {error}", file=sys.stderr)
            unknown += 1
    return 1 if unknown else 0
