"""python -m pyiocp load: any echo server, and what it says of one that is none."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable

import pytest
from commands import Command
from serving import Echo, served

from pyiocp.cli.command_line import main


def test_load_measures_an_echo_server(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts, rates and round trips agree with each other; progress is on stderr."""
    with served(Echo) as address:
        line = f"load {address} --connections 5 --size 100 --depth 3 --seconds 0.5 --json"
        assert main(line.split()) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["passed"], result["faults"], result["faults_count"]) == (True, {}, 0)
    assert (result["connections"], result["size"], result["depth"]) == (5, 100, 3)
    assert result["address"] == address
    assert result["messages"] > 15
    assert result["messages_per_s"] == pytest.approx(
        result["messages"] / result["seconds"], rel=0.01
    )
    assert result["megabytes_per_s"] == pytest.approx(result["messages_per_s"] / 1e4, rel=0.1)
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["longest_ms"]
    assert 0 < result["slowest_to_mean"] <= 1
    assert captured.err.startswith(f"5 connections to {address}: 100 bytes a message, 3 under way")


def test_load_in_words_has_rates_and_round_trips(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Echo) as address:
        assert main(f"load {address} --connections 2 --seconds 0.2".split()) == 0
    text = capsys.readouterr().out
    assert "messages/s" in text
    assert "round trip p50 " in text
    assert "\x1b" not in text


class Wrong(Echo):
    """One connection of them changes what it sends back."""

    made = 0

    def __init__(self) -> None:
        Wrong.made += 1
        self.number = Wrong.made

    def on_receive(self, data: memoryview) -> None:
        self.send(bytes(len(data)) if self.number == 2 else data)


def test_others_go_on_when_one_gets_back_something_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, a line that says so, and the messages of the others."""
    Wrong.made = 0
    with served(Wrong) as address:
        assert main(f"load {address} --connections 3 --seconds 0.5 --json".split()) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["passed"], result["faults_count"]) == (False, 1)
    assert result["messages"] > 2
    assert result["seconds"] == pytest.approx(0.5, abs=0.4)
    assert "pyiocp: error: 1 connection: changed: " in captured.err


def test_what_all_connections_meet_with_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    assert main(f"load {address} --connections 20".split()) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "no message came back"
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("pyiocp: error: 20 connections: not connected: ConnectEx failed")


class Ends(Echo):
    """Breaks off after some messages."""

    def on_receive(self, data: memoryview) -> None:
        if self.statistics().messages_received > 20:
            self.abort()
        else:
            self.send(data)


def test_server_that_goes_away_ends_the_load(capsys: pytest.CaptureFixture[str]) -> None:
    """Long before the 60 seconds that were asked for."""
    with served(Ends) as address:
        assert main(f"load {address} --connections 4 --seconds 60 --json".split()) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["passed"], result["faults_count"]) == (False, 4)
    assert result["messages"] <= 4 * 20


def test_ctrl_c_is_a_line_and_exit_code_130(start_interruptible: Callable[..., Command]) -> None:
    """In the middle of measuring."""
    with served(Echo) as address:
        command = start_interruptible("load", address, "--connections", "3", "--seconds", "60")
        command.line_with("measuring")
        command.press_ctrl_c()
        assert command.end() == 130
    assert command.output[-1] == "pyiocp: interrupted"
    assert "Traceback" not in "\n".join(command.output)


def test_terminal_gets_a_table_and_no_colours_if_none_are_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With rich; and without it lines, as into a pipe."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    with served(Echo) as address:
        line = f"load {address} --connections 2 --seconds 1.2"
        assert main(line.split()) == 0
        drawn = capsys.readouterr().out
        monkeypatch.setitem(sys.modules, "rich.console", None)
        assert main(line.split()) == 0
    plain = capsys.readouterr().out
    assert "\x1b[2K" in drawn  # drawn again in its place
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", drawn)
    assert "\x1b" not in plain
    assert re.search(r"1 s +measuring +2 connections", plain)
