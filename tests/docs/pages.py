"""The pages that users read, and the blocks of code in them.

A block is run as it stands. An HTML comment right above it, which a reader does not see,
says what it needs beyond that::

    <!-- test: visited by echoes -->
    <!-- test: Lines visited by lines -->
    <!-- test: continues -->
    <!-- test: not run, because … -->
    <!-- test: typed into the shell -->

The first is a server on port 9000 that runs until Ctrl-C: a visitor of that name
(``visitors.py``) connects to it. The second defines a session class, which a port of the
test's own listens with. The third goes on where the block before it stopped. The
last stands above the first thing that is typed on a page whose reader has started
``python -m pyiocp shell``: the names of that are there.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))

_BLOCK = re.compile(
    r"(?:^ *<!-- test: (?P<how>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    """Of its first line, counted from 1."""
    language: str
    how: str
    """What the comment above it says."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """Return the blocks of a page that are in a language."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            match["how"] or "",
            textwrap.dedent(match["text"]),
        )
        for match in _BLOCK.finditer(text)
        if match["language"] == language
    ]


def all_blocks(language: str) -> list[Block]:
    """Return the blocks of all pages that are in a language."""
    return [block for page in PAGES for block in blocks(page, language)]


def prose(page: Path) -> str:
    """Return a page without its blocks of code, each line where it was."""
    return _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
