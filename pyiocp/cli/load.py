"""Put any echo server under load, and measure what it does.

Each connection keeps the same number of messages under way, and sends the next as soon as
one is back; every byte that comes back is checked. Measuring begins when all have
connected. The server may be anything that sends back what it gets.

examples:
  python -m pyiocp load 127.0.0.1:9000
  python -m pyiocp load 127.0.0.1:9000 --connections 1000 --size 64 --depth 16
  python -m pyiocp load [::1]:9000 --seconds 3 --json > load.json

A connection that cannot be made, is broken off, or gets back something else is a fault; the
others go on.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

from ..handles.sockets.address_text import show_address
from ..port import CompletionPort
from .address import parse_address
from .arguments import add_number
from .client_load import Load, Outcome, Plan
from .json_output import add_json_option, print_json
from .progress import make_progress
from .wording import counted, reason, show_duration

HELP = "put any echo server under load"

_FAULTS_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "address", type=parse_address, metavar="HOST:PORT", help="where the echo server listens"
    )
    add_number(parser, "--connections N", 1, 10_000, "how many, 1 to 10,000", 100)
    add_number(parser, "--size BYTES", 1, 1 << 24, "of each message", 64)
    add_number(parser, "--depth N", 1, 10_000, "messages under way on each connection", 1)
    add_number(
        parser, "--seconds S", 0.1, 86_400, "how long to measure, once all are connected", 10
    )
    add_json_option(parser, "the result", "; progress goes to stderr then")


def run(options: argparse.Namespace) -> int:
    """Run the load; 0, or 1 if there was a fault or nothing came back."""
    plan = Plan(
        options.connections,
        options.seconds,
        seed=0,
        size_max=options.size,
        same_size=True,
        depth=options.depth,
        goes_on=True,
    )
    output = sys.stderr if options.json else sys.stdout
    output.write(
        f"{counted(plan.clients, 'connection')} to {show_address(options.address)}:"
        f" {plan.size_max:,} bytes a message, {plan.depth} under way on each,"
        f" for {plan.seconds:g} s\n"
    )
    output.flush()
    with make_progress(output) as progress, CompletionPort() as port:
        outcome = Load(port, options.address, plan, progress.show).run()
    result = result_of(outcome, plan, show_address(options.address))
    if options.json:
        print_json(result)
    else:
        show_result(result)
    for fault, count in result["faults"].items():
        print(f"pyiocp: error: {counted(count, 'connection')}: {fault}", file=sys.stderr)
    return 0 if result["passed"] else 1


def result_of(outcome: Outcome, plan: Plan, address: str) -> dict[str, Any]:
    """Return all results of a run."""
    measured = outcome.measured
    times = measured.round_trips
    # The same fault on a thousand connections is shown once.
    faults = Counter(reason(fault).partition(": ")[2] for fault in outcome.faults)
    mean = sum(outcome.completed) / plan.clients
    return {
        "passed": not outcome.faults and measured.messages > 0,
        "address": address,
        "connections": plan.clients,
        "size": plan.size_max,
        "depth": plan.depth,
        **outcome.rates(),
        **{
            f"{name}_ms": round(times.quantile_s(share) * 1000, 3)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
        },
        "longest_ms": round(times.longest_s * 1000, 3),
        "slowest_to_mean": round(min(outcome.completed) / mean, 3) if mean else 0.0,
        "faults": dict(faults.most_common(_FAULTS_SHOWN)),
        "faults_count": len(outcome.faults),
    }


def show_result(result: dict[str, Any]) -> None:
    """Print the summary."""
    if not result["messages"]:
        print("no message came back")
        return
    names = ("p50_ms", "p90_ms", "p99_ms", "longest_ms")
    p50, p90, p99, longest = (show_duration(result[name] / 1000) for name in names)
    print(
        f"\n{counted(result['messages'], 'message')} came back in {result['seconds']:.1f} s:"
        f" {result['messages_per_s']:,.0f} messages/s, {result['megabytes_per_s']:,.1f} MB/s each"
        f" way\nround trip p50 {p50}, p90 {p90}, p99 {p99}, longest {longest}\n"
        f"slowest connection / mean: {result['slowest_to_mean']:.2f}",
        flush=True,
    )
