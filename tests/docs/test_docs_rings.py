"""The rings of CONTRIBUTING: what is imported when the program runs points inward."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pyiocp

PACKAGE = Path(pyiocp.__file__).parent

RING_OF = {
    "winapi": 1,
    "queue": 2,
    "handles": 2,
    "memory": 2,
    "port": 3,
    "servers": 3,
    "models": 4,
    "cli": 4,
    "__main__": 4,
}
"""Of a module or a folder at the top of the package; 2 for the others there."""


def ring_of(module: tuple[str, ...]) -> int:
    """Return the ring of a module, whose name within the package this is."""
    return RING_OF.get(module[0], 2)


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what of the package a module of `package` imports, but for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level]
            if node.module:
                yield (*base, *node.module.split("."))
            else:
                yield from ((*base, alias.name) for alias in node.names)
        else:
            yield from imported(node, package)


def test_imports_point_inward() -> None:
    """The package's own __init__ shows what is in all rings; it has none itself."""
    outward, seen = [], 0
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("").parts
        if module == ("__init__",):
            continue
        for other in imported(ast.parse(path.read_text(encoding="utf-8")), module[:-1]):
            seen += 1
            if ring_of(other) > ring_of(module):
                outward.append(f"{'.'.join(module)} imports {'.'.join(other)}")
    assert outward == []
    assert seen > 500
