"""How late timers are, and whether they drift: 500 ticks of 10 ms, in three ways.

    python benchmarks/timers.py

- `timer.every`: a timer of the system, on a grid;
- `call_later`, at each tick for the next one: what is late is late for all that come after;
- `call_later`, at each tick for the next point of the grid.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyiocp import CompletionPort, TimerCompletion

PERIOD_S = 0.01
TICKS = 500


def every(port: CompletionPort) -> list[float]:
    """Return when each tick was seen, in seconds after the first one was due."""
    operation = port.timer().every(PERIOD_S)
    first, seen = operation.due, []
    while len(seen) < TICKS:
        [tick] = port.wait(timeout=5, limit=1)
        assert isinstance(tick, TimerCompletion)
        seen.append(time.perf_counter() - first)
        seen += [seen[-1]] * tick.missed
    operation.cancel()
    port.wait(timeout=5)
    return seen[:TICKS]


def chained(port: CompletionPort, *, on_grid: bool) -> list[float]:
    """The same by `call_later`."""
    first, seen = time.perf_counter() + PERIOD_S, []

    def tick() -> None:
        seen.append(time.perf_counter() - first)
        if len(seen) < TICKS:
            due = first + len(seen) * PERIOD_S
            wait_s = max(0.0, due - time.perf_counter()) if on_grid else PERIOD_S
            port.call_later(wait_s, tick)

    port.call_later(PERIOD_S, tick)
    while len(seen) < TICKS:
        port.wait(timeout=1)
    return seen


def main() -> None:
    """Measure and print."""
    print("| ticks of 10 ms by | late, median | 99 of 100 | the last of 500, off its grid |")
    print("| --- | --- | --- | --- |")
    with CompletionPort() as port:
        for name, seen in (
            ("`timer.every`", every(port)),
            ("`call_later`, each from the one before", chained(port, on_grid=False)),
            ("`call_later`, each for its point of the grid", chained(port, on_grid=True)),
        ):
            late_ms = sorted((at - n * PERIOD_S) * 1000 for n, at in enumerate(seen))
            median, most = statistics.median(late_ms), late_ms[int(len(late_ms) * 0.99)]
            last = (seen[-1] - (TICKS - 1) * PERIOD_S) * 1000
            print(f"| {name} | {median:.1f} ms | {most:.1f} ms | {last:.1f} ms |")


if __name__ == "__main__":
    main()
