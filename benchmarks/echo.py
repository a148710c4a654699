"""Echo servers side by side, in one run: messages a second, latency, CPU, fairness.

    python3 run.py bench
    python3 run.py bench --connections 100 --size 64 --depth 16 --rounds 5

Every server runs in a process of its own, one after the other, and that several times
over (A B, A B, …), so that a drift of the machine falls on all of them. What counts are
the ratios: absolute figures are those of this machine at this moment.

What belongs here: the comparison.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import statistics
import sys
from dataclasses import asdict

from load import Load, Result, measure
from programs import floor_program, load_program
from server_process import ServerProcess
from servers import SERVERS


def run_once(
    name: str, load: Load, warm_up_s: float, seconds: float, python: str | None = None
) -> dict[str, float]:
    """Start a server, put the load on it, end it; return its figures."""
    program = [str(floor_program())] if name == "floor" else []
    with ServerProcess(python, "servers.py", name, *program) as server:
        with socket.create_connection(("127.0.0.1", int(server.first["control"]))):
            result = measure(int(server.first["echo"]), load, warm_up_s, seconds)
        cpu = server.read()
    return figures(result, cpu, warm_up_s + seconds)


def figures(result: Result, cpu: dict[str, float], seconds: float) -> dict[str, float]:
    """Return the result with the server's CPU time per message, in microseconds."""
    messages = result.messages_per_s * seconds
    per_message = {key.replace("_s", "_us"): cpu[key] / messages * 1e6 for key in cpu}
    return asdict(result) | per_message


def compare(load: Load, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the median figures of every server under `load`."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in options.servers}
    for number in range(options.rounds):
        for name in options.servers:
            print(f"  {load}: round {number + 1}, {name} ...", file=sys.stderr, flush=True)
            once = run_once(name, load, options.warm_up, options.seconds, options.python)
            rounds[name].append(once)
    return {
        name: {key: statistics.median(r[key] for r in results) for key in results[0]}
        for name, results in rounds.items()
    }


def show(load: Load, medians: dict[str, dict[str, float]]) -> None:
    """Print a Markdown table, with the ratio to the last server named."""
    *_, peer = medians
    print(f"\n{load}\n")
    print(
        "| server | messages/s | ratio | p50 ms | p99 ms | p99.9 ms | slowest / mean"
        " | user us/message |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, row in medians.items():
        ratio = row["messages_per_s"] / medians[peer]["messages_per_s"]
        print(
            f"| {name} | {row['messages_per_s']:,.0f} | {ratio:.2f} | {row['p50_ms']:.1f} |"
            f" {row['p99_ms']:.1f} | {row['p999_ms']:.1f} | {row['slowest_share']:.2f} |"
            f" {row['user_us']:.1f} |"
        )


def main() -> int:
    """Compare the servers; with ``--require``, fail unless pyiocp holds its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = ["floor", *SERVERS]
    parser.add_argument("--servers", nargs="+", choices=names, default=names)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--size", type=int, default=64, help="bytes a message")
    parser.add_argument("--depth", type=int, default=1, help="messages under way a connection")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds not counted")
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--require",
        action="store_true",
        help="exit 1 unless the server `pyiocp` is as fast as the last, and gives its slowest"
        " connection at least half the mean",
    )
    options = parser.parse_args()
    load = Load(options.connections, options.size, options.depth)
    load_program()  # what cannot be compiled is said before anything is measured
    medians = compare(load, options)
    if options.json:
        print(json.dumps({"load": asdict(load), "machine": platform.platform(), **medians}))
    else:
        show(load, medians)
    if not options.require:
        return 0
    ours, last = medians["pyiocp"], medians[options.servers[-1]]
    holds = ours["messages_per_s"] >= last["messages_per_s"] and ours["slowest_share"] >= 0.5
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
