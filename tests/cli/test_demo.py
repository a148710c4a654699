"""The demo: the real thing, in short, with a server that does right and some that do not."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command, run_python

from pyiocp.winapi import (
    SYNCHRONIZE,
    WAIT_OBJECT_0,
    CloseHandle,
    OpenProcess,
    WaitForSingleObject,
)

Start = Callable[..., Command]
SABOTAGE = str(Path(__file__).with_name("sabotage.py"))


def test_demo_passes_and_its_figures_agree() -> None:
    """20 clients for a second: what is derived from what is counted, and both sides agree."""
    done = run_python(
        *("-m", "pyiocp", "demo", "--clients", "20", "--seconds", "1", "--seed", "7", "--json")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    server = result["server"]
    assert (result["passed"], result["faults"], result["faults_count"]) == (True, [], 0)
    assert (result["seed"], result["clients"], result["max_size"]) == (7, 20, 65536)
    assert server["connections"] == 20
    assert server["errors"] == []
    assert result["bytes_sent"] == server["received_bytes"] == server["sent_bytes"]
    assert result["bytes_sent"] == result["bytes_back"]
    # Every client's second message is of the largest size.
    assert result["bytes_back"] > 20 * 65536
    assert result["all_messages"] >= result["messages"] + 20
    assert 1.0 <= result["seconds"] < 5.0
    assert result["messages_per_s"] == pytest.approx(
        result["messages"] / result["seconds"], rel=0.001
    )
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["longest_ms"]
    for held in (result["client_resources"], server["resources"]):
        assert held["in_flight"] == 0
        assert 0 < held["handles_after"] <= held["handles_before"] + 8
    assert re.search(r"1 s  measuring +20 connections", done.stderr)


def test_demo_in_text_has_the_seed_a_line_a_second_and_a_verdict() -> None:
    """Into a pipe, without control codes.

    Messages larger than the system's buffers leave sends pending, so that the next ones
    are gathered: a library that sent those in another order would fail here.
    """
    done = run_python(
        *(
            "-m",
            "pyiocp",
            "demo",
            "--clients",
            "3",
            "--seconds",
            "2",
            "--seed",
            "8",
            "--max-size",
            "8000000",
        )
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "pyiocp demo: 3 clients for 2 s, messages of 1 to 8,000,000 bytes, seed 8"
    assert re.fullmatch(
        r"server: process \d+, listening at 127\.0\.0\.1:\d+, 32 AcceptEx outstanding", lines[1]
    )
    measuring = [line for line in lines if "measuring" in line]
    seconds = [int(line.split()[0]) for line in measuring]
    # A busy machine may come to the second line a second late.
    assert seconds[0] >= 1
    assert sorted(set(seconds)) == seconds
    assert len(seconds) == 2
    assert {line.split()[1] for line in measuring} == {"s"}
    assert lines[-1] == "passed: nothing was lost, changed, reordered or leaked"
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("FlipsABit", r"client \d+: changed: 1 of [\d,]+ bytes came back different"),
        ("DropsAMessage", r"client \d+: lost: [\d,]+ bytes did not come back"),
        ("SwapsTwo", r"client \d+: reordered: the right bytes came in another order, from byte 0"),
        ("SendsTooMuch", r"client \d+: extra: 1 bytes too many came"),
        ("SendsTooMuchAtTheEnd", r"bytes from the server to the clients: .* by the clients"),
        ("BreaksOff", r"client \d+: lost: .* \(WSA(Recv|Send) failed with WSAECONNRESET"),
        ("Leaks", r"leak in the process of the server: there are 20 more handles"),
        ("EndsByItself", r"the server ended by itself, exit code 7"),
        ("Hangs", r"the server did not answer for 1\.5 s"),
    ],
)
def test_demo_says_what_a_server_does_wrong(kind: str, wanted: str) -> None:
    """A server that does one thing wrong: exit code 1, and what it was."""
    done = run_python(SABOTAGE, kind)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(f"^FAULT: .*{wanted}", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "FAILED: " in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_sabotage_is_what_makes_it_fail() -> None:
    """The same with a server that does nothing wrong passes."""
    done = run_python(SABOTAGE, "Innocent")
    assert done.returncode == 0, done.stdout + done.stderr


def process_ended(identifier: int) -> bool:
    """Wait until a process has ended, which is to be soon."""
    process = OpenProcess(SYNCHRONIZE, 0, identifier)
    if process is None:
        return True
    try:
        return WaitForSingleObject(process, 15_000) == WAIT_OBJECT_0
    finally:
        CloseHandle(process)


def test_ctrl_c_ends_both_processes_with_a_line(start_interruptible: Start) -> None:
    """In the middle of measuring; the server's process is looked for by its number."""
    command = start_interruptible("demo", "--clients", "20", "--seconds", "30")
    server = int(re.search(r"process (\d+)", command.line_with("server: "))[1])
    command.line_with("measuring")
    command.press_ctrl_c()
    assert command.end() == 128 + signal.SIGINT
    assert command.output[-1] == ("pyiocp demo: interrupted; the server and the clients have ended")
    assert "Traceback" not in "\n".join(command.output)
    assert process_ended(server)


def test_server_ends_with_a_parent_that_is_killed(start: Start) -> None:
    """Nothing tells it but the end of its stdin."""
    command = start("-m", "pyiocp", "demo", "--clients", "5", "--seconds", "30")
    server = int(re.search(r"process (\d+)", command.line_with("server: "))[1])
    command.line_with("measuring")
    command.process.kill()
    assert process_ended(server)
