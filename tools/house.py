#!/usr/bin/env python3
"""Show how the package is built: rings, circles of imports, names that are there twice, sizes.

    python3 tools/house.py
    python3 tools/house.py --short

The rings are those of CONTRIBUTING.md. An import for the type checker only counts like any other,
and so does one inside a function: who reads the file has to know what it is about.
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import public_names

import pyiocp

PACKAGE = Path(pyiocp.__file__).parent

RING_OF = {
    "winapi": 1,
    "errors": 2,
    "explanation": 2,
    "explanation_words": 2,
    "engine": 2,
    "handles": 2,
    "memory": 2,
    "observing": 2,
    "port": 3,
    "servers": 3,
    "models": 4,
    "aio": 4,
    "sim": 4,
    "cli": 4,
    "__main__": 4,
}
"""Of a module or a folder at the top of the package; 2 for others. `__init__` has no ring."""

_USERS_PORT = (
    "what hands users their port, or is handed it, says CompletionPort; nothing is imported"
)

ALLOWED_ARROWS: dict[tuple[str, str], str] = {
    ("handles.handle", "port"): _USERS_PORT,
    ("handles.files.bulk_file", "port"): _USERS_PORT,
    ("handles.pipes.pipe_server", "port"): _USERS_PORT,
    ("observing.draining", "port"): _USERS_PORT,
    ("servers.udp.datagram_server", "port"): _USERS_PORT,
    ("servers.tcp.listener", "port"): _USERS_PORT,
}
"""Imports that may run outward or close a circle, with the reason: ``("handles.handle", "port"):
"what hands users their port is annotated with it"``. They are left out of the circles."""

ALLOWED_TWINS: dict[str, str] = {}
"""Names that several public classes may have, with the reason."""

CIRCLE_MAX = 2
"""So many files may import each other."""


class Arrow(NamedTuple):
    """One file imports another: by their names in the package, ``handles.stream``."""

    importer: str
    imported: str
    type_only: bool

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported}{' (types only)' * self.type_only}"


class House:
    """The imports and classes of a package, read from its files; nothing is run."""

    def __init__(self, package: Path) -> None:
        self.files = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
        self.sources = {n: path.read_text(encoding="utf-8") for n, path in self.files.items()}
        self.trees = {name: ast.parse(source) for name, source in self.sources.items()}
        self._packages = {n for n, path in self.files.items() if path.name == "__init__.py"}
        found = [arrow for name in self.files for arrow in self._arrows_of(name, package.name)]
        run_time = {arrow[:2] for arrow in found if not arrow.type_only}
        #: Each once; it is for types only if there is no other import besides.
        self.arrows = sorted({Arrow(*a[:2], a[:2] not in run_time) for a in found})

    def _arrows_of(self, name: str, top: str) -> Iterator[Arrow]:
        parts = tuple(name.split(".")) if name != "__init__" else ()
        inside = parts if name in self._packages else parts[:-1]
        for node, type_only in imports(self.trees[name], type_only=False):
            if isinstance(node, ast.Import):
                names = [tuple(alias.name.split(".")) for alias in node.names]
                wanted = [path[1:] for path in names if path[0] == top]
            else:
                module = tuple((node.module or "").split(".")) if node.module else ()
                if node.level:
                    base = (*inside[: len(inside) + 1 - node.level], *module)
                elif module[:1] == (top,):
                    base = module[1:]
                else:
                    continue
                wanted = [(*base, alias.name) for alias in node.names]
            for path in wanted:
                imported = self._file_of(path)
                if imported != name:
                    yield Arrow(name, imported, type_only)

    def _file_of(self, path: tuple[str, ...]) -> str:
        """Return the file that an imported name is in: a module, or the one that has the name."""
        while path:
            if (name := ".".join(path)) in self.files:
                return name
            path = path[:-1]
        return "__init__"

    def outward(self) -> list[Arrow]:
        """Return the imports of what lies further out."""
        return [
            arrow
            for arrow in self.arrows
            if "__init__" not in arrow and ring_of(arrow.imported) > ring_of(arrow.importer)
        ]

    def circles(
        self, *, type_only: bool = True, without: Iterable[tuple[str, str]] = ()
    ) -> list[list[str]]:
        """Return the files that all import each other, by whatever way, the largest group first.

        type_only: with the imports that are for the type checker only.
        without: arrows that do not count.
        """
        left_out = set(without)
        targets: dict[str, set[str]] = {name: set() for name in self.files}
        for arrow in self.arrows:
            if (type_only or not arrow.type_only) and arrow[:2] not in left_out:
                targets[arrow.importer].add(arrow.imported)
        reached = {name: reachable(name, targets) for name in targets}
        groups = {
            tuple(sorted(other for other in reached[name] if name in reached[other]))
            for name in targets
        }
        found = [list(group) for group in groups if len(group) > 1]
        return sorted(found, key=lambda group: (-len(group), group))

    def twins(self) -> dict[str, list[str]]:
        """Return the names that several public classes have, with the files of each."""
        files: dict[str, list[str]] = {}
        for name, tree in self.trees.items():
            classes = (s for s in public_names.statements(tree) if isinstance(s, ast.ClassDef))
            for class_name in sorted({c.name for c in classes if not c.name.startswith("_")}):
                files.setdefault(class_name, []).append(name)
        return {name: found for name, found in sorted(files.items()) if len(found) > 1}

    def lines(self) -> int:
        """Return the number of lines of all files."""
        return sum(source.count("\n") for source in self.sources.values())

    def lines_of_code(self) -> int:
        """Return the number of lines without docstrings, comments and empty lines."""
        return sum(map(lines_of_code, self.sources.values()))

    def forbidden_arrows(
        self, allowed: Iterable[tuple[str, str]], *, type_only: bool = True
    ) -> list[str]:
        """Say which imports run outward, but for those that are allowed."""
        known = set(allowed)
        return [
            str(arrow)
            for arrow in self.outward()
            if arrow[:2] not in known and (type_only or not arrow.type_only)
        ]

    def forbidden_circles(self, allowed: Iterable[tuple[str, str]]) -> list[str]:
        """Say which circles are too large when the allowed arrows are left out."""
        circles = self.circles(without=allowed)
        return [" ".join(circle) for circle in circles if len(circle) > CIRCLE_MAX]

    def forbidden_twins(self, allowed: Iterable[str]) -> list[str]:
        """Say which names several public classes have, but for those that are allowed."""
        known = set(allowed)
        return [f"{n}: {' '.join(files)}" for n, files in self.twins().items() if n not in known]

    def needless(self, arrows: Iterable[tuple[str, str]], twins: Iterable[str]) -> list[str]:
        """Say which allowances nothing needs any more."""
        there = {arrow[:2] for arrow in self.arrows}
        outward = {arrow[:2] for arrow in self.outward()}
        large = [set(circle) for circle in self.circles() if len(circle) > CIRCLE_MAX]
        left = [
            " -> ".join(arrow)
            for arrow in arrows
            if arrow not in there
            or (arrow not in outward and not any(circle.issuperset(arrow) for circle in large))
        ]
        return left + [name for name in twins if name not in self.twins()]


def name_of(path: Path, package: Path) -> str:
    """Return a file's name in the package: ``handles.stream``, and ``handles`` of a folder."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def ring_of(name: str) -> int:
    """Return the ring of a file, by its name in the package."""
    return RING_OF.get(name.partition(".")[0], 2)


