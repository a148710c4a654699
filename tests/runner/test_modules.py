"""The modules of tools/setup: what they import, and the map of them."""

import ast
import re
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, Checkout

SETUP = ROOT / "tools" / "setup"
FILES = sorted(path for path in SETUP.glob("*.py") if path.name != "__init__.py")


def imports_of(file: Path) -> set[str]:
    """Return the names of the modules that a file imports, those of its own folder with a dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f"{'.' * node.level}{node.module or ''}"
            found.update([module] if node.module else [f".{alias.name}" for alias in node.names])
    return found


@pytest.mark.parametrize("file", [ROOT / "run.py", *FILES], ids=lambda file: file.name)
def test_run_py_needs_nothing_but_the_standard_library(file: Path) -> None:
    """A fresh clone has nothing else."""
    imported = {name.partition(".")[0] for name in imports_of(file) if not name.startswith(".")}
    ours = {"tools"} if file.name == "run.py" else set()
    assert imported - sys.stdlib_module_names - ours == set()


def test_imports_go_one_way() -> None:
    """No module of the folder imports itself by way of others, for types neither."""
    left = {file.stem: {n[1:] for n in imports_of(file) if n.startswith(".")} for file in FILES}
    assert left["downloads"] >= {"cache", "host_pip", "places"}  # they are seen at all
    while left:
        free = [name for name, imported in left.items() if not imported & left.keys()]
        assert free != [], f"a circle among {left}"
        for name in free:
            del left[name]


def test_the_map_names_every_module_once() -> None:
    """The docstring of the folder has a line for each file, and for no other."""
    text = ast.get_docstring(ast.parse((SETUP / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = re.findall(r"^([a-z_]+)  +\S", text, re.MULTILINE)
    assert sorted(named) == [file.stem for file in FILES]


def test_it_starts_from_any_folder(empty_checkout: Checkout, tmp_path: Path) -> None:
    """Its modules are found beside it: not in the current folder, nor in the path of modules."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").write_text("raise RuntimeError('another one')")
    for options in ([], ["-P"], ["-I"]):
        done = empty_checkout.run("help", options=options, cwd=tmp_path, PYTHONPATH=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
