"""The lines that begin with `run.py:`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator


def say(message: str) -> None:
    """Report on stderr: stdout belongs to the program that runs."""
    print(f"run.py: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(message: str) -> Iterator[None]:
    """Announce a step that takes time, then say how long it took."""
    say(f"{message} ...")
    started = time.monotonic()
    yield
    say(f"{message}: done in {time.monotonic() - started:.0f} s")


def report(results: dict[str, int]) -> int:
    """Say how each part went, and return the first exit code that is not zero."""
    for name, code in results.items():
        say(f"{name}: {'passed' if code == 0 else f'FAILED (exit code {code})'}")
    return next((code for code in results.values() if code), 0)
