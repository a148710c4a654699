"""Progress: the figures of a run while it runs, as lines or as a live table.

Lines work everywhere. On a terminal, with ``rich`` installed, a table that is redrawn in place
replaces them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from .terminal import rich_console
from .wording import show_duration

if TYPE_CHECKING:
    from rich.console import Console

    from .client_load import Figures


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
    """A table that is redrawn each second."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live  # noqa: PLC0415

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
    """Return the figures with their names, as text."""
    times = figures.round_trips
    return [
        ("connections", f"{figures.connections:,}"),
        ("messages/s", f"{figures.messages_per_s:,.0f}"),
        ("MB/s", f"{figures.megabytes_per_s:,.1f}"),
        ("p50", show_duration(times.quantile_s(0.50)) if times else "-"),
        ("p99", show_duration(times.quantile_s(0.99)) if times else "-"),
    ]


def make_progress(output: TextIO) -> Progress:
    """Return a table for a terminal, and lines for other output."""
    console = rich_console(output)
    return Lines(output) if console is None else Table(console)
