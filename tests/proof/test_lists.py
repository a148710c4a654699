"""What mingw-w64's headers lack, or have otherwise, is listed by their version and held to it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_proof import ROOT, needs_compilers

sys.path.insert(0, str(ROOT / "tools"))

from proving.absent import NEWEST_KNOWN, numbers

UNTIL_11 = numbers("a source", until=11, ONE=1, TWO=2)
ABSENT = numbers("a source", ONE=1, TWO=2)
TOO_EARLY = "TWO is listed in absent.py, and the headers, of mingw-w64 10, have it"
NOT_THERE = (
    "TWO is listed in absent.py until mingw-w64 11, and the headers, of version 12, do not have it"
)
KNOWN = f"ONE is listed in absent.py, and the headers, of mingw-w64 {NEWEST_KNOWN}, have it"


@pytest.mark.parametrize(
    ("entry", "version", "present", "said"),
    [
        pytest.param(UNTIL_11, 10, "", [], id="older headers lack it"),
        pytest.param(UNTIL_11, 11, "ONE TWO", [], id="newer headers have it"),
        pytest.param(UNTIL_11, NEWEST_KNOWN + 1, "ONE TWO", [], id="those to come have it"),
        pytest.param(UNTIL_11, 10, "TWO", [TOO_EARLY], id="older headers have it"),
        pytest.param(UNTIL_11, 12, "ONE", [NOT_THERE], id="newer headers lack it"),
        pytest.param(ABSENT, NEWEST_KNOWN, "", [], id="all headers lack it"),
        pytest.param(ABSENT, NEWEST_KNOWN, "ONE", [KNOWN], id="known headers have it after all"),
        pytest.param(ABSENT, NEWEST_KNOWN + 1, "ONE", [], id="those to come may have it"),
    ],
)
def test_name_is_absent_from_older_headers_only(
    entry: object, version: int, present: str, said: list[str]
) -> None:
    """By what the headers of a version have; what newer ones have is proven against them."""
    assert said == list(entry.contradicted(present.split(), version))


def proof_with(folder: Path, file: str, name: str, until: int) -> tuple[int, str]:
    """Run the proof with another version in the entry of `name`; return its end, and output."""
    tools, package = folder / "tools", folder / "pyiocp"
    for made in (tools, package):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / made.name, made, ignore=ignored, dirs_exist_ok=True)
    changed = tools / "proving" / file
    text = changed.read_text(encoding="utf-8")
    before, _, after = text.partition(name)
    # In an entry for numbers the version stands before the names, in the others after them.
    if file == "absent.py" and f"{name}=" in text:
        head, _, tail = before.rpartition("until=")
        changed_text = f"{head}until={until}," + tail.partition(",")[2] + name + after
    else:
        after = re.sub(r"until=\d+", f"until={until}", after, count=1)
        changed_text = before + name + after
    changed.write_text(changed_text, encoding="utf-8")
    command = [sys.executable, str(tools / "proof.py"), "--target", "x86_64"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.returncode, run.stdout


@needs_compilers
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("absent.py", "SOCK_NOTIFY_EVENT_IN"),
        ("absent.py", "ReadDirectoryChangesExW"),
        ("different.py", "JOB_OBJECT_ALL_ACCESS"),
        ("different.py", "select"),
        ("different.py", "ADDRINFOEXW.ai_next"),
    ],
)
def test_wrong_version_in_a_list_is_told(file: str, name: str, tmp_path: Path) -> None:
    """The headers of this machine contradict one version that is too high, or one too low."""
    code, said = proof_with(tmp_path, file, name, until=11)
    assert code == 0, said
    found = re.search(r"headers of mingw-w64 (\d+)", said)
    assert found is not None
    wrong = 99 if int(found[1]) >= 11 else 1
    code, said = proof_with(tmp_path, file, name, until=wrong)
    assert code == 1, said
    assert re.search(rf"(^|/|: ){name}\b", re.split(r"\n\d+ disagreements?:\n", said)[1])
