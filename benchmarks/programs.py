"""The benchmark's programs in C, compiled when they are first needed.

What belongs here: compiling. What the programs do stands at the head of each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = Path(os.environ.get("PYIOCP_CACHE") or HERE.parent / ".cache").absolute() / "bench"

_FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-D_WIN32_WINNT=0x0602"]
_LIBRARIES = ["-lws2_32", "-lmswsock"]
_FOR_WINDOWS = "gcc" if os.name == "nt" else "x86_64-w64-mingw32-gcc"


def load_program() -> Path:
    """Return the load generator, for the system that this runs on."""
    if os.name == "nt":
        return _compiled("load.c", "load.exe", "gcc", *_LIBRARIES)
    return _compiled("load.c", "load", "gcc")


def floor_program() -> Path:
    """Return the echo server in C, for Windows."""
    return _compiled("floor.c", "floor.exe", _FOR_WINDOWS, *_LIBRARIES)


def instant_program() -> Path:
    """Return the DLL with the kernel that returns at once, for Windows."""
    return _compiled("instant.c", "instant.dll", _FOR_WINDOWS, "-shared", *_LIBRARIES)


def _compiled(source_name: str, name: str, compiler: str, *libraries: str) -> Path:
    source, program = HERE / source_name, BUILT / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    if shutil.which(compiler) is None:
        raise SystemExit(f"{compiler} is not on PATH: {source_name} needs a C compiler (MinGW-w64)")
    BUILT.mkdir(parents=True, exist_ok=True)
    partial = program.with_name(f"{os.getpid()}.{name}")
    subprocess.run([compiler, *_FLAGS, source, "-o", partial, *libraries], check=True)
    partial.replace(program)  # whole, also for another benchmark that starts now
    return program
