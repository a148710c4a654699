#!/usr/bin/env python3
"""Write the reference pages, docs/reference-*.md, from the code: every public name, a line each.

    python3 tools/reference.py

What a name does in full, what it takes and raises, is in its docstring: the pages say what there
is. A test compares them with the code.
"""

from __future__ import annotations

import ast
import ctypes
import enum
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyiocp
from pyiocp import aio, models, winapi
from pyiocp.engine.packet import Packet
from pyiocp.handles.handle import Handle

DOCS = Path(__file__).resolve().parents[1] / "docs"

_ARGUMENTS_MAX = 70
"""Characters of a signature in a table."""

_BETWEEN_RINGS = {
    *("check_free", "check_idle", "check_open", "check_reusable"),
    *("open", "of_handle", "of_share", "of_socket", "owning"),
    *("cancel_locked", "give_back", "take", "take_wait"),
    *("prepare", "refused", "renew"),
    *("stop_waiting", "take_over"),
}
"""Methods that the rings have for each other, and no user calls."""

_OF_SERVERS = {
    *("listen", "connect", "keep_connected", "serve_datagrams", "connect_datagram", "broadcast"),
    *("sessions", "listeners", "clients", "datagram_servers", "monitor"),
    *("run", "stop", "submit", "shutdown"),
}
"""What of a `CompletionPort` is for servers and clients; the rest is for operations."""

_NOT_CALLED = (enum.Enum, BaseException, Handle, Packet)
"""Classes whose objects a user gets from a method of another: their arguments are not shown."""

_RING_3 = ("port", "servers.")


def summary(thing: Any) -> str:
    """Return the first sentence of a docstring, on one line, for a cell of a table."""
    text = inspect.getdoc(thing) or ""
    paragraphs = [p for p in text.split("\n\n") if not re.match(r"\w+\(", p)]
    return " ".join((paragraphs or [""])[0].split()).replace("|", "\\|").replace("``", "`")


def arguments(function: Callable[..., Any]) -> str:
    """Return a signature without types, or as much of it as a table has room for."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ""
    shown = [
        str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters if p.name != "self"
    ]
    keyword_only = next(
        (n for n, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), len(parameters)
    )
    has_star = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if keyword_only < len(parameters) and not has_star:
        shown.insert(keyword_only - (parameters[0].name == "self"), "*")
    text = ", ".join(shown)
    while len(text) > _ARGUMENTS_MAX:
        shown = [*shown[:-2], "…"]
        text = ", ".join(shown)
    return text


def members(owner: type, *, inner: bool) -> Iterator[tuple[str, Any, type]]:
    """Yield the public members of a class of this package: name, member, the class it is from.

    inner: of a `CompletionPort`, those for operations, or else those for servers.
    """
    seen: set[str] = set()
    for source in owner.__mro__:
        if not source.__module__.startswith("pyiocp"):
            continue
        for name, member in vars(source).items():
            if name.startswith("_") or name in seen | _BETWEEN_RINGS or not is_shown(member):
                continue
            seen.add(name)
            if owner is not pyiocp.CompletionPort or (name in _OF_SERVERS) != inner:
                yield name, member, source


def is_shown(member: Any) -> bool:
    """Tell whether a member of a class is one that a table lists: it has a docstring."""
    plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
    return (inspect.isfunction(plain) or isinstance(plain, property)) and bool(plain.__doc__)


def rows_of(owner: type, *, inner: bool) -> list[str]:
    """Return the rows of a class's table: methods in the order of the code, then properties."""
    methods, properties = [], []
    for name, member, _ in members(owner, inner=inner):
        if isinstance(member, property):
            properties.append(f"| `{name}` | {summary(member)} |")
        else:
            methods.append(f"| `{name}({arguments(getattr(owner, name))})` | {summary(member)} |")
    return methods + properties


