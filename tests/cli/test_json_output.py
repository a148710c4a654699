"""``--json``: one JSON value on stdout and nothing else, for every command that a script reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from commands import run_python

from pyiocp import __version__, explain
from pyiocp.cli.command_line import main
from pyiocp.memory.pages import PAGE_SIZE
from pyiocp.winapi import available
from pyiocp.winapi.binding import DECLARED

if TYPE_CHECKING:
    import pytest


def test_explanations_are_a_list_however_many(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody knows is not in it, is said on stderr, and is exit code 1."""
    assert main(["explain", "--json", "10054"]) == 0
    [explained] = json.loads(capsys.readouterr().out)
    assert explained["code"] == 10054
    assert explained["error"] == "PeerResetError"
    assert explained["meaning"] == explain(10054).meaning
    assert main(["explain", "--json", "nonsense", "0"]) == 1
    captured = capsys.readouterr()
    assert [found["name"] for found in json.loads(captured.out)] == ["ERROR_SUCCESS"]
    assert captured.err.startswith("pyiocp: error: no code is called 'nonsense'")


def test_info_has_every_declared_function_and_whether_it_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["pyiocp"] == __version__
    assert facts["machine"]["page_size"] == PAGE_SIZE
    assert facts["process"]["working_set_min"] > PAGE_SIZE
    there = {function["name"]: function["there"] for function in facts["functions"]}
    assert there == {name: available(name) for name in DECLARED}
    assert there["GetQueuedCompletionStatusEx"] is True
    extensions = {f["name"] for f in facts["functions"] if f["extension"]}
    assert {"AcceptEx", "ConnectEx", "TransmitFile"} <= extensions
    assert "RIOReceive" in facts["rio_functions"]
    assert facts["offers"]["registered_io"] == any(facts["rio_functions"].values())
    assert facts["offers"]["skip_on_success"] is True


def test_info_for_people_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """With --functions, everything that is there is named as well."""
    assert main(["info", "--functions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line.split()[0] for line in lines if ".dll" in line]
    missing = [name for name in sorted(DECLARED) if not available(name)]
    assert named == missing + sorted(DECLARED)


def test_pages_in_json_are_the_figures_of_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pages", "--receives", "100", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["passed"], result["receives"], result["page_size"]) == (True, 100, PAGE_SIZE)
    assert [row["pages"] for row in result["locked"][2:]] == [25, 0]
    assert [row["received"] for row in result["rounds"]] == [100] * 5
    assert result["quota"]["sessions_lost"] == 0


def test_whoever_stops_reading_hears_no_complaint() -> None:
    """Into a pipe that is closed at once: exit code 1, and nothing on stderr."""
    program = (
        "import subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-m', 'pyiocp', 'info', '--functions'],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE);"
        "p.stdout.close(); print(p.stderr.read(), p.wait())"
    )
    done = run_python("-c", program)
    assert done.stdout.split() == ["b''", "1"], done.stdout + done.stderr
