"""Load on an echo server: what it is, and what came of it.

The load is made by ``load.c``: connections on one thread of the host, where it is cheap, so
that the server is what is measured. They are in a closed loop, or send at a steady rate.

What belongs here: running that program. Which servers are loaded is in ``echo.py``.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from programs import load_program


@dataclass(frozen=True)
class Load:
    """What every server is put under."""

    connections: int
    size: int
    depth: int = 1
    """Messages that a connection has under way, in a closed loop."""
    every_s: float | None = None
    """No closed loop: each connection sends a message every so many seconds."""

    def __str__(self) -> str:
        pace = f"depth {self.depth}" if self.every_s is None else f"each every {self.every_s:g} s"
        return f"{self.connections} x {self.size} B, {pace}"


@dataclass
class Result:
    """What came of it."""

    messages_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float
    slowest_share: float
    """The messages of the slowest connection over the mean of all."""
    sent: int = 0
    """How many messages went out, at a steady rate; in a closed loop nobody counts."""
    lost: int = 0
    """How many of those are not back a minute after the last one."""


def measure(port: int, load: Load, warm_up_s: float, seconds: float) -> Result:
    """Put `load` on the server at `port`, and count for `seconds` after the warm-up."""
    numbers: list[float] = [port, load.connections, load.size, load.depth, warm_up_s, seconds]
    if load.every_s is not None:
        numbers.append(load.every_s)
    done = subprocess.run(
        [load_program(), *map(str, numbers)], stdout=subprocess.PIPE, check=True, text=True
    )
    return Result(**json.loads(done.stdout))
