"""Terminal: who looks at the output, and what is drawn with there.

``rich`` is used where somebody looks and it is installed; everywhere else there are plain
lines, without control codes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(output: TextIO) -> bool:
    """Tell whether somebody looks at the output as it comes, and control codes work.

    ``TTY_INTERACTIVE`` is how a program with a pipe to us says so, or denies it.
    """
    said = os.environ.get("TTY_INTERACTIVE")
    if said in ("0", "1"):
        return said == "1"
    return output.isatty() and os.environ.get("TERM") != "dumb"


def rich_console(output: TextIO) -> Console | None:
    """Return what ``rich`` draws with; None where nobody looks, or without ``rich``.

    ``rich`` itself leaves colours out if ``NO_COLOR`` is in the environment.
    """
    if not is_terminal(output):
        return None
    try:
        # Imported here, because whoever sees lines need not have it.
        from rich.console import Console  # noqa: PLC0415
    except ImportError:
        return None
    # Through a pipe to a terminal, as `run.py` has it, control codes are all there is.
    legacy = None if output.isatty() else False
    return Console(file=output, force_terminal=True, legacy_windows=legacy)
