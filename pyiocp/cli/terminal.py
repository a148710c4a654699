"""Terminal: whether the output goes to a terminal, and what draws there.

``rich`` is used on a terminal, if installed; everywhere else there are plain lines, without
control codes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(output: TextIO) -> bool:
    """Return whether the output goes to a terminal on which control codes work.

    A program that reads our output through a pipe can say so with ``TTY_INTERACTIVE``.
    """
    said = os.environ.get("TTY_INTERACTIVE")
    if said in ("0", "1"):
        return said == "1"
    return output.isatty() and os.environ.get("TERM") != "dumb"


def rich_console(output: TextIO) -> Console | None:
    """Return a console of ``rich``; None without a terminal, or without ``rich``.

    ``rich`` itself leaves colours out if ``NO_COLOR`` is in the environment.
    """
    if not is_terminal(output):
        return None
    try:
        # Imported here, because plain lines do not need it.
        from rich.console import Console  # noqa: PLC0415
    except ImportError:
        return None
    # Through a pipe to a terminal, as `run.py` has it, control codes are all there is.
    legacy = None if output.isatty() else False
    return Console(file=output, force_terminal=True, legacy_windows=legacy)
