"""Where this machine has the tests of Python's standard library: Debian has them in a package."""

from __future__ import annotations

import sys
from pathlib import Path

from . import debian, standard_library
from .failures import Failure

WANTED = Path("test", "test_asyncio")


def find(minor: str) -> Path:
    """Return the folder ``test`` of a minor version, installed with apt-get if need be."""
    folder = _look(minor)
    if folder is None and sys.platform != "win32":
        debian.install([f"libpython{minor}-testsuite"])
        folder = _look(minor)
    if folder is None:
        raise Failure(
            f"Python {minor} has no tests of its library here ({WANTED.as_posix()}): its installer"
            " has them as an option, and Debian in a package"
        )
    return folder


def _look(minor: str) -> Path | None:
    for candidate in standard_library.candidates(minor):
        if (candidate / WANTED).is_dir():
            return candidate / "test"
    return None
