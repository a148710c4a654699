"""The server process of the demo, as its parent sees it: starting it, reading its lines, ending it.

The server runs as long as the parent keeps its stdin open: when that closes, in order or because
the parent has died, the server stops and reports. Each of its lines on stdout is JSON. Every step
has a deadline, and a server that misses one is killed.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from types import TracebackType
from typing import IO, Any, Self


class ServerError(OSError):
    """The server process did not do its part."""


class ServerProcess:
    """A server in its own process; leaving the ``with`` block ends it in any case."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for this process, which then ends the server.
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert self._process.stdout is not None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    @property
    def id(self) -> int:
        """The process's identifier."""
        return self._process.pid

    def read(self, timeout: float) -> dict[str, Any]:
        """Return the server's next line; `ServerError` if it ends or takes too long."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                # On Windows Ctrl-C does not end a wait for a queue: so wait in short steps.
                line = self._lines.get(timeout=0.05)
            except queue.Empty:
                continue
            if line is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(1)
                raise ServerError(f"the server ended by itself, exit code {self.exit_code}")
            values: dict[str, Any] = json.loads(line)
            return values
        raise ServerError(f"the server did not answer for {timeout:g} s")

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask the server to end in order."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def end(self, timeout: float) -> bool:
        """Ask the server to end, and kill it if it has not in time; True if it ended by itself."""
        self.stop()
        in_order = True
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            in_order = False
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return in_order

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # When interrupted, do not wait for the server to end in order.
        self.end(timeout=5.0 if kind is None else 1.0)
