"""Commands as processes: what the tests of the command line and of the examples run and watch."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from deadline import DEADLINE_S

INTERRUPTIBLE = str(Path(__file__).resolve().with_name("interruptible.py"))
"""The program that runs another one, to which Ctrl-C can be sent then."""

TIMEOUT_S = 3 * DEADLINE_S
"""How long a program may take to start, to answer or to end: starting Python takes seconds."""


class Command:
    """A command that runs; its lines can be waited for, and it can be sent Ctrl-C."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(process.stdout,))
        self._reader.start()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line_with(self, text: str) -> str:
        """Wait for a line that contains `text`, and return it."""
        while True:
            line = self._lines.get(timeout=TIMEOUT_S)
            assert line is not None, f"no line with {text!r} in {self.output}"
            self.output.append(line)
            if text in line:
                return line

    def press_ctrl_c(self) -> None:
        """Have the process raise SIGINT; it was started through ``interruptible.py``."""
        self.type_line("")

    def type_line(self, text: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Wait for its end; the lines are in ``output`` then."""
        code = self.process.wait(TIMEOUT_S)
        while (line := self._lines.get(timeout=TIMEOUT_S)) is not None:
            self.output.append(line)
        return code

    def clean_up(self) -> None:
        """End it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def commands() -> Iterator[Callable[..., Command]]:
    """Start Python with some arguments, any number of times; all are ended in the end."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Command:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                # Under Wine standard streams have to be pipes.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
            )
            command = Command(process)
            stack.callback(command.clean_up)
            return command

        yield start


def run_python(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python to its end, with what is typed on stdin."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
