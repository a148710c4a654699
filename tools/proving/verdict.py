"""The proof itself: every declaration of a package, judged for both targets.

What belongs here: which questions are asked in which order, and what the answers mean.
"""

from __future__ import annotations

import ctypes
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field as default
from typing import TYPE_CHECKING

from . import package as kinds
from .absent import ABSENT, DIFFERENT, Absent
from .check import FIELD, PRELUDE, Check, Checks
from .compiler import TARGETS, Compiler, Target
from .contents import enumerations, look_up
from .layout import Layouts
from .prototype import misplaced, prototypes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .package import Declaration, Package


@dataclass
class Findings:
    """What came of one target."""

    target: Target
    counts: Counter[str] = default(default_factory=Counter)
    complaints: list[str] = default(default_factory=list)
    proven: set[str] = default(default_factory=set)


@dataclass(frozen=True)
class Verdict:
    """What came of all targets."""

    targets: Sequence[Target]
    counts: Sequence[dict[str, int]]
    absent: Sequence[Absent]
    proven: Sequence[str]
    disagreements: Sequence[str]


def prove(package: Package, prepared: Path | None = None) -> Verdict:
    """Judge `package` for all targets. Raises CompilerMissingError.

    `prepared` is a folder for precompiled headers, which several proofs can share.
    """
    targets = TARGETS
    with ThreadPoolExecutor(len(targets)) as pool:
        compilers = list(pool.map(lambda target: Compiler(target, prepared), targets))
        found = list(pool.map(lambda pair: judge(package, *pair), zip(targets, compilers)))
    names = compilers[0].preprocessed()
    disagreements = [*package.problems, *beyond_c(package), *compare_names(package, names)]
    said: dict[str, list[str]] = {}
    for findings in found:
        for complaint in findings.complaints:
            said.setdefault(complaint, []).append(findings.target.name)
    disagreements += [f"{complaint} [{', '.join(names)}]" for complaint, names in said.items()]
    order = (kinds.FUNCTION, kinds.CALLBACK, kinds.STRUCTURE, FIELD, kinds.CONSTANT, kinds.GUID)
    order = (*order, kinds.ALIAS, kinds.MACRO)
    return Verdict(
        targets,
        [{kind: findings.counts[kind] for kind in order} for findings in found],
        ABSENT,
        sorted(set.intersection(*(findings.proven for findings in found))),
        disagreements,
    )


def judge(package: Package, target: Target, compiler: Compiler) -> Findings:
    """Judge `package` for one target."""
    findings = Findings(target)
    listed = {name for entry in ABSENT for name in entry.names}
    contents = look_up(package, compiler, listed)
    present = contents.present
    declared = {declaration.name for declaration in package.declarations}
    for name in sorted(listed & present):
        findings.complaints.append(f"{name} is listed in absent.py, and the headers have it")
    for name in sorted(listed - declared):
        findings.complaints.append(f"{name} is listed in absent.py, and nobody declares it")
    entries = [entry for entry in ABSENT if not present.issuperset(entry.names)]
    contents.enumerations.update(enumerations("".join(entry.c for entry in entries)))
    before = PRELUDE + "".join(f"{entry.c}\n" for entry in entries)
    present.update(name for entry in entries for name in entry.names)

    maker = Checks(package, target.pointer_size, contents)
    checks: list[Check] = []
    sound: list[Declaration] = []
    for declaration in package.declarations:
        try:
            made = list(maker.of(declaration))
        except ValueError as error:
            findings.complaints.append(f"{declaration.where}: {declaration.name}: {error}")
            continue
        used = {declaration.name}.union(*(check.uses for check in made))
        if declaration.kind == kinds.FUNCTION and f"LPFN_{declaration.name.upper()}" in present:
            used.discard(declaration.name)
        lacking = sorted(used - present)
        if declaration.name in lacking:
            findings.complaints.append(
                f"{declaration.where}: {declaration.name} is neither in the headers nor in absent.py"
            )
        elif lacking:
            findings.complaints.append(
                f"{declaration.where}: {declaration.name} cannot be proven without"
                f" {', '.join(lacking)}"
            )
        else:
            checks += made
            sound.append(declaration)
    for entry in DIFFERENT:
        if entry.subject not in maker.differences_met:
            findings.complaints.append(
                f"{entry.subject} is listed in absent.py as different, and nobody declares it"
            )
    answer = compiler.ask([check.c for check in checks], before)
    if answer.elsewhere:
        findings.complaints.append(f"the generated C does not compile: {answer.elsewhere}")
    refused = [check for index, check in enumerate(checks) if index in answer.errors]
    findings.complaints += explain(refused, compiler, before)
    refused_subjects = {check.subject for check in refused}
    for check in checks:
        if check.kind and check.subject not in refused_subjects:
            findings.counts[check.kind] += 1
            findings.proven.add(f"{check.kind} {check.subject}")
    records = [record for each in sound for record in maker.records(each)]
    for record, actual in zip(records, read(records, compiler, before), strict=True):
        if actual == record.expected:
            findings.counts[record.kind] += 1
            findings.proven.add(f"{record.kind} {record.subject}")
        else:
            findings.complaints.append(
                f"{record.where}: {record.subject} is declared as {shown(record.kind, record.expected)},"
                f" the headers have {shown(record.kind, actual)}"
            )
    return findings


