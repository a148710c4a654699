"""The tables of the pages agree with the code."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from error_table import table
from pages import ROOT, prose

CORNER_CASE = re.compile(r"\bC\d\d\b")
ROW = re.compile(r"^\| (C\d\d) \|.*\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_table_of_errors_is_what_the_code_does() -> None:
    """`python tests/docs/error_table.py` prints what the page must contain."""
    assert table() in (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def docstrings_of_tests(path: Path) -> dict[str, str]:
    """Return the docstring of each test in a file, after that of the file, by its name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: f"{ast.get_docstring(tree)}\n{ast.get_docstring(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def rows() -> dict[str, list[tuple[str, str]]]:
    """Return the tests that docs/corner-cases.md names, by the number of the corner case."""
    page = prose(ROOT / "docs" / "corner-cases.md")
    return {match[1]: TEST.findall(match[0]) for match in ROW.finditer(page)}


def test_every_test_of_a_corner_case_exists_and_names_it() -> None:
    """Each row names at least one test; its docstring, or its file's, names the number."""
    assert sorted(rows()) == [f"C{number:02}" for number in (*range(1, 39), 40, 48, 75, 76)]
    for number, tests in rows().items():
        assert tests, f"{number} has no test"
        for file, name in tests:
            docstrings = docstrings_of_tests(ROOT / file)
            assert name in docstrings, f"{number}: {file} has no {name}"
            assert number in docstrings[name], f"{file}::{name} does not name {number}"


def test_every_corner_case_with_a_test_is_on_the_page() -> None:
    """A number that the docstring of a test, or of its file, names has a row."""
    tested: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, docstring in docstrings_of_tests(path).items():
            for number in CORNER_CASE.findall(docstring):
                tested.setdefault(number, []).append(f"{path.relative_to(ROOT)}::{name}")
    missing = {number: tests for number, tests in tested.items() if number not in rows()}
    assert missing == {}, "add rows to docs/corner-cases.md"


@pytest.mark.skipif(sys.platform != "win32", reason="a module of Python for Windows")
def test_what_the_readme_says_of_overlapped_is_so() -> None:
    """CPython's own module has neither function; when it gets one, the README is wrong."""
    import _overlapped

    assert hasattr(_overlapped, "GetQueuedCompletionStatus")
    assert not hasattr(_overlapped, "GetQueuedCompletionStatusEx")
    assert not hasattr(_overlapped, "SetFileCompletionNotificationModes")


def test_reference_pages_are_what_the_code_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python3 tools/reference.py` writes what the pages must contain."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    import reference

    for name, text in reference.pages().items():
        assert text == (ROOT / "docs" / name).read_text(encoding="utf-8"), name
