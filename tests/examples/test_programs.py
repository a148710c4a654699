"""What holds for every program in examples/."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_python
from example_server import EXAMPLES

PROGRAMS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_example_says_what_it_takes(program: Path) -> None:
    """``--help`` does, and unless told otherwise it is reached from this machine only."""
    done = run_python(str(program), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(127.0.0.1)" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_example_is_tested_and_on_its_page(program: Path) -> None:
    """There is a file with its tests, and docs/examples.md says what to type."""
    assert Path(__file__).with_name(f"test_{program.stem}.py").is_file()
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f"$ python examples/{program.name}" in page
