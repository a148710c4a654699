"""Report: outcomes as Markdown and as JSON, with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server_process import ROOT, python_command

if TYPE_CHECKING:
    from contest import Contest, Options, Outcome

OURS, FLOOR = "pyiocp", "floor"

NOT_PEERS = (OURS, FLOOR, "operations", "pyiocp_zero_byte")
"""What is no other library."""

FAIR = 0.5
"""The share of the mean that a server has to give its slowest connection to count as a peer."""

_ASK_PYTHON = (
    "import importlib.metadata as m, json, platform, sys;"
    "names = ['gevent', 'pywin32', 'trio', 'twisted', 'twisted-iocpsupport', 'winloop'];"
    "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()};"
    "print(json.dumps({'python': sys.version.split(' [')[0], 'system': platform.platform(),"
    " 'packages': {n: found[n] for n in names if n in found}}))"
)


def machine(options: Options) -> dict[str, Any]:
    """Return what the figures were measured on."""
    ask = [*python_command(options.python), "-c", _ASK_PYTHON]
    servers = json.loads(subprocess.run(ask, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    found: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "host": platform.platform(),
        "processors": os.cpu_count(),
        "processor": _processor(),
        **servers,
    }
    if os.name != "nt":
        wine = subprocess.run(["wine", "--version"], capture_output=True, text=True, check=False)
        found["wine"] = wine.stdout.strip()
    return found


def heading(about: dict[str, Any]) -> str:
    """Return on one line what `machine` has found."""
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"{about['python']} on {about['system']} {about.get('wine', '')}".strip()
        + f"; {about['processors']} x {about['processor']}; {about['when']}; {packages}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123, no file of ours
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def ratio(outcome: Outcome, other: str) -> float | None:
    """Return how many times better pyiocp is than another, in the figure that counts."""
    key = outcome.contest.figures[0].key
    ours, theirs = outcome.median(OURS, key), outcome.median(other, key)
    if not ours or not theirs:
        return None
    return ours / theirs if outcome.contest.more_is_better else theirs / ours


def best_peer(outcome: Outcome) -> str | None:
    """Return the best other library in the figure that counts, of those that are fair."""
    key = outcome.contest.figures[0].key
    found: list[tuple[float, str]] = []
    for name in outcome.rounds:
        value = outcome.median(name, key)
        share = outcome.median(name, "slowest_share")
        if name not in NOT_PEERS and value is not None and (share is None or share >= FAIR):
            found.append((value if outcome.contest.more_is_better else -value, name))
    return max(found)[1] if found else None


def markdown(outcome: Outcome) -> str:
    """Return a table of the medians, and the ratios below it."""
    contest = outcome.contest
    lines = [
        f"### {contest.title}",
        "",
        "| | " + " | ".join(figure.heading for figure in contest.figures) + " | spread |",
        "| --- |" + " ---: |" * (len(contest.figures) + 1),
    ]
    lines += [_row(outcome, name) for name in contest.contenders if name in outcome.rounds]
    lines.append("")
    lines += [f"{name} has no figures: {reason}" for name, reason in outcome.failures.items()]
    if said := _ratios(outcome):
        lines.append(said)
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome, name: str) -> str:
    cells = [name]
    for figure in outcome.contest.figures:
        value = outcome.median(name, figure.key)
        cells.append("" if value is None else format(value, figure.form))
    spread = outcome.spread(name, outcome.contest.figures[0].key)
    cells.append("" if spread is None else f"{spread:.0%}")
    return "| " + " | ".join(cells) + " |"


def _ratios(outcome: Outcome) -> str:
    parts = []
    if (of_floor := ratio(outcome, FLOOR)) is not None:
        parts.append(f"{of_floor:.2f} x the floor")
    peer = best_peer(outcome)
    if peer is not None and (of_peer := ratio(outcome, peer)) is not None:
        parts.append(f"{of_peer:.2f} x the best other library, {peer}")
    if (user := _user_above_floor(outcome)) is not None:
        parts.append(f"user CPU above the floor's: {user}")
    return f"pyiocp: {'; '.join(parts)}." if parts else ""


def _user_above_floor(outcome: Outcome) -> str | None:
    floor = outcome.median(FLOOR, "user_us")
    if floor is None:
        return None
    above = {
        name: value - floor
        for name in (OURS, "asyncio_protocol")
        if (value := outcome.median(name, "user_us")) is not None
    }
    return ", ".join(f"{value:.1f} µs ({name})" for name, value in above.items()) or None


def as_json(outcomes: Iterable[Outcome], about: dict[str, Any], options: Options) -> str:
    """Return everything that was measured."""
    return json.dumps(
        {
            "machine": about,
            "options": asdict(options),
            "contests": [_contest_as_json(o.contest, o) for o in outcomes],
        },
        indent=1,
    )


def _contest_as_json(contest: Contest, outcome: Outcome) -> dict[str, Any]:
    return {
        "name": contest.name,
        "title": contest.title,
        "figures": [asdict(figure) for figure in contest.figures],
        "more_is_better": contest.more_is_better,
        "rounds": outcome.rounds,
        "failures": outcome.failures,
        "ratio_to_floor": ratio(outcome, FLOOR),
        "best_peer": best_peer(outcome),
    }
