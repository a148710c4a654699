"""python -m pyiocp models: the models side by side, as a table, as JSON and as a chart."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command
from test_demo import process_ended

from pyiocp.cli import models
from pyiocp.cli.command_line import main
from pyiocp.models import MODELS


def test_it_measures_and_says_where_a_model_stopped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Two models with 1 and 64 connections: select stops at the second, and says why."""
    pytest.importorskip("matplotlib")
    chart = tmp_path / "chart"
    arguments = ["models", "--models", "select", "poll", "--connections", "1", "64"]
    assert main([*arguments, "--seconds", "0.2", "--json", "--chart", str(chart)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["model"], row["connections"]) for row in rows] == [
        ("select", 1),
        ("select", 64),
        ("poll", 1),
        ("poll", 64),
    ]
    assert "FD_SETSIZE" in rows[1]["stopped"]
    assert rows[1]["messages_per_s"] is None
    for row in (rows[0], rows[2], rows[3]):
        assert row["stopped"] is None
        assert row["messages_per_s"] > 0
        assert 0 < row["p50_s"] <= row["p99_s"]
    assert chart.with_name("chart.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in chart.with_name("chart.svg").read_text(encoding="utf-8")


def test_table_says_below_it_why_a_model_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured with more connections than those at which it stopped."""
    arguments = ["models", "--models", "select", "--connections", "1", "64", "100"]
    assert main([*arguments, "--seconds", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if "select" in line.split()[:1]] == [
        ["select", "1"],
        ["select", "64"],
    ]
    [reason] = [line for line in lines if line.startswith("stopped: ")]
    assert "FD_SETSIZE" in reason


def test_chart_without_matplotlib_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "pyiocp.cli.model_chart", raising=False)
    assert main(["models", "--chart", str(tmp_path / "chart")]) == 1
    said = capsys.readouterr()
    assert "python -m pip install 'pyiocp[bench]'" in said.err
    assert said.out == ""


def test_chart_leaves_out_a_model_without_a_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pyiocp.cli.model_chart import draw

    draw(
        [models.Measured("select", 1, stopped="at once"), models.Measured("poll", 1, 5.0)],
        tmp_path / "chart",
    )
    drawn = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    assert "<!-- poll -->" in drawn
    assert "<!-- select" not in drawn


def test_it_begins_nothing_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few connections first, of all models; what is left over says why."""
    measured: list[tuple[str, int]] = []
    clock = iter(range(100))
    monkeypatch.setattr(models.time, "monotonic", lambda: float(next(clock)))

    def measure(model: str, connections: int, seconds: float, size: int) -> models.Measured:
        measured.append((model, connections))
        return models.Measured(model, connections, 1.0)

    monkeypatch.setattr(models, "measure", measure)
    options = argparse.Namespace(
        at_most=len(MODELS), models=MODELS, connections=[10, 1], seconds=1.0, size=64
    )
    results = models.measure_all(options)
    assert measured == [(model, 1) for model in MODELS]
    assert [r.stopped for r in results if r.connections == 10] == [
        f"--at-most {len(MODELS)}: the time was over"
    ] * len(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_ctrl_c_ends_it_at_once(start_interruptible: Callable[..., Command], model: str) -> None:
    """In the middle of measuring, with a minute to go: a line, and no process is left."""
    begun = time.monotonic()
    command = start_interruptible("models", "--models", model, "--seconds", "60")
    server = int(re.search(r"process (\d+)", command.line_with("the server is"))[1])
    pressed = time.monotonic()
    command.press_ctrl_c()
    assert command.end() == 128 + signal.SIGINT
    # A port that waited for a lost client took 5 s. A busy machine took as long to start it all.
    assert time.monotonic() - pressed < max(4.5, pressed - begun)
    assert command.output[-1] == "pyiocp: interrupted"
    assert "Traceback" not in "\n".join(command.output)
    assert process_ended(server)