def explain(refused: Sequence[Check], compiler: Compiler, before: str) -> list[str]:
    """Say of each refused check what the headers have instead."""
    if not refused:
        return []
    types = compiler.types([check.type_asked for check in refused], before)
    numbers = compiler.numbers([check.number_asked for check in refused], before)
    sentences = []
    for check, ctype, number in zip(refused, types, numbers, strict=True):
        if check.number_asked and number is not None:
            signed = number - (1 << 64) if number >> 63 else number
            actual = f", the headers have {signed} ({number:#x})"
        elif check.type_asked and ctype:
            actual = f", the headers have {ctype}"
        else:
            actual = ", which the headers refuse"
        sentences.append(f"{check.where}: {check.subject} {check.complaint}{actual}")
    return sentences


def read(records: Sequence[Record], compiler: Compiler, before: str) -> list[bytes]:
    """Return the bytes that the headers make of `records`, without the padding at the end."""
    found = compiler.records([(record.ctype, record.initializer) for record in records], before)
    return [actual[: len(record.expected)] for record, actual in zip(records, found, strict=True)]


def shown(kind: str, content: bytes) -> str:
    """Return the bytes of a record as a person writes them."""
    if not content:
        return "nothing that compiles"
    if kind == kinds.GUID:
        return str(uuid.UUID(bytes_le=content))
    mask = int.from_bytes(content, "little")
    return f"bits {(mask & -mask).bit_length() - 1} to {mask.bit_length() - 1}"


def compare_names(package: Package, preprocessed: str) -> list[str]:
    """Compare the order of parameters, by name, with every prototype in the headers."""
    known = prototypes(preprocessed)
    complaints = []
    for declaration in package.declarations:
        if declaration.kind not in (kinds.FUNCTION, kinds.CALLBACK):
            continue
        for name in (declaration.name, f"LPFN_{declaration.name.upper()}"):
            wrong = misplaced(declaration, known.get(name, ()))
            if wrong:
                complaints.append(f"{declaration.where}: {declaration.name} {wrong}")
    return complaints


def beyond_c(package: Package) -> list[str]:
    """Check what no header can tell: ctypes lays out what was proven, and nothing is left out."""
    problems = []
    layouts = Layouts(package, ctypes.sizeof(ctypes.c_void_p))
    for declaration in package.declarations:
        if declaration.kind == kinds.STRUCTURE:
            stated = layouts.structure(declaration.name, declaration.source).size
            if ctypes.sizeof(declaration.value) != stated:
                problems.append(
                    f"{declaration.where}: ctypes gives {declaration.name}"
                    f" {ctypes.sizeof(declaration.value)} bytes, its fields as spelled {stated}"
                )
            for field in layouts.fields(declaration.name, declaration.source):
                if "." in field.path:
                    continue
                offset = getattr(declaration.value, field.path).offset
                if offset != field.place.offset:
                    problems.append(
                        f"{declaration.where}: ctypes puts {declaration.name}.{field.path} at"
                        f" {offset}, its fields as spelled at {field.place.offset}"
                    )
        if declaration.kind == kinds.MACRO:
            problems.append(
                f"{declaration.where}: {declaration.name} has a name like Windows' own and is"
                " no declaration"
            )
    known = {declaration.name for declaration in package.declarations}
    for name in sorted(package.exported - known):
        if name != name.lower() and not name.endswith("Error"):
            problems.append(f"pyiocp.winapi exports {name}, which is not declared anywhere")
    return problems
