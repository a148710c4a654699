"""Programs of this machine that are run without being shown."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .failures import Failure, reason


def call(command: Sequence[str | Path], what: str, env: dict[str, str] | None = None) -> None:
    """Run a program to its end without showing its output; if it fails, say why in one line."""
    try:
        # Pipes as its standard streams: Windows Python under Wine takes nothing else.
        done = subprocess.run(
            [str(part) for part in command],
            input=b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            check=False,
        )
    except OSError as error:
        raise Failure(f"{what}: {command[0]}: {error.strerror}") from None
    if done.returncode:
        raise Failure(f"{what}: {reason(done.stdout.decode(errors='replace'), done.returncode)}")
