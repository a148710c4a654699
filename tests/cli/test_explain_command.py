"""python -m pyiocp explain: codes in, words out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from commands import run_python

from pyiocp import explain
from pyiocp.cli.command_line import main

if TYPE_CHECKING:
    import pytest


def test_it_prints_what_explain_says() -> None:
    """In a process of its own, as a user types it: each code, an empty line between."""
    done = run_python("-m", "pyiocp", "explain", "10054", "STATUS_PIPE_BROKEN")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{explain(10054)}\n\n{explain('STATUS_PIPE_BROKEN')}\n"


def test_what_is_no_code_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are explained all the same."""
    assert main(["explain", "WSAECONRESET", "995"]) == 1
    captured = capsys.readouterr()
    assert "perhaps WSAECONNRESET" in captured.err
    assert captured.err.count("\n") == 1
    assert "ERROR_OPERATION_ABORTED (995)" in captured.out


def test_it_works_off_windows_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command takes this for Linux, where codes mean the same."""
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["explain", "0xC000020D"]) == 0
    assert "The peer reset the connection" in capsys.readouterr().out