def imports(
    node: ast.AST, *, type_only: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield each import under a node, and whether it is for the type checker only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, type_only
        elif isinstance(child, ast.If) and (checked := for_type_checker(child.test)) is not None:
            for body, says in ((child.body, checked), (child.orelse, not checked)):
                yield from imports(ast.Module(body, []), type_only=type_only or says)
        else:
            yield from imports(child, type_only=type_only)


def for_type_checker(test: ast.expr) -> bool | None:
    """Tell whether a condition is ``TYPE_CHECKING``, or not that; None if it is something else."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = for_type_checker(test.operand)
        return None if inner is None else not inner
    return True if ast.unparse(test).rpartition(".")[2] == "TYPE_CHECKING" else None


def reachable(start: str, targets: dict[str, set[str]]) -> set[str]:
    """Return what can be reached from a file, and the file itself."""
    seen, waiting = {start}, [start]
    while waiting:
        new = targets[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


def lines_of_code(source: str) -> int:
    """Return how many lines have code: no docstring, no comment, not empty."""
    with_code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            with_code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                with_code.difference_update(range(first, last + 1))
    return len(with_code)


def show(house: House, *, members: bool) -> None:
    """Print what there is, to compare before and after a change."""
    own = [kind.__name__ for kind in pyiocp.CompletionPort.__mro__ if public_names.is_ours(kind)]
    print(f"files:                               {len(house.files):,}")
    print(f"lines:                               {house.lines():,}")
    print(f"lines of code:                       {house.lines_of_code():,}")
    print(f"own classes in CompletionPort's MRO: {len(own)} ({' '.join(own)})")
    print(f"public names of a port:              {len(public_names.names_of_a_port())}")
    for title, type_only in (("circles", True), ("circles without type-only imports", False)):
        circles = house.circles(type_only=type_only, without=ALLOWED_ARROWS)
        sizes = Counter(len(circle) for circle in circles)
        said = ", ".join(f"{number} of {size} files" for size, number in sizes.items())
        print(f"{title + ':':36} {len(circles)} {f'({said})' if said else ''}".rstrip())
        for circle in circles if members else ():
            print(f"    {len(circle)}: {' '.join(circle)}")
    outward = house.forbidden_arrows(ALLOWED_ARROWS)
    print(f"imports that run outward:            {len(outward)}")
    for arrow in outward if members else ():
        print(f"    {arrow}")
    twins = house.forbidden_twins(ALLOWED_TWINS)
    print(f"names of several public classes:     {len(twins)}")
    for twin in twins if members else ():
        print(f"    {twin}")


def main() -> None:
    """Show this package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="only the numbers, no members")
    options = parser.parse_args()
    show(House(PACKAGE), members=not options.short)


if __name__ == "__main__":
    main()
