"""Many connections held for long, each echoing now and then: what is lost, and how late it is.

    python3 benchmarks/held.py
    python3 benchmarks/held.py --connections 2000 --every 0.5 --seconds 20 --servers pyiocp floor

Every connection sends a message every second, whether the one before is back or not, and every
byte that comes back is compared. Latencies count from when a message was due. The floor is the
same server in C: what it cannot hold either, the machine cannot.
"""

from __future__ import annotations

import argparse

from clients import put_load_on
from contests.echo import SERVERS
from programs import client_program
from server_process import serving

SIZE = 64
"""Bytes a message."""


def measure(
    server_name: str,
    connections: int,
    every_s: float,
    warm_up_s: float,
    seconds: float,
    python: str | None = None,
) -> dict[str, float]:
    """Return what came of so many connections held for so long."""
    with serving(server_name, "echo", python) as server:
        return put_load_on(server, "held", connections, SIZE, every_s, warm_up_s, seconds)


def main() -> int:
    """Print a line for each run; exit 1 if a message was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=["pyiocp"])
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between its messages")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds not counted")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    options = parser.parse_args()
    client_program("held")  # what cannot be compiled is said before anything is measured
    every = f"each every {options.every:g} s, for {options.seconds:g} s"
    print(f"{options.connections} x {SIZE} B, {every}\n")
    print("| server | sent | lost | p50 ms | p99 ms | p99.9 ms | longest ms | CPU us/message |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    lost = 0.0
    times = (options.every, options.warm_up, options.seconds)
    for _ in range(options.rounds):
        for name in options.servers:
            once = measure(name, options.connections, *times, options.python)
            lost += once["lost"]
            print(
                f"| {name} | {once['sent']:,.0f} | {once['lost']:,.0f} | {once['p50_ms']:.1f} |"
                f" {once['p99_ms']:.1f} | {once['p999_ms']:.1f} | {once['longest_ms']:.1f} |"
                f" {once['user_us'] + once['system_us']:.0f} |",
                flush=True,
            )
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
