"""docs/seed-flow.md is true: what it shows typed is typed here, line by line."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "seed-flow.md"
BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(page: str) -> str:
    """Return what is typed on a page, with each line at the line number that it has there."""
    lines = [""] * len(page.splitlines())
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(1))
        typed = block[1].splitlines()
        lines[first : first + len(typed)] = typed
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(sys.platform != "win32", reason="types into Python for Windows")
def test_the_page_shows_what_a_repl_answers() -> None:
    """Every example of the page runs, in order, in one namespace, and answers as printed.

    Names C15 (a failed operation's completion is no failed call) and C32 (a buffer under an
    operation refuses to be resized), at ring 1.
    """
    name = "seed-flow"
    text = examples(PAGE.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(text, {}, name, str(PAGE), 0)
    assert len(test.examples) > 40, "the page's blocks were not found"
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    result = runner.run(test, out=report.append)
    assert result.failed == 0, "".join(report)


def test_the_page_uses_ring_1_only() -> None:
    """Nothing of pyiocp but pyiocp.winapi is imported on the page."""
    text = examples(PAGE.read_text(encoding="utf-8"))
    imported = set(re.findall(r"(?:from|import) (pyiocp[\w.]*)", text))
    assert imported == {"pyiocp.winapi"}
