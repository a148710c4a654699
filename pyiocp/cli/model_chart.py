"""The chart of `models`: messages a second over connections, with where each model stopped."""

from __future__ import annotations

import importlib
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .models import Measured

# By name: it is optional, and unknown to the type checker.
importlib.import_module("matplotlib").use("Agg")  # before pyplot: files only, no window
plt: Any = importlib.import_module("matplotlib.pyplot")

_MARKERS = "osD^vP*p"


def draw(results: Sequence[Measured], file: Path) -> None:
    """Write the chart as a PNG and as an SVG."""
    reasons = [
        textwrap.fill(reason, 150) for reason in dict.fromkeys(r.stopped for r in results) if reason
    ]
    figure, axes = plt.subplots(figsize=(9, 5.5 + 0.35 * len(reasons)))
    for marker, (model, group) in zip(
        _MARKERS, groupby(results, lambda result: result.model), strict=False
    ):
        rows = list(group)
        points = [(r.connections, r.messages_per_s) for r in rows if r.messages_per_s is not None]
        if not points:
            continue
        label = model
        if rows[-1].stopped:
            label += f" (stops before {rows[-1].connections:,})"
        line: Any
        (line,) = axes.plot(*zip(*points, strict=True), marker=marker, label=label)
        if rows[-1].stopped:
            axes.plot(*points[-1], marker="x", markersize=16, color=line.get_color())
    axes.set_xscale("log")
    ticks = sorted({result.connections for result in results})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("connections, one message under way on each")
    axes.set_ylabel("messages a second")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    axes.set_title("Echoes by network model (a cross: the last before it stops)", fontsize=11)
    figure.text(0.02, 0.01, "\n".join(reasons), fontsize=7.5, va="bottom")
    figure.tight_layout(rect=(0, 0.05 * len(reasons), 1, 1))
    for ending in (".png", ".svg"):
        figure.savefig(file.with_name(file.name + ending), dpi=110)
    plt.close(figure)
