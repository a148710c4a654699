"""The comparisons: they run, for as short as can be, and say what they have measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmark_programs import run

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
def test_every_case_has_a_cost_and_counts(python: str | None) -> None:
    """With a kernel that returns at once."""
    found = json.loads(run("calls.py", python, "--rounds", "1", "--seconds", "0.05", "--json"))
    costs, counted = found["costs_ns"], found["counts"]
    assert len(costs) >= 17
    assert costs.keys() == counted.keys()
    assert all(cost > 0 for [cost] in costs.values()), costs
    bytecodes = {name: values["bytecodes"] for name, values in counted.items()}
    assert bytecodes["a system call alone"] == min(bytecodes.values())
