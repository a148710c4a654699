"""The benchmarks' servers: each in a process of its own, in this machine's Python for Windows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from programs import floor_program

ROOT = Path(__file__).resolve().parent.parent

_END_MAX_S = 30.0
"""Seconds that a server gets to end by itself."""

_GONE_MAX_S = 5.0
"""Seconds from the end of a server's connections to the end of its process."""


class ServerError(Exception):
    """The server did not start, or ended before its time; the message is its last line."""


def python_command(python: str | None) -> list[str]:
    """Return what starts Python for Windows; `python` is its version, off Windows."""
    if os.name == "nt":
        return [sys.executable]
    return [sys.executable, "run.py", *(["--python", python] if python else []), "python"]


class ServerProcess:
    """A script of this folder that serves; leaving the ``with`` block ends it.

    It prints lines of JSON, the first of them when it is ready: that one is ``first``. It ends
    when its standard input does, or by itself.

    python: which Python for Windows, off Windows: "3.13", "3.13t"; None is `run.py`'s choice.
    """

    def __init__(self, python: str | None, script: str, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115, closed with the process
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [*python_command(python), str(Path("benchmarks", script)), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
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
        raise ServerError(self._last_words())

    def ask(self, question: str = "") -> dict[str, Any]:
        """Send a line, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self.read()

    def last_words_if_ended(self) -> str:
        """Return why the server has ended, to be asked when its client has failed; "" if not."""
        try:
            self._process.wait(_GONE_MAX_S)
        except subprocess.TimeoutExpired:
            return ""
        return self._last_words()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else "the server ended before its time"

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
            self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()


def serving(name: str, role: str, python: str | None, file: str = "") -> ServerProcess:
    """Start one of the servers that are compared, to be used in a ``with`` statement.

    name: a file in ``servers/``, or ``floor``. role: ``echo``, ``broadcast``, ``datagrams`` or
    ``download``. file: what it serves.
    """
    program = str(floor_program()) if name == "floor" else file
    return ServerProcess(python, "serve.py", name, role, *filter(None, [program]))
