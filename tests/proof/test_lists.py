"""What mingw-w64's headers lack, or have otherwise, is listed by their version and held to it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from proving.absent import NEWEST_KNOWN, Absent, numbers
from test_proof import COMPILERS, ROOT, needs_compilers

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
    entry: Absent, version: int, present: str, said: list[str]
) -> None:
    """By what the headers of a version have; what newer ones have is proven against them."""
    assert said == list(entry.contradicted(present.split(), version))


def version_here() -> int:
    """Ask the compiler which version of mingw-w64 its headers are of."""
    command = [COMPILERS[0], "-E", "-dM", "-include", "_mingw.h", "-x", "c", "-"]
    macros = subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout
    found = re.search(r"__MINGW64_VERSION_MAJOR (\d+)", macros)
    assert found is not None
    return int(found[1])


@needs_compilers
@pytest.mark.parametrize(
    ("file", "pattern", "name"),
    [
        ("absent.py", r"(until=)11(,\s+SOCK_NOTIFY_REGISTER_EVENT_NONE)", "SOCK_NOTIFY_EVENT_IN"),
        ("absent.py", r"(until=)12(,\s+TCP_KEEPALIVE)", "TCP_KEEPALIVE"),
        ("different.py", r'("select".*?until=)11()', "select"),
        ("different.py", r'("JOB_OBJECT_ALL_ACCESS".*?until=)11()', "JOB_OBJECT_ALL_ACCESS"),
    ],
)
def test_wrong_version_in_a_list_is_told(
    file: str,
    pattern: str,
    name: str,
    prove: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    """The headers of this machine contradict a version that is too high, or too low."""
    tools = tmp_path / "tools"
    shutil.copytree(ROOT / "tools", tools, ignore=shutil.ignore_patterns("__pycache__"))
    changed = tools / "proving" / file
    wrong = 99 if version_here() >= 12 else 1
    text, count = re.subn(
        pattern, rf"\g<1>{wrong}\2", changed.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert count == 1
    changed.write_text(text, encoding="utf-8")
    package = str(ROOT / "pyiocp")
    run = prove("--package", package, "--target", "x86_64", tools=tools)
    assert (run.returncode, run.stderr) == (1, "")
    assert re.search(rf"\b{name}\b", re.split(r"\n\d+ disagreements?:\n", run.stdout)[1])
