"""The house: imports point inward, files do not go round in circles, a name is used once.

`python3 tools/house.py` shows the same as figures. What is allowed stands there, with its reason.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pages import ROOT


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the program that reads the imports."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    import house

    return house


@pytest.fixture
def ours(house: ModuleType) -> Any:
    """Return this package."""
    found = house.House(house.PACKAGE)
    assert len(found.arrows) > 500
    return found


@pytest.mark.parametrize("type_only", [False, True], ids=["at run time", "for types too"])
def test_imports_point_inward(house: ModuleType, ours: Any, type_only: bool) -> None:
    """From ring 4 to ring 1; the package's own __init__ shows what is in all rings.

    What is allowed is allowed for types only.
    """
    allowed = house.ALLOWED_ARROWS if type_only else ()
    assert ours.forbidden_arrows(allowed, type_only=type_only) == []


def test_no_circle_at_run_time(ours: Any) -> None:
    """Not even one of two files, and not by an import inside a function."""
    assert ours.circles(type_only=False) == []


def test_no_circle_of_more_than_two_files(house: ModuleType, ours: Any) -> None:
    """Imports for the type checker only are counted."""
    assert ours.forbidden_circles(house.ALLOWED_ARROWS) == []


def test_no_two_public_classes_of_one_name(house: ModuleType, ours: Any) -> None:
    """Who reads `Timer` knows which one."""
    assert ours.forbidden_twins(house.ALLOWED_TWINS) == []


def test_nothing_is_allowed_that_nobody_needs(house: ModuleType, ours: Any) -> None:
    """An allowance goes with what needed it."""
    assert ours.needless(house.ALLOWED_ARROWS, house.ALLOWED_TWINS) == []


def built(house: ModuleType, folder: Path, files: dict[str, str]) -> Any:
    """Return a house of these files, by their names in the package."""
    package = folder / "pyiocp"
    for name, source in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return house.House(package)


TYPE_ONLY = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("importer", "source", "imported"),
    [
        ("winapi/types.py", "from ..errors import IocpError", "errors"),
        ("engine/queue.py", f"{TYPE_ONLY}from ..port import CompletionPort", "port"),
        ("handles/sockets/stream.py", "import pyiocp.servers.tcp.session", "servers.tcp.session"),
        ("memory/pools.py", "def late():\n    from pyiocp import cli", "cli"),
        ("observing/trace.py", "from ..servers.tcp import session", "servers.tcp.session"),
        ("servers/tls/layer.py", "from ...aio import loop", "aio.loop"),
        ("port.py", "from . import sim", "sim"),
        ("port.py", "try:\n    from .models import serve\nexcept ImportError: ...", "models"),
    ],
)
def test_an_arrow_that_runs_outward_is_found(
    house: ModuleType, tmp_path: Path, importer: str, source: str, imported: str
) -> None:
    """However it is written, wherever it stands, and in the folders to come."""
    files = {
        "errors.py": "class IocpError: ...",
        "port.py": "class CompletionPort: ...",
        "servers/__init__.py": "",
        "servers/tcp/__init__.py": "",
        "servers/tcp/session.py": "",
        "cli/__init__.py": "",
        "aio/__init__.py": "",
        "aio/loop.py": "from ..engine import queue\nfrom .. import port",
        "sim/__init__.py": "",
        "models/__init__.py": "",
        "engine/queue.py": "from ..winapi import types",
        "winapi/types.py": "",
    }
    found = built(house, tmp_path, {**files, importer: source})
    [arrow] = found.outward()
    assert arrow.imported == imported
    assert arrow.type_only == ("TYPE_CHECKING" in source)
    assert found.forbidden_arrows({}) == [str(arrow)]
    assert found.forbidden_arrows({}, type_only=False) == [str(arrow)] * (not arrow.type_only)
    assert found.forbidden_arrows({arrow[:2]: "why"}) == []


CIRCLE = {
    "engine/queue.py": "from . import poller",
    "engine/poller.py": f"{TYPE_ONLY}from .batch import Batch",
    "engine/batch.py": "def late():\n    from .queue import Queue",
    "engine/operation.py": "from .completion import Completion",
    "engine/completion.py": f"{TYPE_ONLY}from .operation import Operation\nelse:\n    pass",
}


def test_a_circle_of_three_files_is_found(house: ModuleType, tmp_path: Path) -> None:
    """Two may know each other; an arrow that is allowed opens the circle."""
    found = built(house, tmp_path, CIRCLE)
    three = ["engine.batch", "engine.poller", "engine.queue"]
    assert found.circles() == [three, ["engine.completion", "engine.operation"]]
    assert found.circles(type_only=False) == []
    assert found.forbidden_circles({}) == [" ".join(three)]
    assert found.forbidden_circles({("engine.poller", "engine.batch"): "why"}) == []


def test_a_name_that_is_used_twice_is_found(house: ModuleType, tmp_path: Path) -> None:
    """Of public classes, of files apart; a class inside another is not one of the package."""
    files = {
        "handles/timer.py": "class Timer: ...\nclass _Heap: ...",
        "engine/timers.py": "if 1:\n    class Timer: ...\nclass _Heap: ...\nTimers = None",
        "servers/idle.py": "class Idle:\n    class Timer: ...",
    }
    found = built(house, tmp_path, files)
    assert found.forbidden_twins({}) == ["Timer: engine.timers handles.timer"]
    assert found.forbidden_twins({"Timer": "why"}) == []


def test_an_allowance_that_nobody_needs_is_found(house: ModuleType, tmp_path: Path) -> None:
    """One for an import or a name that is gone, or that may be there anyway."""
    files = {"handles/wait.py": "from .. import port", "port.py": "class Timer: ..."}
    found = built(house, tmp_path, {**CIRCLE, **files})
    needed = [("handles.wait", "port"), ("engine.queue", "engine.poller")]
    assert found.needless(needed, []) == []
    gone, harmless = ("handles.wait", "servers"), ("engine.operation", "engine.completion")
    assert found.needless([*needed, gone, harmless], ["Timer"]) == [
        "handles.wait -> servers",
        "engine.operation -> engine.completion",
        "Timer",
    ]


def test_lines_of_code_are_those_that_do_something(house: ModuleType) -> None:
    """No docstrings, no comments, no empty lines."""
    source = '"""One\n\ntwo."""\n\n# three\nx = (  # four\n    """a\nb"""\n)\n#: five\n'
    assert house.lines_of_code(source) == 4
