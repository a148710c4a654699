"""`run.py coverage`: what it measures, what it says, and that too little fails."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from checkouts import ROOT, clean_environment

from tools.setup import coverage, places
from tools.setup.versions import Version


def test_programs_that_the_tests_start_count(ready: None) -> None:
    """The tests of `explain` start `python -m pyiocp`: its lines have been taken there only.

    With chosen tests there is no least figure.
    """
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "coverage",
        "tests/cli/test_explain_command.py",
    ]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env=clean_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert "branches of pyiocp taken" in done.stderr
    assert "at least" not in done.stderr
    [summary] = places.CACHE.glob(f"coverage-{Version.running().text}/summary.json")
    files = json.loads(summary.read_text(encoding="utf-8"))["files"]
    taken = {name.replace("\\", "/"): file["executed_lines"] for name, file in files.items()}
    assert taken["pyiocp/__main__.py"] != []


class Measured:
    """A Windows Python whose tests pass, and take so many of 1,000 branches."""

    def __init__(self, branches: int) -> None:
        self.branches = branches

    def run(self, arguments: list[str], *, stdin: bool, cwd: Path) -> int:
        if "json" in arguments:
            totals = {"covered_branches": self.branches, "num_branches": 1000}
            Path(arguments[-1]).write_text(json.dumps({"totals": totals}), encoding="utf-8")
        return 0

    def path(self, path: Path) -> str:
        return str(path)


@pytest.mark.parametrize(("branches", "code"), [(950, 0), (949, 1)])
def test_too_few_branches_fail(
    run: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    branches: int,
    code: int,
) -> None:
    """95 % are enough, 94.9 % are not; the figure is told either way."""
    monkeypatch.setenv("COVERAGE_FILE", "")  # which the command sets
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(coverage, "windows_python", lambda version: Measured(branches))
    assert run.command_coverage(Version("3.11"), []) == code
    assert f"{branches} of 1000 branches of pyiocp taken, {branches / 10:.2f} %" in (
        capsys.readouterr().err
    )