def class_section(owner: type, *, inner: bool) -> str:
    """Return what a page says of a class."""
    made = "" if issubclass(owner, _NOT_CALLED) else f"({arguments(owner)})"
    lines = [f"## `{owner.__name__}{made}`", "", summary(owner), ""]
    rows = rows_of(owner, inner=inner)
    if issubclass(owner, enum.Enum):
        lines += [", ".join(f"`{member.name}`" for member in owner), ""]
    elif rows:
        lines += ["| | |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def public(package: ModuleType) -> list[Any]:
    """Return what the public names of a package stand for, in the order of the names."""
    return [
        thing
        for name, thing in sorted(vars(package).items())
        if not name.startswith("_") and getattr(thing, "__module__", "").startswith("pyiocp")
    ]


def is_ring_3(thing: Any) -> bool:
    """Tell whether a public name belongs to ring 3: by where the package imports it from."""
    return _defined_in().get(thing.__name__, "").startswith(_RING_3)


@functools.cache
def _defined_in() -> dict[str, str]:
    """Return the modules that the package's public names are from; their ``__module__`` is it."""
    tree = ast.parse(Path(pyiocp.__file__).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def ring_page(title: str, lead: str, things: list[Any], *, inner: bool) -> str:
    """Return a page of classes, then functions, then exceptions."""
    classes = [t for t in things if inspect.isclass(t) and not issubclass(t, BaseException)]
    errors = [t for t in things if inspect.isclass(t) and issubclass(t, BaseException)]
    functions = [t for t in things if inspect.isfunction(t)]
    lines = [f"# {title}", "", lead, ""]
    lines += [class_section(owner, inner=inner) for owner in classes]
    if functions:
        lines += ["## Functions", "", "| | |", "| --- | --- |"]
        lines += [f"| `{f.__name__}({arguments(f)})` | {summary(f)} |" for f in functions]
        lines.append("")
    if errors:
        lines += ["## Exceptions", "", "| | a kind of | |", "| --- | --- | --- |"]
        for error in errors:
            kinds = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
            lines.append(f"| `{error.__name__}` | {kinds} | {summary(error)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def declarations_page() -> str:
    """Return the page of ring 1."""
    by_library: dict[str, list[str]] = {}
    structures, helpers = [], []
    for name in sorted(winapi.__all__, key=str.lower):
        thing = getattr(winapi, name)
        declared = re.fullmatch(r"<(\w+\(.*) in ([\w.]+)>", repr(thing), re.DOTALL)
        if declared:
            text = inspect.getdoc(thing) or ""
            what = " ".join(text.split("\n\n")[1].split()) if "\n\n" in text else text
            row = f"| `{name}` | {what.replace('|', chr(92) + '|').replace('``', '`')} |"
            by_library.setdefault(declared[2], []).append(row)
        elif inspect.isclass(thing) and issubclass(thing, (ctypes.Structure, ctypes.Union)):
            structures.append(f"| `{name}` | {summary(thing)} |")
        elif inspect.isfunction(thing) or thing is winapi.FunctionUnavailableError:
            helpers.append(f"| `{name}` | {summary(thing)} |")
    lines = [
        "# Reference: the declarations",
        "",
        "Every function, structure and helper of `pyiocp.winapi`, which also has the constants and"
        " codes by their names. The parameters, what a function returns, its errors and the"
        " Microsoft page are in `help(NAME)`; [The declarations](winapi.md) says how to use them.",
        "",
    ]
    for library, rows in sorted(by_library.items()):
        lines += [f"## {library}", "", "| function | what it does |", "| --- | --- |", *rows, ""]
    lines += ["## Structures", "", "| | |", "| --- | --- |", *structures, ""]
    lines += ["## Helpers", "", "| | |", "| --- | --- |", *helpers]
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    things = public(pyiocp)
    inner = [thing for thing in things if not is_ring_3(thing) or thing is pyiocp.CompletionPort]
    outer = [thing for thing in things if is_ring_3(thing)]
    return {
        "reference-winapi.md": declarations_page(),
        "reference-operations.md": ring_page(
            "Reference: operations",
            "Every public name of ring 2, with what it does; `help(NAME)` has the rest."
            " [Operations](operations.md) says how they go together.",
            inner,
            inner=True,
        ),
        "reference-servers.md": ring_page(
            "Reference: servers and clients",
            "Every public name of ring 3, with what it does; `help(NAME)` has the rest."
            " [Servers](servers.md) says how they go together.",
            outer,
            inner=False,
        ),
        "reference-models.md": ring_page(
            "Reference: models",
            "Every public name of `pyiocp.models`; `help(NAME)` has the rest."
            " [The models compared](models.md) says what they are.",
            public(models),
            inner=True,
        ),
        "reference-aio.md": ring_page(
            "Reference: asyncio",
            "Every public name of `pyiocp.aio`; `help(NAME)` has the rest."
            " [The asyncio loop](asyncio.md) says how to use it.",
            public(aio),
            inner=True,
        ),
    }


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}: {text.count(chr(10))} lines")


if __name__ == "__main__":
    main()
