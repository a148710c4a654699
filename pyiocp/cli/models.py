"""Measure the network models of Windows against each other: the same session under each.

For each model and number of connections a server runs in a process of its own, and the same
clients, in this process, send messages of one size and check what comes back. A model that
cannot serve so many connections is left there, and the table says why.

examples:
  python -m pyiocp models
  python -m pyiocp models --models select completion-port --connections 10 64 100
  python -m pyiocp models --seconds 3 --json > models.json
  python -m pyiocp models --chart models        (models.png and models.svg; needs matplotlib)
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..models import MODELS
from ..port import CompletionPort
from .arguments import number_between
from .client_load import Figures, Load, Plan
from .json_output import add_json_option, print_json
from .server_process import ServerProcess
from .table import show_table
from .wording import show_duration

HELP = "measure the network models side by side"

CONNECTIONS = [1, 10, 64, 100, 500, 1000]

_START_MAX_S = 30.0
_LIFETIME_S = 180.0


@dataclass
class Measured:
    """What one model did with that many connections; no rate if it could not serve them."""

    model: str
    connections: int
    messages_per_s: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None
    cpu_per_message_s: float | None = None
    stopped: str | None = None
    """Why it could not serve them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    count = number_between(int, 1, 10_000)
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=MODELS, help="which (default: all)"
    )
    parser.add_argument(
        "--connections",
        nargs="+",
        type=count,
        default=CONNECTIONS,
        metavar="N",
        help=f"how many (default: {' '.join(map(str, CONNECTIONS))})",
    )
    parser.add_argument(
        "--seconds",
        type=number_between(float, 0.1, 3600),
        default=1.0,
        help="how long to measure each, once all are connected (default: 1)",
    )
    parser.add_argument(
        "--size",
        type=number_between(int, 1, 1 << 24),
        default=64,
        help="bytes of a message (default: 64)",
    )
    parser.add_argument(
        "--at-most",
        type=number_between(float, 1, 86_400),
        default=150.0,
        metavar="S",
        help="begin no further measurement after so many seconds (default: 150)",
    )
    parser.add_argument(
        "--chart", type=Path, metavar="FILE", help="draw FILE.png and FILE.svg with matplotlib"
    )
    add_json_option(parser, "the results", "; progress goes to stderr")


def run(options: argparse.Namespace) -> int:
    """Measure; 0, or 1 if the chart cannot be drawn."""
    draw: Callable[[list[Measured], Path], None] | None = None
    if options.chart is not None:
        try:
            # Imported only when needed: it takes a second, and needs matplotlib.
            draw = importlib.import_module(".model_chart", __package__).draw
        except ImportError:
            print(
                "pyiocp: error: --chart needs matplotlib: python -m pip install 'pyiocp[bench]'",
                file=sys.stderr,
            )
            return 1
    results = measure_all(options)
    if options.json:
        print_json([asdict(result) for result in results])
    else:
        header = ["model", "connections", "messages/s", "p50", "p99", "CPU/message", "stopped"]
        show_table(header, [cells(result) for result in results])
        for reason in sorted({r.stopped for r in results if r.stopped}):
            print(f"stopped: {reason}")
    if draw is not None:
        draw(results, options.chart)
    return 0


def measure_all(options: argparse.Namespace) -> list[Measured]:
    """Measure all models with few connections, then with more, until the time is over."""
    deadline = time.monotonic() + options.at_most
    results: list[Measured] = []
    for connections in sorted(set(options.connections)):
        for model in options.models:
            if any(result.model == model and result.stopped for result in results):
                continue
            if time.monotonic() > deadline:
                text = f"--at-most {options.at_most:g}: the time was over"
                results.append(Measured(model, connections, stopped=text))
                continue
            results.append(measure(model, connections, options.seconds, options.size))
    return sorted(results, key=lambda result: MODELS.index(result.model))


def cells(result: Measured) -> list[str]:
    """Return a row of the table."""
    durations = (result.p50_s, result.p99_s, result.cpu_per_message_s)
    rate = result.messages_per_s
    return [
        result.model,
        f"{result.connections:,}",
        "-" if rate is None else f"{rate:,.0f}",
        *("-" if duration is None else show_duration(duration) for duration in durations),
        "here" if result.stopped else "",
    ]


def measure(model: str, connections: int, seconds: float, size: int) -> Measured:
    """Have one model serve that many connections, in its own process."""
    plan = Plan(connections, seconds, seed=0, size_max=size, same_size=True, depth=1, goes_on=False)
    command = [sys.executable, "-m", "pyiocp.cli.model_server", model, str(_LIFETIME_S + seconds)]
    with ServerProcess(command) as server:
        address = tuple(server.read(_START_MAX_S)["address"])
        say = f"{model}, {connections:,} connections; the server is process {server.id}"
        print(say, file=sys.stderr, flush=True)
        with CompletionPort() as port:
            outcome = Load(port, address, plan, _show_nothing).run()
        server.stop()
        report: dict[str, Any] = server.read(_START_MAX_S)
    stopped = report["refusal"]
    if stopped is None and outcome.faults:
        stopped = f"{model} at {connections:,} connections: {outcome.faults[0]}"
    if stopped is not None:
        return Measured(model, connections, stopped=stopped)
    times = outcome.measured.round_trips
    return Measured(
        model,
        connections,
        outcome.measured.messages_per_s,
        times.quantile_s(0.50),
        times.quantile_s(0.99),
        report["cpu_s"] / max(outcome.messages, 1),
    )


def _show_nothing(_elapsed_s: float, _figures: Figures) -> None:
    """Ignore the figures of each second: each measurement has one line instead."""
