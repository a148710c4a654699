"""The proof: a package judged for both targets, and what no compiler can tell."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import package as kinds
from .check import FIELD
from .compiler import TARGETS, Compiler, Target
from .judge import Findings, Judge
from .layout import Layouts
from .prototype import misplaced, prototypes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .absent import Absent
    from .package import Package

ORDER = (
    kinds.FUNCTION,
    kinds.CALLBACK,
    kinds.STRUCTURE,
    FIELD,
    kinds.CONSTANT,
    kinds.GUID,
    kinds.ALIAS,
    kinds.MACRO,
)


@dataclass(frozen=True)
class Verdict:
    """What came of all targets."""

    targets: Sequence[Target]
    counts: Sequence[dict[str, int]]
    """How much of each kind holds, by target."""
    proven: Sequence[str]
    """What holds on all targets, by kind and name."""
    absent: Sequence[Absent]
    """What the headers lack, which is proven against absent.py."""
    version: int
    """Which version of mingw-w64 the headers are of."""
    disagreements: Sequence[str]


def prove(
    package: Package, targets: Sequence[Target] = TARGETS, prepared: Path | None = None
) -> Verdict:
    """Judge `package`. Raises CompilerMissingError.

    `prepared` is a folder for precompiled headers, which several proofs can share.
    """

    def judge(target: Target) -> tuple[Findings, Compiler]:
        compiler = Compiler(target, prepared)
        return Judge(package, target, compiler).judge(), compiler

    with ThreadPoolExecutor(len(targets)) as pool:
        judged = list(pool.map(judge, targets))
    found = [findings for findings, _ in judged]
    disagreements = [
        *package.problems,
        *beyond_c(package),
        *compare_names(package, judged[0][1].preprocessed()),
        *compare_libraries(package, judged[0][1]),
        *together(found),
    ]
    proven = set.intersection(*(findings.proven for findings in found))
    if not disagreements:
        # Nothing may fall through: what was not refused must have been proven.
        disagreements += [
            f"{declaration.where}: {declaration.name} was not looked at"
            for declaration in package.declarations
            if (declaration.kind, declaration.name) not in proven
        ]
    return Verdict(
        targets,
        [{kind: findings.counts[kind] for kind in ORDER} for findings in found],
        sorted(f"{kind} {name}" for kind, name in proven),
        found[0].stated,
        judged[0][1].version(),
        disagreements,
    )


def together(found: Sequence[Findings]) -> Iterator[str]:
    """Yield each complaint once, with the targets that it is about."""
    said: dict[str, list[str]] = {}
    for findings in found:
        for complaint in findings.complaints:
            said.setdefault(complaint, []).append(findings.target.name)
    for complaint, names in said.items():
        yield f"{complaint} [{', '.join(names)}]"


def compare_names(package: Package, preprocessed: str) -> Iterator[str]:
    """Compare the order of parameters, by name, with every prototype in the headers."""
    wanted = {}
    for declaration in package.declarations:
        if declaration.kind in (kinds.FUNCTION, kinds.CALLBACK):
            wanted[declaration.name] = wanted[f"LPFN_{declaration.name.upper()}"] = declaration
    for name, theirs in prototypes(preprocessed, wanted).items():
        declaration = wanted[name]
        wrong = misplaced(declaration, theirs)
        if wrong:
            yield f"{declaration.where}: {declaration.name} {wrong}"


def compare_libraries(package: Package, compiler: Compiler) -> Iterator[str]:
    """Check that each function is in its DLL; extension functions come from no DLL's exports."""
    exports: dict[str, set[str]] = {}
    for declaration in package.declarations:
        if declaration.kind == kinds.FUNCTION and not hasattr(declaration.value, "guid"):
            dll = declaration.value.declaration.library
            if dll not in exports:
                exports[dll] = compiler.exports(dll)
            if declaration.name not in exports[dll]:
                yield f"{declaration.where}: {declaration.name} is not exported by {dll}"


def beyond_c(package: Package) -> Iterator[str]:
    """Check that ctypes does what was proven of the spelling, and that nothing is left out."""
    layouts = Layouts(package, ctypes.sizeof(ctypes.c_void_p))
    for declaration in package.declarations:
        where, name, value = declaration.where, declaration.name, declaration.value
        if declaration.kind == kinds.CALLBACK and (value._flags_ ^ package.callback_flags) & 1:
            yield f"{where}: {name} has a calling convention of its own"
        if declaration.kind != kinds.STRUCTURE:
            continue
        try:
            size = layouts.structure(name, declaration.source).size
            fields = list(layouts.fields(name, declaration.source))
        except ValueError:
            continue  # the judge says so, with the reason
        if ctypes.sizeof(value) != size:
            yield f"{where}: ctypes gives {name} {ctypes.sizeof(value)} bytes, not {size}"
        for field in fields:
            if "." not in field.path:
                offset = getattr(value, field.path).offset
                if offset != field.place.offset:
                    yield (
                        f"{where}: ctypes puts {name}.{field.path} at {offset},"
                        f" not at {field.place.offset}"
                    )
    known = {declaration.name for declaration in package.declarations}
    for name in sorted(package.exported - known):
        if name != name.lower() and not name.endswith("Error"):
            yield f"pyiocp.winapi exports {name}, which is not declared anywhere"
