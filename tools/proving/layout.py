"""Where Windows puts a structure's fields, for pointers of 4 and of 8 bytes.

ctypes knows the layout for the Python that runs it; this is the same algorithm for both
of Windows' widths, from the fields as spelled: a field starts at the next multiple of its
alignment, a number is aligned to its own size (64-bit numbers too, on 32-bit Windows),
and a structure is padded to its strictest field.
"""

from __future__ import annotations

import ast
import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .source import class_attribute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .package import Package
    from .source import Source

# ctypes' types whose width is the same on every system, in bytes; 0 stands for a
# pointer's. What is not here (c_long, c_int …) has no place in a declaration.
WIDTHS = {
    "c_char": 1,
    "c_int8": 1,
    "c_uint8": 1,
    "c_int16": 2,
    "c_uint16": 2,
    "c_wchar": 2,
    "c_int32": 4,
    "c_uint32": 4,
    "c_int64": 8,
    "c_uint64": 8,
    "c_size_t": 0,
    "c_ssize_t": 0,
    "c_void_p": 0,
    "c_char_p": 0,
    "c_wchar_p": 0,
}


@dataclass(frozen=True)
class Extent:
    """Size and alignment of a type, in bytes."""

    size: int
    alignment: int


@dataclass(frozen=True)
class Place:
    """Where a field is, in bytes from the beginning, and which bits of it if not all."""

    offset: int
    first_bit: int
    bits: int


@dataclass(frozen=True)
class Field:
    """One field, wherever in a structure it stands."""

    path: str
    """How C reaches it from the structure: ``Offset``, ``u.Byte``, ``parts[0].size``."""
    place: Place
    extent: Extent
    spelled: ast.expr
    source: Source
    named: bool
    """Whether its type has a name in the headers; otherwise only its fields count."""


class Layouts:
    """The layouts of a package's types for one width of pointers."""

    def __init__(self, package: Package, pointer_size: int, members: Collection[str] = ()) -> None:
        """`members` are unnamed parts here that C gives a name: ``IN_ADDR.S_un``."""
        self._package = package
        self._pointer = Extent(pointer_size, pointer_size)
        self._members = members

    def of(self, spelled: ast.expr, source: Source) -> Extent:
        """Return the extent of a type as spelled in `source`."""
        if isinstance(spelled, ast.Subscript):
            return self._pointer
        if isinstance(spelled, ast.BinOp):
            element = self.of(spelled.left, source)
            return Extent(element.size * int(source.value(spelled.right)), element.alignment)
        name = spelled.attr if isinstance(spelled, ast.Attribute) else ast.unparse(spelled)
        meaning = self._package.meaning(name, source)
        if meaning is None:
            if name not in WIDTHS:
                raise ValueError(f"{source.path}: the width of {name} differs between systems")
            width = WIDTHS[name] or self._pointer.size
            return Extent(width, width)
        binding = meaning.binding(name)
        if isinstance(binding, ast.expr):
            return self.of(binding, meaning)
        if hasattr(meaning.namespace[name], "_fields_"):
            return self.structure(name, meaning)
        return self._pointer  # a callback

    def structure(self, name: str, source: Source) -> Extent:
        """Return the extent of a structure or union that `source` defines."""
        return self._place(name, source)[0]

    def _place(self, name: str, source: Source) -> tuple[Extent, list[Place]]:
        """Return the extent of a structure, and where each of its fields is."""
        node = source.bindings[name][0]
        assert isinstance(node, ast.ClassDef)
        pack_spelled = class_attribute(node, "_pack_")
        pack = int(source.value(pack_spelled)) if pack_spelled is not None else 16
        together = is_union(source.namespace[name])
        end = used = bits_used = 0
        unit: Extent | None = None
        alignment, places = 1, []
        for field in source.fields(name, self._pointer.size):
            extent = self.of(field.type, source)
            aligned = min(extent.alignment, pack)
            alignment = max(alignment, aligned)
            joins = field.bits and unit == extent and bits_used + field.bits <= extent.size * 8
            if joins and not together:
                start = end - extent.size
            else:
                start = 0 if together else -(-end // aligned) * aligned
                bits_used = 0
            places.append(Place(start, bits_used, field.bits))
            unit = extent if field.bits else None
            bits_used += field.bits
            end = start + extent.size
            used = max(used, end)
        return Extent(-(-used // alignment) * alignment, alignment), places

    def members(self, name: str, source: Source) -> int:
        """Return how many members C sees at the top of a structure; 0 for a union."""
        fields = source.fields(name, self._pointer.size)
        anonymous = getattr(source.namespace[name], "_anonymous_", ())
        if len(fields) == 1 and fields[0].name in anonymous:
            part = ast.unparse(fields[0].type)
            return self.members(part, self._package.meaning(part, source) or source)
        return 0 if is_union(source.namespace[name]) else len(fields)

    def fields(
        self, name: str, source: Source, path: str = "", base: int = 0, owner: str = ""
    ) -> Iterator[Field]:
        """Yield the fields of a structure, those of its unnamed parts among them.

        `path`, `base` and `owner` say where in which structure of the headers it stands.
        """
        owner = owner or name
        anonymous = getattr(source.namespace[name], "_anonymous_", ())
        spelled_fields = source.fields(name, self._pointer.size)
        _, places = self._place(name, source)
        for spelled, place in zip(spelled_fields, places, strict=True):
            element = spelled.type
            while isinstance(element, ast.BinOp):
                element = element.left
            part = ast.unparse(element)
            named = isinstance(element, ast.Subscript) or self._package.is_public(part)
            inside, offset = path, base + place.offset
            if spelled.name not in anonymous:
                extent = self.of(spelled.type, source)
                yield Field(
                    path + spelled.name,
                    Place(offset, place.first_bit, place.bits),
                    extent,
                    spelled.type,
                    source,
                    named,
                )
                inside += f"{spelled.name}." if element is spelled.type else f"{spelled.name}[0]."
            if spelled.name in anonymous or not named:
                meaning = self._package.meaning(part, source)
                if meaning is None:
                    raise ValueError(f"{name}.{spelled.name}: {part} is not a C type")
                if f"{owner}.{path}{spelled.name}" in self._members:
                    inside = f"{path}{spelled.name}."
                yield from self.fields(part, meaning, inside, offset, owner)

    def unnamed(self, name: str, source: Source) -> Iterator[str]:
        """Yield the unnamed parts of a structure, those inside of them too."""
        for part in getattr(source.namespace[name], "_anonymous_", ()):
            yield part
            for field in source.fields(name, self._pointer.size):
                spelled = ast.unparse(field.type)
                meaning = self._package.meaning(spelled, source) if field.name == part else None
                if meaning is not None:
                    yield from self.unnamed(spelled, meaning)


def is_union(value: type) -> bool:
    """Tell whether all fields of a ctypes type start at its beginning."""
    return issubclass(value, ctypes.Union)
