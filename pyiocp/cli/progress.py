"""Progress: the figures of a run while it runs, as lines or as a live table.

Lines suit every place that output may go to. On a terminal, and with ``rich`` installed,
a table that stays where it is takes their place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from .wording import show_duration

if TYPE_CHECKING:
    from .load import Figures, Plan


class Progress(Protocol):
    """Shows figures as they come. Leaving the ``with`` block ends it."""

    def show(self, elapsed_s: float, figures: Figures) -> None:
        """Show the figures of the last second or so, `elapsed_s` after the beginning."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Lines:
    """A line for each second."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def show(self, elapsed_s: float, figures: Figures) -> None:
        """Print a line."""
        cells = dict(cells_of(figures))
        self._output.write(
            f"{elapsed_s:5.0f} s  {figures.phase:<10}"
            f" {cells['connections']:>6} connections {cells['messages/s']:>8} messages/s"
            f" {cells['MB/s']:>7} MB/s   p50 {cells['p50']:>7}  p99 {cells['p99']:>7}\n"
        )
        self._output.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Table:
    """A table that is drawn again each second."""

    def __init__(self, output: TextIO, plan: Plan) -> None:
        # Imported here, because whoever sees lines need not have it.
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        # Through a pipe to a terminal, as `run.py` has it, control codes are all there is.
        legacy = None if output.isatty() else False
        console = Console(file=output, force_terminal=True, legacy_windows=legacy)
        self._plan = plan
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def show(self, elapsed_s: float, figures: Figures) -> None:
        """Draw the table again."""
        from rich.table import Table as RichTable  # noqa: PLC0415

        table = RichTable(title=f"{figures.phase}, {elapsed_s:.0f} s", title_justify="left")
        row: list[Any] = []
        for name, cell in cells_of(figures):
            table.add_column(name, justify="right", min_width=11)
            row.append(cell)
        table.add_row(*row)
        self._live.update(table, refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def cells_of(figures: Figures) -> list[tuple[str, str]]:
    """Return the figures with their names, ready to be shown."""
    times = figures.round_trips
    return [
        ("connections", f"{figures.connections:,}"),
        ("messages/s", f"{figures.messages_per_s:,.0f}"),
        ("MB/s", f"{figures.megabytes_per_s:,.1f}"),
        ("p50", show_duration(times.quantile_s(0.50)) if times else "-"),
        ("p99", show_duration(times.quantile_s(0.99)) if times else "-"),
    ]


def make_progress(output: TextIO, plan: Plan) -> Progress:
    """Return what suits the output best."""
    if is_terminal(output):
        try:
            return Table(output, plan)
        except ImportError:
            pass
    return Lines(output)


def is_terminal(output: TextIO) -> bool:
    """Tell whether somebody looks at the output as it comes, and control codes work.

    ``TTY_INTERACTIVE`` is how a program with a pipe to us says so, or denies it.
    """
    said = os.environ.get("TTY_INTERACTIVE")
    if said in ("0", "1"):
        return said == "1"
    return output.isatty() and os.environ.get("TERM") != "dumb"
