"""Links between pages, and from pages to files, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from pages import PAGES, ROOT, prose

from pyiocp.cli.command_line import COMMANDS

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def heading_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return set(slugs)


def test_links_lead_somewhere() -> None:
    """Files exist, in this checkout, and anchors are headings."""
    links = [(page, target) for page in PAGES for target in LINK.findall(prose(page))]
    inner = [link for link in links if not link[1].startswith(("https://", "mailto:"))]
    assert len(inner) > 20
    for page, target in inner:
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.is_relative_to(ROOT), f"{page.name}: {target}"
        assert path.exists(), f"{page.name}: {target}: no such file"
        if anchor:
            assert anchor in heading_anchors(path), f"{page.name}: {target}: no such heading"


def test_files_in_code_exist() -> None:
    """A file of this project that is named in code style is there."""
    named = re.compile(r"`((?:pyiocp|tests|docs|tools|examples|benchmarks)/[\w/.]+\w)`")
    names = [(page.name, name) for page in PAGES for name in named.findall(prose(page))]
    assert [(page, name) for page, name in names if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_table_of_contents() -> None:
    """docs/index.md leads to all other pages of docs/."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[\w-]+$", index.partition("```{toctree}")[2], re.MULTILINE)
    assert sorted(listed) == sorted(
        page.stem for page in (ROOT / "docs").glob("*.md") if page.stem != "index"
    )


def test_every_command_has_its_section() -> None:
    """docs/command-line.md has one for each, and names it in the table."""
    page = ROOT / "docs" / "command-line.md"
    assert set(COMMANDS) <= heading_anchors(page)
    table = [f"| [`{name}`](#{name}) |" for name in COMMANDS]
    assert [row for row in table if row not in page.read_text(encoding="utf-8")] == []


def test_no_page_names_an_http_address() -> None:
    """Links to other sites are https."""
    for page in PAGES:
        assert re.findall(r"\]\(http://", prose(page)) == [], page.name
