"""A package judged against one target's headers."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import package as kinds
from .absent import ABSENT, Absent
from .check import PRELUDE, Check, Checks, Record
from .contents import enumerations, look_up
from .different import DIFFERENT, HIDDEN, MACROS, PADDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .compiler import Compiler, Target
    from .package import Declaration, Package


@dataclass
class Findings:
    """What came of one target."""

    target: Target
    counts: Counter[str] = field(default_factory=Counter)
    proven: set[tuple[str, str]] = field(default_factory=set)
    """Kind and name of what holds."""
    complaints: list[str] = field(default_factory=list)
    stated: list[Absent] = field(default_factory=list)
    """What the headers lack, so that it is proven against absent.py."""

    def holds(self, kind: str, subject: str) -> None:
        """Note that something is proven."""
        self.counts[kind] += 1
        self.proven.add((kind, subject))


class Judge:
    """Asks one compiler about one package."""

    def __init__(self, package: Package, target: Target, compiler: Compiler) -> None:
        self._package = package
        self._compiler = compiler
        self._findings = Findings(target)
        self._declared = {declaration.name for declaration in package.declarations}
        listed = {name for entry in ABSENT for name in entry.names}
        contents = look_up(package, compiler, listed)
        version = compiler.version()
        self._contradictions = [
            complaint
            for entry in ABSENT
            for complaint in entry.contradicted(contents.present, version)
        ]
        self._findings.stated = [
            entry for entry in ABSENT if not contents.present.issuperset(entry.names)
        ]
        stated = self._findings.stated
        c = "".join(f"{entry.c}\n" for entry in stated)
        contents.enumerations.update(enumerations(c))
        contents.present.update(name for entry in stated for name in entry.names)
        self._before = PRELUDE + c
        self._present = contents.present
        self._tags = contents.tags
        self._checks = Checks(package, target.pointer_size, contents, version)

    def judge(self) -> Findings:
        """Return what came of it."""
        sound: list[Declaration] = []
        checks: list[Check] = []
        for declaration in self._package.declarations:
            try:
                made = list(self._checks.of(declaration))
            except ValueError as error:
                self._complain(f"{declaration.where}: {declaration.name}: {error}")
                continue
            if not self._lacking(declaration, made):
                sound.append(declaration)
                checks += made
        self._compile(checks)
        self._compare([record for each in sound for record in self._checks.records(each)])
        self._review_names()
        self._review_lists()
        return self._findings

    def _complain(self, sentence: str) -> None:
        self._findings.complaints.append(sentence)

    def _lacking(self, declaration: Declaration, checks: Sequence[Check]) -> bool:
        """Complain, and return True, if the headers have not what the checks rely on."""
        used = {declaration.name}.union(*(check.uses for check in checks))
        if declaration.kind == kinds.FUNCTION and checks:
            used = set().union(*(check.uses for check in checks))  # LPFN_… will do
        lacking = sorted(used - self._present)
        if declaration.name in lacking:
            self._complain(
                f"{declaration.where}: {declaration.name} is neither in the headers"
                " nor in absent.py"
            )
        elif lacking:
            self._complain(
                f"{declaration.where}: {declaration.name} cannot be proven without"
                f" {', '.join(lacking)}"
            )
        return bool(lacking)

    def _compile(self, checks: Sequence[Check]) -> None:
        """Have the compiler accept or refuse each check."""
        answer = self._compiler.ask([check.c for check in checks], self._before)
        if answer.elsewhere:
            self._complain(f"the generated C does not compile: {answer.elsewhere.strip()}")
            return
        refused = {checks[index].subject for index in answer.errors}
        for check in checks:
            if check.kind and check.subject not in refused:
                self._findings.holds(check.kind, check.subject)
        self._explain([(checks[index], said) for index, said in answer.errors.items()])

    def _explain(self, refused: Sequence[tuple[Check, str]]) -> None:
        """Complain of each refused check, with what the headers have instead."""
        if not refused:
            return
        types = self._compiler.types([check.type_asked for check, _ in refused], self._before)
        numbers = self._compiler.numbers([check.number_asked for check, _ in refused], self._before)
        for (check, said), ctype, number in zip(refused, types, numbers, strict=True):
            if check.number_asked and number is not None:
                signed = number - (1 << 64) if number >> 63 else number
                actual = f", the headers have {signed} ({number:#x})"
            elif check.type_asked and ctype:
                actual = f", the headers have {ctype}"
            else:
                actual = f": {said}"
            self._complain(f"{check.where}: {check.subject} {check.complaint}{actual}")

    def _compare(self, records: Sequence[Record]) -> None:
        """Compare the bytes of each record with those that the headers make."""
        wanted = [(record.ctype, record.initializer) for record in records]
        found = self._compiler.records(wanted, self._before)
        for record, section in zip(records, found, strict=True):
            actual = section[: len(record.expected)]  # the rest is padding
            if actual == record.expected:
                self._findings.holds(record.kind, record.subject)
            else:
                self._complain(
                    f"{record.where}: {record.subject} is declared as"
                    f" {shown(record.kind, record.expected)},"
                    f" the headers have {shown(record.kind, actual)}"
                )

    def _review_names(self) -> None:
        """Complain of what stands under a name of Windows' and is not a declaration of it."""
        for name, where in self._package.helpers.items():
            if name in self._present and name not in self._tags:
                self._complain(f"{where}: {name} is a function of the headers, and not declared")

    def _review_lists(self) -> None:
        """Complain of entries of the lists that are not needed."""
        self._findings.complaints += self._contradictions
        for entry in ABSENT:
            for name in sorted(set(entry.names) - self._declared):
                self._complain(f"{name} is listed in absent.py, and nobody declares it")
        for name in sorted({*HIDDEN, *MACROS} - self._declared):
            self._complain(f"{name} is listed in different.py, and nobody declares it")
        padded = PADDING if self._findings.target.pointer_size == 8 else ()
        for subject in (*(entry.subject for entry in DIFFERENT), *padded):
            if subject not in self._checks.differences_met:
                self._complain(f"{subject} is listed in different.py without need")


def shown(kind: str, content: bytes) -> str:
    """Return the bytes of a record as a person writes them."""
    if not content:
        return "nothing that compiles"
    if kind == kinds.GUID:
        return str(uuid.UUID(bytes_le=content))
    mask = int.from_bytes(content, "little")
    return f"bits {(mask & -mask).bit_length() - 1} to {mask.bit_length() - 1}"
