"""Every public name says what it does, in a form that a reader can rely on.

What ``help()`` shows of rings 2 and 3 is read here as source: nothing is called.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from pages import PAGES, ROOT

import pyiocp

NAMES = sorted(name for name in vars(pyiocp) if name[0].isupper())
HANDLED = [
    getattr(pyiocp, name)
    for name in NAMES
    if not issubclass(getattr(pyiocp, name), (BaseException, Enum))
]
"""The classes whose instances users hold in their hands."""

FOLDERS = ["handles", "memory", "observing"]

MODULES = [
    path
    for path in sorted((ROOT / "pyiocp").glob("*.py"))
    + [path for folder in FOLDERS for path in sorted((ROOT / "pyiocp" / folder).rglob("*.py"))]
    if path.name not in ("__init__.py", "__main__.py")
]

Definition = ast.FunctionDef | ast.ClassDef


def definitions(path: Path) -> Iterator[tuple[str, Definition]]:
    """Yield each public class, function and method of a module, with its full name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


PUBLIC = [
    (f"{path.relative_to(ROOT).as_posix()}: {name}", node)
    for path in MODULES
    for name, node in definitions(path)
]


def documentation(node: Definition) -> str:
    """Return a docstring, and with it the one that it refers to: ``see `Session.send`.``."""
    docstring = ast.get_docstring(node) or ""
    for reference in re.findall(r"see `([\w.]+)`", docstring):
        for name, other in PUBLIC:
            if name.endswith(f": {reference}"):
                docstring += "\n" + (ast.get_docstring(other) or "")
    return docstring


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the public functions and methods, with their names."""
    for name, node in PUBLIC:
        if isinstance(node, ast.FunctionDef):
            yield name, node


def test_every_public_name_has_a_docstring_and_a_place_in_the_docs() -> None:
    """What `from pyiocp import *` gives is explained by ``help()`` and by some page."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in NAMES if not inspect.getdoc(getattr(pyiocp, name))] == []
    assert [name for name in NAMES if not re.search(rf"\b{name}\b", pages)] == []


def test_docstrings_begin_with_a_summary() -> None:
    """One sentence on the first line; then, if there is more, an empty line."""
    assert len(PUBLIC) > 100
    wrong = []
    for name, node in PUBLIC:
        first, *rest = (ast.get_docstring(node) or "").split("\n")
        if not re.fullmatch(r"[A-Z`].*[.:]", first) or rest[:1] not in ([], [""]):
            wrong.append(f"{name}: {first!r}")
    assert wrong == []


def raised(node: ast.AST) -> set[str]:
    """Return the classes of the exceptions that the body itself raises, by ``raise X(…)``."""
    return {
        child.exc.func.id
        for child in ast.walk(node)
        if isinstance(child, ast.Raise)
        and isinstance(child.exc, ast.Call)
        and isinstance(child.exc.func, ast.Name)
        and child.exc.func.id[0].isupper()
    }


def test_docstrings_name_the_errors() -> None:
    """Each exception that a function raises in its own body is in its docstring."""
    missing = {
        name: errors
        for name, node in functions()
        if (errors := {error for error in raised(node) if error not in documentation(node)})
    }
    assert missing == {}


def win32_functions_called(node: ast.FunctionDef) -> Iterator[str]:
    """Yield what a method calls of its kernel, or by ``self.call("…")``."""
    for child in ast.walk(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            owner, called = ast.unparse(child.func.value), child.func.attr
            if called == "call" and owner == "self" and isinstance(child.args[0], ast.Constant):
                yield child.args[0].value
            elif owner.endswith("kernel") and called[0].isupper():
                yield called


def test_functions_of_windows_come_with_their_source() -> None:
    """A method that has a Win32 function called for it names the Microsoft page."""
    source = "Source: https://learn.microsoft.com/"
    calling = {name: set(win32_functions_called(node)) for name, node in functions()}
    documented = {name for name, node in functions() if source in documentation(node)}
    missing = {n: called for n, called in calling.items() if called and n not in documented}
    assert sum(map(bool, calling.values())) > 5
    assert missing == {}


def test_classes_say_which_threads_may_use_them() -> None:
    """A class says so for all its methods at once, or is a plain value."""
    said = re.compile(r"[Tt]hread safety:|[Aa]ny thread|workers|plain value")
    assert [kind.__name__ for kind in HANDLED if not said.search(inspect.getdoc(kind) or "")] == []


def takes_buffer(node: ast.FunctionDef) -> bool:
    """Tell whether one of a function's arguments is a buffer."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments += [node.args.vararg] if node.args.vararg else []
    annotations = [ast.unparse(a.annotation) for a in arguments if a.annotation is not None]
    return "Buffer" in annotations


def test_buffers_have_a_lifetime() -> None:
    """Who takes a user's buffer for the kernel says until when it must stay as it is.

    What returns an operation does not give it to the kernel yet.
    """
    taking = [(name, node) for name, node in functions() if takes_buffer(node)]
    assert len(taking) > 3
    assert [
        name
        for name, node in taking
        if not name.endswith("_operation")
        and not re.search(r"Lifetime:|copied|[Cc]op(y|ies)|bytes of", documentation(node))
    ] == []
