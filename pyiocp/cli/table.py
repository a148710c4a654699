"""Table: rows under headings.

On a terminal ``rich`` draws it, if installed; in a file or a pipe it is plain text, or Markdown
if asked for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .terminal import rich_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table


def show_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, markdown: bool = False
) -> None:
    """Print a table: text to the left, numbers to the right."""
    console = None if markdown else rich_console(sys.stdout)
    if console is not None:
        console.print(rich_table(header, rows))
        return
    cells = [shown_cells(row) for row in rows]
    right = numbers_in(header, rows)
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ]
        for row in [list(header), *cells]
    ]
    if not markdown:
        print("\n".join("  " + "  ".join(line).rstrip() for line in lines))
        return
    print(f"| {' | '.join(lines[0])} |")
    print(f"| {' | '.join('---:' if number else '---' for number in right)} |")
    print("\n".join(f"| {' | '.join(line)} |" for line in lines[1:]))


def rich_table(header: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> Table:
    """Return the same as a table of ``rich``'s, which must be there."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    # Without a frame: the live display of `monitor` has to fit a small window.
    table = Table(box=None, padding=(0, 2, 0, 0), title=title or None, title_justify="left")
    for name, number in zip(header, numbers_in(header, rows), strict=True):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        # As text: brackets in a cell are not mark-up.
        table.add_row(*map(Text, shown_cells(row)))
    return table


def shown_cells(row: Sequence[object]) -> list[str]:
    """Return the cells of a row as text."""
    return [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]


def numbers_in(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """Return for each column but the first whether it has only numbers, or none ("-")."""
    columns = list(zip(*map(shown_cells, rows), strict=True)) or [()] * len(header)
    return [
        at > 0 and bool(column) and all(cell[:1].isdigit() or cell == "-" for cell in column)
        for at, column in enumerate(columns)
    ]
