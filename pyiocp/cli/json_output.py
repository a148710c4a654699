"""JSON output, for scripts: with ``--json`` nothing else goes to stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def add_json_option(parser: argparse._ActionsContainer, what: str, more: str = "") -> None:
    """Add ``--json``; `what` is printed, and `more` is added to the help."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON{more}")


def print_json(value: Any) -> None:
    """Print a value for a script, at once."""
    print(json.dumps(value, indent=2), flush=True)
