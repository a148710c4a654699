"""Look at a server while it runs: how much it does, what it waits for, who is slow.

The server lets you: in a program by ``port.monitor()``, or

  python -m pyiocp serve echo --address 127.0.0.1:9000 --monitor

Then, from another terminal of the same user on the same machine, with the number of the process:

examples:
  python -m pyiocp monitor 1234
  python -m pyiocp monitor 1234 --interval 5 --slowest 10
  python -m pyiocp monitor 1234 --once --json
  python -m pyiocp monitor 127.0.0.1:9001   (of port.monitor(("127.0.0.1", 9001)))

Of several ports of a process, it finds the first; another is named by the path of its pipe.

On a terminal it is a table that stays where it is (with rich installed), until Ctrl-C;
elsewhere a line for each interval, or with --json a line of JSON.

Slowest sessions are those with bytes that wait to be sent, first the one whose queue has
not moved for longest; then those that have received the fewest messages a second.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from .arguments import add_number
from .json_output import add_json_option, print_json
from .monitor_links import MonitorError, parse_target
from .sampling import MonitorClient, rates_between
from .table import rich_table, show_table
from .terminal import rich_console
from .wording import counted, show_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    Row = tuple[object, ...]
    Show = Callable[[dict[str, Any]], None]

HELP = "look at a server while it runs"

NEEDS_WINDOWS = False
"""Only the server needs Windows; asking it takes just a socket."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "target",
        type=parse_target,
        metavar="PROCESS",
        help="its number; or the path of a pipe, or HOST:PORT, as the monitor's address says",
    )
    add_number(parser, "--interval S", 0.1, 3600, "seconds from one look to the next", 1)
    add_number(
        parser,
        "--count N",
        1,
        1_000_000_000,
        "end after so many intervals (default: when Ctrl-C is pressed)",
        None,
    )
    parser.add_argument("--once", action="store_true", help="the same as --count 1, in full")
    add_number(parser, "--slowest N", 0, 100, "how many of the slowest sessions to show", 5)
    add_json_option(parser, "each interval")


def run(options: argparse.Namespace) -> int:
    """Show one interval after the other; return 0, or 1 if the server cannot be reached."""
    count = 1 if options.once else options.count
    try:
        with MonitorClient(options.target) as client:
            intervals = look(client, options.interval, count, options.slowest)
            if options.once:
                (print_json if options.json else show_in_full)(next(intervals))
                return 0
            with display(options.json) as show:
                for rates in intervals:
                    show(rates)
    except MonitorError as error:
        print(f"pyiocp: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if count is not None:
            raise  # before its time
    return 0


def look(
    client: MonitorClient, interval: float, count: int | None, slowest: int
) -> Iterator[dict[str, Any]]:
    """Yield what was done in each interval; without end if `count` is None."""
    before = client.sample(slowest)
    due = time.monotonic()
    seen = 0
    while count is None or seen < count:
        due += interval
        time.sleep(max(0.0, due - time.monotonic()))
        after = client.sample(slowest)
        yield rates_between(before, after)
        before = after
        seen += 1


def display(as_json: bool) -> AbstractContextManager[Show]:
    """Return what shows the intervals, depending on where the output goes."""
    if as_json:
        return nullcontext(lambda rates: print(json.dumps(rates), flush=True))
    console = rich_console(sys.stdout)
    if console is None:
        return nullcontext(lambda rates: print(line_of(rates), flush=True))
    return LiveTables(console)


class LiveTables:
    """Tables that are redrawn in place for each interval."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Show:
        self._live.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, rates: dict[str, Any]) -> None:
        """Draw an interval."""
        self._live.update(self.drawn(rates), refresh=True)

    def drawn(self, rates: dict[str, Any]) -> RenderableType:
        """Return the tables of an interval, those with nothing in them left out."""
        from rich.console import Group  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        parts: list[RenderableType] = [Text(title_of(rates), no_wrap=True, overflow="ellipsis")]
        for title, header, rows in tables_of(rates):
            parts += ["", rich_table(header, rows, title)]
        return Group(*parts)


def show_in_full(rates: dict[str, Any]) -> None:
    """Print one interval with everything."""
    print(title_of(rates))
    for title, header, rows in tables_of(rates):
        print(f"\n{title}" if title else "")
        show_table(header, rows)


def title_of(rates: dict[str, Any]) -> str:
    """Return a title with the server's process."""
    where = ", ".join(rates["listening_at"]) or "nowhere"
    return f"process {rates['process']}, listening at {where}"


def tables_of(rates: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
    """Yield title, header and rows of each table that has any."""
    names = ("connections", "messages/s in", "out", "MB/s in", "out", "packets/wait", "waits/s")
    yield (
        "",
        names,
        [
            (
                rates["connections"],
                round(rates["messages_received_per_s"]),
                round(rates["messages_sent_per_s"]),
                f"{rates['bytes_received_per_s'] / 1e6:,.1f}",
                f"{rates['bytes_sent_per_s'] / 1e6:,.1f}",
                f"{rates['packets_per_wait']:.1f}",
                round(rates["waits_per_s"]),
            )
        ],
    )
    header = ("in flight", "operations", "bytes", "pages locked")
    kinds: list[Row] = [
        (kind, locked["operations"], locked["bytes"], locked["pages"])
        for kind, locked in sorted(rates["in_flight_by_kind"].items())
    ]
    everything = rates["in_flight"]
    kinds.append(("all", everything["operations"], everything["bytes"], everything["pages"]))
    yield "", header, kinds
    if rates["slowest"]:
        yield (
            "slowest sessions",
            ("peer", "session", "bytes waiting", "not moved for", "messages/s", "for"),
            [
                (
                    row["peer"],
                    row["type"],
                    row["send_queue_bytes"],
                    show_duration(row["stalled_s"]) if row["stalled_s"] else "-",
                    f"{row['messages_per_s']:,.1f}",
                    f"{row['age_s']:,.0f} s",
                )
                for row in rates["slowest"]
            ],
        )


def line_of(rates: dict[str, Any]) -> str:
    """Return an interval as a line."""
    everything = rates["in_flight"]
    line = (
        f"{counted(rates['connections'], 'connection')},"
        f" {rates['messages_received_per_s']:,.0f} messages/s in,"
        f" {rates['messages_sent_per_s']:,.0f} out,"
        f" {rates['packets_per_wait']:.1f} packets/wait,"
        f" {everything['operations']:,} in flight, {everything['pages']:,} pages locked"
    )
    slow = rates["slowest"][:1]
    if slow and slow[0]["send_queue_bytes"]:
        line += f"; slowest: {slow[0]['peer']}, {slow[0]['send_queue_bytes']:,} bytes wait"
    return line
