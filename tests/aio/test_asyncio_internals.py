"""What is used of asyncio's private parts is there in this Python, and used by way of one file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pyiocp import aio
from pyiocp.aio import asyncio_internals

FILE = Path(asyncio_internals.__file__)
PUBLIC = {"asyncio", "asyncio.subprocess", "collections", "collections.abc"}


def shown(name: str) -> list[str]:
    """Return the members that a class is shown to type checkers with."""
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    (members,) = (node.body for node in found if node.name == name)
    names = []
    for member in members:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(member.name)
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            names.append(member.target.id)
    return names


def test_asyncio_has_what_the_loop_uses() -> None:
    loop = aio.new_event_loop()
    try:
        names = shown("BaseSelectorEventLoop")
        assert len(names) > 5
        assert [name for name in names if not hasattr(loop, name)] == []
    finally:
        loop.close()


def test_asyncio_has_what_the_transports_use() -> None:
    class Transport(asyncio_internals.FlowControl):
        def get_write_buffer_size(self) -> int:
            return 0

    loop = aio.new_event_loop()
    try:
        transport = Transport({}, loop)
        names = shown("FlowControl")
        assert len(names) > 3
        assert [name for name in names if not hasattr(transport, name)] == []
    finally:
        loop.close()


@pytest.mark.parametrize("path", sorted(FILE.parent.rglob("*.py")), ids=lambda path: path.stem)
def test_only_one_file_imports_private_names(path: Path) -> None:
    if path == FILE:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            module = node.module
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            module, names = "", [alias.name for alias in node.names]
        else:
            continue
        if module.startswith("asyncio"):
            assert module in PUBLIC, f"{path.name} imports from {module}"
            assert [name for name in names if name.startswith("_")] == []
        assert [name for name in names if name.startswith("asyncio.") and name not in PUBLIC] == []
