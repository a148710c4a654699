"""The benchmark's programs in C, compiled when they are first needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = Path(os.environ.get("PYIOCP_CACHE") or HERE.parent / ".cache").absolute() / "bench"

_FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror"]
_FOR_WINDOWS = ["-D_WIN32_WINNT=0x0602", "-lws2_32", "-lmswsock", "-lpsapi"]


def client_program(name: str) -> Path:
    """Return a client, for the system that this runs on."""
    return _compiled(Path("clients", f"{name}.c"), name, for_windows=os.name == "nt")


def floor_program() -> Path:
    """Return the server in C, for Windows."""
    return _compiled(Path("floor.c"), "floor", for_windows=True)


def instant_program() -> Path:
    """Return the DLL with the kernel that returns at once, for Windows."""
    return _compiled(Path("instant.c"), "instant", for_windows=True, ending="dll")


def _compiled(source_name: Path, name: str, *, for_windows: bool, ending: str = "exe") -> Path:
    source = HERE / source_name
    program = BUILT / (f"{name}.{ending}" if for_windows else name)
    newest = max(file.stat().st_mtime for file in (source, *source.parent.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    compiler = "x86_64-w64-mingw32-gcc" if for_windows and os.name != "nt" else "gcc"
    if shutil.which(compiler) is None:
        raise SystemExit(f"{compiler} is not on PATH: {source_name} needs a C compiler (MinGW-w64)")
    BUILT.mkdir(parents=True, exist_ok=True)
    partial = program.with_name(f"{os.getpid()}.{program.name}")
    libraries = _FOR_WINDOWS if for_windows else []
    flags = [*_FLAGS, *["-shared"] * (ending == "dll")]
    subprocess.run([compiler, *flags, source, "-o", partial, *libraries], check=True)
    partial.replace(program)  # whole, also for another benchmark that starts now
    return program
