"""The benchmarks' servers: each in a process of its own, in the Python for Windows of this machine.

What belongs here: starting one, asking it, ending it. What it serves stands in its script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent

_END_MAX_S = 30.0
"""Seconds that a server gets to end by itself."""


class ServerProcess:
    """A script of this folder that serves; leaving the ``with`` block ends it.

    It prints lines of JSON, the first of them when it is ready: that one is ``first``. It ends
    when its standard input does, or by itself.

    python: which Python for Windows, off Windows: "3.13", "3.13t"; None is `run.py`'s choice.
    """

    def __init__(self, python: str | None, script: str, *arguments: str) -> None:
        version = ["--python", python] if python else []
        start = [] if os.name == "nt" else ["run.py", *version, "python"]
        self._process = subprocess.Popen(
            [sys.executable, *start, str(Path("benchmarks", script)), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.first = self.read()
        except BaseException:
            self._end()
            raise

    def read(self) -> dict[str, Any]:
        """Return the next line that is JSON; other lines are passed on."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                values: dict[str, Any] = json.loads(line)
                return values
            sys.stderr.write(line)
        raise SystemExit("the server ended before its time")

    def ask(self, question: str = "") -> dict[str, Any]:
        """Send a line, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self.read()

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._end()
