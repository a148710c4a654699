"""The comparisons: they run, for as short as can be, and say what they have measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

CONTESTS = {
    "echo": {"floor", "pyiocp", "operations"},
    "churn": {"floor", "pyiocp", "operations"},
    "broadcast": {"floor", "pyiocp"},
    "datagrams": {"floor", "pyiocp", "operations"},
    "download": {"pyiocp"},
    "file-read-8": {"pyiocp"},
    "file-write-8": {"pyiocp"},
    "idle": {"floor", "pyiocp", "operations"},
}


def run(program: str, python: str | None, *arguments: str) -> str:
    """Run one of the programs, and return what it has printed."""
    version = ["--python", python] if python and os.name != "nt" else []
    command = [sys.executable, str(BENCHMARKS / program), *version, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.usefixtures("load_generator")
def test_contests_say_what_was_measured(python: str | None, tmp_path: Path) -> None:
    """Every contender of ours has figures, in the table and in the file."""
    file = tmp_path / "figures.json"
    short = ("--rounds", "1", "--seconds", "0.2", "--warm-up", "0.1", "--connections", "10")
    ours = ("--servers", "floor", "pyiocp", "operations")
    said = run("bench.py", python, *CONTESTS, *short, *ours, "--json", str(file))
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert [contest["name"] for contest in found["contests"]] == list(CONTESTS)
    for contest in found["contests"]:
        assert contest["failures"] == {}
        assert set(contest["rounds"]) == CONTESTS[contest["name"]]
        counted = contest["figures"][0]["key"]
        assert all(rounds[0][counted] > 0 for rounds in contest["rounds"].values())
        assert f"### {contest['title']}" in said
    assert found["machine"]["python"] in said


@pytest.mark.usefixtures("load_generator")
def test_every_case_has_a_cost(python: str | None) -> None:
    """With a kernel that returns at once."""
    found = json.loads(run("calls.py", python, "--rounds", "1", "--seconds", "0.05", "--json"))
    costs = found["costs_ns"]
    assert len(costs) >= 17
    assert all(cost > 0 for [cost] in costs.values()), costs
    assert costs["a system call alone"] == min(costs.values())
