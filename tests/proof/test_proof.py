"""The declarations agree with the Windows SDK's headers, and the proof would notice if not.

Every test runs ``tools/proof.py`` the way a person does. The tests of what it notices run it on
a copy of the package with one thing changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from wrong_declarations import CHANGES, Change

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = ("x86_64-w64-mingw32-gcc", "i686-w64-mingw32-gcc")
MISSING = [compiler for compiler in COMPILERS if shutil.which(compiler) is None]

needs_compilers = pytest.mark.skipif(
    bool(MISSING), reason=f"the proof needs mingw-w64; not on PATH: {', '.join(MISSING)}"
)

Run = subprocess.CompletedProcess[str]


def copy_with(change: Change, folder: Path) -> Path:
    """Copy the package into `folder`, and change one place of it."""
    copy = folder / "pyiocp"
    shutil.copytree(ROOT / "pyiocp", copy, ignore=shutil.ignore_patterns("__pycache__"))
    changed = copy / "winapi" / change.file
    text = changed.read_text(encoding="utf-8")
    text, count = re.subn(change.pattern, change.replacement, text)
    assert count == 1, f"{count} places of {change.file} match {change.pattern}"
    changed.write_text(text, encoding="utf-8")
    return copy


@needs_compilers
def test_every_declaration_agrees_with_the_headers(prove: Callable[..., Run]) -> None:
    """The proof of this checkout ends in 0, and has proven things of each kind."""
    run = prove()
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    counted = re.findall(r"^  (\w+) +[1-9]\d* +[1-9]\d*$", run.stdout, re.MULTILINE)
    assert {"function", "callback", "structure", "field", "constant", "GUID", "alias"} <= {*counted}


@needs_compilers
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_proof_refuses_and_names(
    change: Change, prove: Callable[..., Run], tmp_path: Path
) -> None:
    """With one thing changed the proof ends in 1 and says what is wrong."""
    run = prove("--package", str(copy_with(change, tmp_path)), "--target", change.target)
    assert (run.returncode, run.stderr) == (1, "")
    complaints = re.split(r"\n\d+ disagreements?:\n", run.stdout)[1]
    for said in change.said:
        assert said in complaints


@needs_compilers
def test_a_complaint_says_where_the_declaration_is(
    prove: Callable[..., Run], tmp_path: Path
) -> None:
    """The line of a wrong constant begins with its file and line, and names both targets."""
    copy = copy_with(CHANGES["a constant"], tmp_path)
    file = copy / "winapi" / "errorcodes.py"
    before, _, _ = file.read_text(encoding="utf-8").partition("ERROR_NETNAME_DELETED = 65")
    expected = f"{file}:{before.count(chr(10)) + 1}: ERROR_NETNAME_DELETED is"
    assert expected in (complaints := prove("--package", str(copy)).stdout)
    assert complaints.rstrip().endswith("[x86_64, i686]")


def test_without_a_compiler_the_proof_says_which_package_brings_it() -> None:
    """With an empty PATH it ends in 2 and names the Debian package."""
    command = [sys.executable, str(ROOT / "tools" / "proof.py")]
    nowhere = {**os.environ, "PATH": ""}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=nowhere)
    assert (run.returncode, run.stdout) == (2, "")
    assert "apt-get install gcc-mingw-w64-" in run.stderr
