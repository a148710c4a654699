"""The command line: help, wrong arguments, and what it says off Windows."""

from __future__ import annotations

import sys

import pytest
from commands import run_python

from pyiocp import __version__
from pyiocp.cli.command_line import COMMANDS, main


def test_without_a_command_comes_the_help() -> None:
    """In a process of its own, as a user types it."""
    done = run_python("-m", "pyiocp")
    assert (done.returncode, done.stderr) == (0, "")
    for name, module in COMMANDS.items():
        assert f"    {name:<10}{module.HELP}\n" in done.stdout


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"pyiocp {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_examples_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"examples:\n  python -m pyiocp {name}" in text
    assert "exit codes: 0 fine" in text


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("nonsense", "invalid choice: 'nonsense'"),
        ("demo --clients 0", "'0' is not a whole number from 1 to 10,000"),
        ("demo --clients many", "'many' is not a whole number"),
        ("demo --seconds nan", "'nan' is not a number from 0.1"),
        ("demo --seconds -1", "'-1' is not a number"),
        ("demo --max-size 1.5", "'1.5' is not a whole number"),
        ("demo --seed -3", "'-3' is not a whole number"),
        ("demo more", "unrecognized arguments: more"),
        ("serve", "required: what"),
        ("serve chat", "invalid choice: 'chat'"),
        ("serve echo --address 9000", "'9000' lacks a port: write HOST:PORT"),
        ("serve echo --address host:", "'' is no port"),
        ("serve echo --address host:65536", "'65536' is no port"),
        ("serve echo --address ::1:9000", "in brackets: [::1]:9000"),
        ("serve echo -- --address", "unrecognized arguments: -- --address"),
        ("load", "required: HOST:PORT"),
        ("load 127.0.0.1:9000 --depth 0", "'0' is not a whole number from 1"),
        ("monitor nobody", "'nobody' lacks a port"),
        ("monitor 127.0.0.1:9001 --slowest 101", "'101' is not a whole number from 0 to 100"),
        ("pages --json --markdown", "not allowed with argument"),
        ("trace", "required: FILE"),
        ("trace trace.json --", "a script must follow --"),
        ("trace trace.json script.py", "unrecognized arguments: script.py"),
    ],
)
def test_wrong_arguments_are_exit_code_2_and_one_line(
    line: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert wanted in captured.err
    assert captured.err.endswith("--help)\n")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("demo", "python3 run.py demo"),
        ("serve echo", "python3 run.py python -m pyiocp serve"),
        ("load 127.0.0.1:9000", "python3 run.py python -m pyiocp load"),
        ("trace trace.json", "python3 run.py python -m pyiocp trace"),
        ("info", "python3 run.py python -m pyiocp info"),
        ("pages", "python3 run.py python -m pyiocp pages"),
        ("shell", "python3 run.py shell"),
    ],
)
def test_off_windows_one_line_says_what_to_do(
    line: str, wanted: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command takes this for Linux."""
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "needs Windows" in captured.err
    assert captured.err.endswith(f"{wanted}\n")
