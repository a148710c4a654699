"""Charts of what ``bench.py`` and ``calls.py --growth`` have measured, as PNG and SVG.

    python3 run.py bench calls --growth --json > growth.json
    python3 run.py python benchmarks/charts.py growth.json FOLDER

Needs matplotlib (the extra `bench`).
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

OURS, OTHERS, FLOOR = "#0b6e99", "#b8c4cc", "#444444"


def medians(contest: dict[str, Any], key: str) -> dict[str, float]:
    """Return the median of a figure for each contender that has it."""
    return {
        name: statistics.median(found[key] for found in rounds)
        for name, rounds in contest["rounds"].items()
        if key in rounds[0]
    }


def draw(contest: dict[str, Any], about: dict[str, Any], folder: Path) -> None:
    """Draw one contest: bars of the figure that counts, and the user CPU time beside it."""
    first = contest["figures"][0]
    panels = [(first["key"], first["heading"])]
    panels += [(f["key"], f["heading"]) for f in contest["figures"] if f["key"] == "user_us"]
    values = medians(contest, first["key"])
    names = sorted(values, key=lambda name: values[name], reverse=not contest["more_is_better"])
    figure, axes = plt.subplots(
        1, len(panels), figsize=(9, 1.2 + 0.36 * len(names)), sharey=True, squeeze=False
    )
    for axis, (key, heading) in zip(axes[0], panels, strict=True):
        shown = medians(contest, key)
        colours = [
            FLOOR if name == "floor" else OURS if name.startswith("pyiocp") else OTHERS
            for name in names
        ]
        bars = axis.barh(names, [shown.get(name, 0) for name in names], color=colours)
        digits = 0 if max(shown.values(), default=0) > 50 else 1
        labels = [f"{shown.get(name, 0):,.{digits}f}" for name in names]
        axis.bar_label(bars, labels, padding=3, fontsize=8)
        axis.margins(x=0.18)
        axis.set_title(heading, fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.suptitle(contest["title"], fontsize=11, x=0.01, ha="left")
    where = f"{about['python']}, {about.get('wine') or about['system']}, {about['when'][:10]}"
    save(figure, where, folder, contest["name"])


def draw_growth(found: dict[str, Any], folder: Path) -> None:
    """Draw what an operation costs with so many connections, a line for each kind."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for name, costs_ns in found["costs_ns"].items():
        kind, _, count = name.rpartition(", ")
        lines.setdefault(kind, []).append((int(count.replace(",", "")), min(costs_ns) / 1000))
    figure, axis = plt.subplots(figsize=(9, 4.2))
    for (kind, points), marker in zip(lines.items(), "os", strict=False):
        axis.plot(*zip(*points, strict=True), marker=marker, label=kind)
        for count, cost in points:
            axis.annotate(f"{cost:.1f}", (count, cost), (0, 6), textcoords="offset points")
    axis.set_xscale("log")
    ticks = sorted({count for points in lines.values() for count, _ in points})
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel("connections")
    axis.set_ylabel("µs of Python each, kernel replaced")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=9)
    save(figure, f"{found['python'].split(' (')[0]}, {found['machine']}", folder, "growth")


def save(figure: Any, where: str, folder: Path, name: str) -> None:
    """Write a chart in both forms, with a line on what it was measured."""
    figure.text(0.99, 0.01, where, fontsize=6, ha="right", color="#666666")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    for ending in ("png", "svg"):
        figure.savefig(folder / f"{name}.{ending}", dpi=150)
    plt.close(figure)
    print(f"drawn: {name}")


def main() -> None:
    """Draw every contest of a file, or what it says of growth."""
    file, folder = map(Path, sys.argv[1:])
    found = json.loads(file.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    if "costs_ns" in found:
        draw_growth(found, folder)
    for contest in found.get("contests", ()):
        if contest["rounds"]:
            draw(contest, found["machine"], folder)


if __name__ == "__main__":
    main()
