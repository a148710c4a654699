"""Load on an echo server: what it is, and what came of it.

The load is made by ``load.c``: connections in a closed loop, on one thread of the host,
where it is cheap, so that the server is what is measured.

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
    depth: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.size} B, depth {self.depth}"


@dataclass
class Result:
    """What came of it."""

    messages_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    slowest_share: float
    """The messages of the slowest connection over the mean of all."""


def measure(port: int, load: Load, warm_up_s: float, seconds: float) -> Result:
    """Put `load` on the server at `port`, and count for `seconds` after the warm-up."""
    numbers = (port, load.connections, load.size, load.depth, warm_up_s, seconds)
    done = subprocess.run(
        [load_program(), *map(str, numbers)], stdout=subprocess.PIPE, check=True, text=True
    )
    return Result(**json.loads(done.stdout))
