"""What has to hold for a declaration, as lines of C that compile only if it does."""

from __future__ import annotations

import ast
import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import package as kinds
from .different import DIFFERENT, HIDDEN, MACROS, PADDING, Different
from .layout import WIDTHS, Layouts
from .spelling import Speller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contents import Contents
    from .package import Declaration, Package

FIELD = "field"

PRELUDE = """\
#define PROOF_NUMBER(x) __builtin_choose_expr(__builtin_classify_type(x) == 5, (UINT_PTR)(x), (x))
#define PROOF_SAME(a, b) __builtin_types_compatible_p(a, b)
"""
"""A pointer constant (INVALID_HANDLE_VALUE) counts as the number of its address."""

MEMORY = ("void *", "const void *", "char *", "const char *", "unsigned char *")
"""What ``c_void_p`` may stand for: memory without a type, and bytes. A pointer to anything
that the headers define further is declared as ``Pointer[T]``."""

QUADS = ("LARGE_INTEGER", "ULARGE_INTEGER")
"""Unions in C that are declared as the 64-bit number, their ``QuadPart``."""

ALL_ONES = 0xFFFFFFFF_FFFFFFFF
"""A constant as wide as a pointer, such as INVALID_SOCKET, on 64-bit Windows."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    kind: str
    subject: str
    where: str
    c: str
    complaint: str
    """What is declared, to follow the subject: ``is declared as LONG``."""
    uses: frozenset[str]
    """The names of the headers that the line of C relies on."""
    type_asked: str = ""
    """A C expression that points to what the headers have instead, to report its type."""
    number_asked: str = ""
    """The same for a number."""


@dataclass(frozen=True)
class Record:
    """An object in C whose bytes must be the expected ones."""

    kind: str
    subject: str
    where: str
    ctype: str
    initializer: str
    expected: bytes


class Checks:
    """Makes the checks of one package for one target."""

    def __init__(
        self,
        package: Package,
        pointer_size: int,
        headers: Contents,
        version: int,
    ) -> None:
        """`version` is that of mingw-w64, whose `headers` these are."""
        self._package = package
        self._pointer_size = pointer_size
        self._headers = headers
        self._version = version
        self.differences_met: set[str] = set()
        self._layouts = Layouts(package, pointer_size, headers.members)
        self._functions, self._callbacks = package.conventions()

    def of(self, declaration: Declaration) -> Iterator[Check]:
        """Yield the checks of one declaration."""
        makers = {
            kinds.ALIAS: self._alias,
            kinds.STRUCTURE: self._structure,
            kinds.CONSTANT: self._constant,
            kinds.FUNCTION: self._function,
            kinds.CALLBACK: self._callback,
            kinds.MACRO: self._macro,
        }
        if declaration.kind in makers:
            yield from makers[declaration.kind](declaration)

    def _speller(self) -> Speller:
        return Speller(self._package, self._headers.tags)

    def _same(self, subject: str, actual: str, declared: str) -> str:
        """Return C that holds if two types are the same, or differ exactly as listed."""
        entry = self._difference(subject)
        if entry:
            return entry.holds(actual, declared, "PROOF_SAME", self._version)
        return f"PROOF_SAME({actual}, {declared})"

    def _difference(self, subject: str) -> Different | None:
        """Return the entry for what the headers have otherwise than Microsoft, if there is one."""
        entry = next((entry for entry in DIFFERENT if entry.subject == subject), None)
        if entry:
            self.differences_met.add(subject)
        return entry

    def _alias(self, declaration: Declaration) -> Iterator[Check]:
        speller, spelled = self._speller(), declaration.spelled
        name = speller.name(declaration.name)
        leaf = self._package.leaf(spelled, declaration.source)
        direct = ast.unparse(spelled).rpartition(".")[2] in WIDTHS
        if leaf == "c_int32" and name in self._headers.enumerations:
            holds = f"sizeof({name}) == 4"
        elif leaf != "c_void_p" and not direct:
            other = speller.type(spelled, declaration.source)
            holds = self._same(declaration.name, name, other)
        elif leaf == "c_void_p":
            if declaration.name in (*self._headers.opaque, *HIDDEN):
                holds = f"__builtin_classify_type(({name})0) == 5"
            else:
                holds = " || ".join(f"PROOF_SAME({name}, {pointer})" for pointer in MEMORY)
        elif leaf in ("c_char_p", "c_wchar_p"):
            target = "char" if leaf == "c_char_p" else "wchar_t"
            holds = " || ".join(
                f"PROOF_SAME({name}, {const}{target} *)" for const in ("", "const ")
            )
        elif leaf in ("c_char", "c_wchar"):
            holds = f"PROOF_SAME({name}, {'char' if leaf == 'c_char' else 'wchar_t'})"
        else:
            width = WIDTHS[leaf] or self._pointer_size
            number = name
            if declaration.name in QUADS:
                number = f"__typeof__((({name} *)0)->QuadPart)"
            negative = int(not leaf.startswith(("c_uint", "c_size")))
            holds = f"sizeof({name}) == {width} && (({number})-1 < 0) == {negative}"
        yield Check(
            kinds.ALIAS,
            declaration.name,
            declaration.where,
            f'_Static_assert({holds}, "");',
            f"is declared as {ast.unparse(spelled)}",
            frozenset(speller.used),
            type_asked=f"({name} *)0",
        )

    def _structure(self, declaration: Declaration) -> Iterator[Check]:
        speller, source = self._speller(), declaration.source
        name = speller.name(declaration.name)
        fields = list(self._layouts.fields(declaration.name, source))
        size = self._layouts.structure(declaration.name, source).size
        yield Check(
            kinds.STRUCTURE,
            declaration.name,
            declaration.where,
            f'_Static_assert(sizeof({name}) == {size}, "");',
            f"is declared with {size} bytes",
            frozenset(speller.used),
            number_asked=f"sizeof({name})",
        )
        members = self._layouts.members(declaration.name, source)
        if members:
            for padding in PADDING.get(declaration.name, ()):
                if f"{declaration.name}.{padding}" in self._headers.members:
                    self.differences_met.add(declaration.name)
                    members += 1
            # One initializer for each field: -Wmissing-field-initializers then names the
            # first field of the headers that the declaration lacks.
            initializers = ", ".join(["{0}"] * members)
            yield Check(
                "",
                declaration.name,
                declaration.where,
                f"{name} proof_members_{declaration.name} = {{ {initializers} }};",
                "is declared without a field of the headers",
                frozenset(speller.used),
            )
        for field in fields:
            subject = f"{declaration.name}.{field.path}"
            if field.place.bits:
                continue  # it has no address and no type to ask for: see records()
            offset = f"__builtin_offsetof({name}, {field.path})"
            yield Check(
                FIELD,
                subject,
                declaration.where,
                f'_Static_assert({offset} == {field.place.offset}, "");',
                f"is declared at offset {field.place.offset}",
                frozenset(speller.used),
                number_asked=offset,
            )
            member, inside = f"(({name} *)0)->{field.path}", self._speller()
            holds = f"sizeof({member}) == {field.extent.size}"
            if field.named:
                declared = inside.type(field.spelled, field.source)
                holds = self._same(subject, f"__typeof__({member})", declared)
            yield Check(
                "",
                subject,
                declaration.where,
                f'_Static_assert({holds}, "");',
                f"is declared as {ast.unparse(field.spelled)}",
                frozenset(speller.used | inside.used),
                type_asked=f"&{member}",
            )

    def records(self, declaration: Declaration) -> Iterator[Record]:
        """Yield what can only be seen in the bytes of an object: GUIDs and bit-fields."""
        if declaration.kind == kinds.GUID:
            expected = bytes(declaration.value)
            yield Record(
                kinds.GUID, declaration.name, declaration.where, "GUID", declaration.name, expected
            )
        if declaration.kind == kinds.STRUCTURE:
            size = self._layouts.structure(declaration.name, declaration.source).size
            for field in self._layouts.fields(declaration.name, declaration.source):
                if field.place.bits:
                    first = field.place.offset * 8 + field.place.first_bit
                    mask = ((1 << field.place.bits) - 1) << first
                    yield Record(
                        FIELD,
                        f"{declaration.name}.{field.path}",
                        declaration.where,
                        self._headers.tags.get(declaration.name, declaration.name),
                        f"{{ .{field.path} = -1 }}",
                        mask.to_bytes(size, "little"),
                    )

    def _constant(self, declaration: Declaration) -> Iterator[Check]:
        name, value = declaration.name, declaration.value
        if isinstance(value, int):
            expected = value
            if value == ALL_ONES and self._pointer_size == 4:
                expected &= 0xFFFFFFFF
            literal = f"{expected:#x}ULL" if expected >= 0 else f"({expected}LL)"
            number = f"PROOF_NUMBER({name})"
            entry = self._difference(name)
            same = f"{number} == {literal}"
            if entry:
                same = entry.holds(number, literal, "==", self._version)
            holds = f"({same}) && ({number} < 0) == {int(expected < 0)}"
            if name.startswith("STATUS_"):
                # NTSTATUS is signed in C. Its constants are declared unsigned, the form
                # that OVERLAPPED.Internal, documentation and logs show.
                holds = f"(ULONG)({name}) == {literal}"
            said, asked = f"{value} ({value:#x})", f"(unsigned long long)({number})"
        else:
            holds = f"__builtin_strcmp({name}, {c_string(value)}) == 0"
            said, asked = repr(value), ""
        yield Check(
            kinds.CONSTANT,
            name,
            declaration.where,
            f'_Static_assert({holds}, "");',
            f"is declared as {said}",
            frozenset((name,)),
            number_asked=asked,
        )

    def _function(self, declaration: Declaration) -> Iterator[Check]:
        signature, pointer = declaration.value.declaration, f"LPFN_{declaration.name.upper()}"
        spelled = [spelling for _, spelling in signature.parameters]
        in_words = f"is declared as ({', '.join(spelled)}) -> {signature.result}"
        known = [name for name in (declaration.name, pointer) if name in self._headers.present]
        for name in known or [declaration.name]:
            speller = self._speller()
            kind = kinds.FUNCTION if name == (known or [name])[0] else ""
            declared = speller.function(
                signature.result, spelled, self._functions, declaration.source
            )
            is_type = name == pointer
            actual = name if is_type else f"__typeof__(&{name})"
            yield Check(
                kind,
                declaration.name,
                declaration.where,
                f'_Static_assert({self._same(declaration.name, actual, declared)}, "");',
                in_words,
                frozenset((*speller.used, name)),
                type_asked=f"({name})0" if is_type else f"&{name}",
            )

    def _callback(self, declaration: Declaration) -> Iterator[Check]:
        signature, speller = declaration.value.declaration, self._speller()
        name = speller.name(declaration.name)
        spelled = [spelling for _, spelling in signature.parameters]
        declared = speller.function(signature.result, spelled, self._callbacks, declaration.source)
        # Some of the names stand for the function, most for the pointer to it.
        holds = (
            f"{self._same(declaration.name, name, declared)} || PROOF_SAME({name} *, {declared})"
        )
        yield Check(
            kinds.CALLBACK,
            declaration.name,
            declaration.where,
            f'_Static_assert({holds}, "");',
            f"is declared as ({', '.join(spelled)}) -> {signature.result}",
            frozenset(speller.used),
            type_asked=f"({name})0",
        )

    def _macro(self, declaration: Declaration) -> Iterator[Check]:
        name = declaration.name
        if name not in MACROS:
            raise ValueError("it has a name like Windows' own and is no declaration")
        samples = MACROS[name] if self._pointer_size == ctypes.sizeof(ctypes.c_void_p) else ()
        for arguments in samples:
            call = f"{name}({', '.join(map(str, arguments))})"
            value = declaration.value(*arguments)
            yield Check(
                "",
                name,
                declaration.where,
                f'_Static_assert({call} == {value}, "");',
                f"gives {call} as {value}",
                frozenset((name,)),
                number_asked=f"(unsigned long long){call}",
            )
        yield Check(kinds.MACRO, name, declaration.where, ";", "", frozenset((name,)))


def c_string(value: object) -> str:
    """Return a text or bytes constant as a C string literal."""
    raw = value if isinstance(value, bytes) else str(value).encode()
    return '"' + "".join(f"\\{byte:03o}" for byte in raw) + '"'
