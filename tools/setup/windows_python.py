"""Windows Python: what both kinds can do, and which kind this machine has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .extras import EXTRAS, NOT_FREE_THREADED
from .native_python import NativePython
from .versions import Version
from .wine_python import WinePython


class WindowsPython(Protocol):
    """A Windows interpreter that can import pyiocp and what its extras require."""

    def set_up(self, names: Sequence[str]) -> None:
        """Do the part of the set-up that is not done yet, with the extras of these names."""

    def run(self, arguments: Sequence[str], *, stdin: bool = True, cwd: Path | None = None) -> int:
        """Run the interpreter with our standard streams and return its exit code."""

    def interact(self, arguments: Sequence[str]) -> int:
        """Run the interpreter on our terminal, with editing of lines, and return its exit code."""

    def path(self, path: Path) -> str:
        """Return the name of a file as the interpreter sees it."""


def windows_python(version: Version, extras: Sequence[str] = EXTRAS) -> WindowsPython:
    """Return Windows Python, set up."""
    python: WindowsPython
    python = NativePython(version) if sys.platform == "win32" else WinePython(version)
    left_out = NOT_FREE_THREADED if version.free_threaded else ()
    python.set_up([extra for extra in extras if extra not in left_out])
    return python
