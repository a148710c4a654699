"""The public names and signatures are those of the file: a change of one shows as a difference."""

from __future__ import annotations

import difflib
import sys
from types import ModuleType

import pytest
from pages import ROOT

import pyiocp


@pytest.fixture
def public_names(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the program that writes the file."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    import public_names

    return public_names


def test_public_names_are_those_of_the_file(public_names: ModuleType) -> None:
    """`python3 tools/public_names.py` writes it anew; the CHANGELOG then names the change."""
    file = public_names.FILE
    said, there = file.read_text(encoding="utf-8"), public_names.text()
    difference = difflib.unified_diff(
        said.splitlines(), there.splitlines(), file.name, "the code", lineterm=""
    )
    then = "python3 tools/public_names.py writes the file anew; name the change in the CHANGELOG"
    assert said == there, "\n".join(["", *difference, "", then])


def test_names_of_a_port_are_those_of_the_file(public_names: ModuleType) -> None:
    """The file has them from the source; here an open port is asked, and one that has run."""
    with pyiocp.CompletionPort() as port:
        port.call_soon(port.stop)
        port.run()
        names = [name for name in dir(port) if not name.startswith("_")]
    assert names == public_names.names_of_a_port()
