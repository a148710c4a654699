"""The base of every Win32 structure and union here, and what it can say about itself."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar


def describe(value: Any, kind: Any = None) -> str:
    """Return a field's value as text: addresses in hexadecimal, bytes as they are."""
    if isinstance(value, ctypes.Array):
        return repr(bytes(value)) if value._type_ is ctypes.c_uint8 else repr(list(value))
    if isinstance(value, ctypes._Pointer):
        return hex(ctypes.cast(value, ctypes.c_void_p).value or 0)
    if kind is ctypes.c_void_p:
        return hex(value or 0)
    return repr(value)


def describe_fields(instance: Structure | Union) -> str:
    """Return ``name=value`` for each field, in the order of declaration."""
    anonymous = getattr(instance, "_anonymous_", ())
    shown = []
    for name, kind, *_ in instance._fields_:
        value = getattr(instance, name)
        if name in anonymous:
            shown.append(describe_fields(value))
        elif name in instance._in_hexadecimal_ and isinstance(value, int):
            shown.append(f"{name}={value:#x}")
        else:
            shown.append(f"{name}={describe(value, kind)}")
    return ", ".join(shown)


class Structure(ctypes.Structure):
    """A ctypes structure whose repr shows its fields.

    ``_in_hexadecimal_`` names the fields that read best as hexadecimal.
    """

    _in_hexadecimal_: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe_fields(self)})"


class Union(ctypes.Union):
    """A ctypes union whose repr shows its members."""

    _in_hexadecimal_: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe_fields(self)})"
