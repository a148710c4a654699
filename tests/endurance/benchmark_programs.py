"""Running the programs in `benchmarks`, with their servers in Python for Windows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(program: str, python: str | None, *arguments: str) -> str:
    """Run one of the programs, and return what it has printed."""
    version = ["--python", python] if python and os.name != "nt" else []
    command = [sys.executable, str(BENCHMARKS / program), *version, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
