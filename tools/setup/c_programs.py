"""The C programs of this folder, compiled for Windows by mingw-w64."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import debian
from .programs import call

PYTHON = Path(__file__).with_name("python.c")
SUPERVISE = Path(__file__).with_name("supervise.c")
SOURCES = (PYTHON, SUPERVISE)
FLAGS = ("-O2", "-Wall", "-Werror", "-municode")


def compile_for_windows(source: Path, program: Path, macros: Sequence[str] = ()) -> None:
    """Compile a C file, with macros such as `NAME=value`."""
    defined = [f"-D{macro}" for macro in macros]
    command = [*debian.COMPILER, *FLAGS, *defined, str(source), "-o", str(program)]
    call(command, f"compiling {program.name}")
