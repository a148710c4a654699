"""Which names a star import gives: Win32's own, and a few helpers."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from .binding import Callback, Function
from .structure import Structure, Union

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = (ctypes._SimpleCData, ctypes._Pointer, ctypes.Array, Structure, Union, Callback)


def is_win32(name: str, value: Any) -> bool:
    """Tell whether `value`, found under `name`, is something that Windows' headers name."""
    if name.startswith(("_", "c_")) or value in (Structure, Union, Callback):
        return False
    if isinstance(value, type):
        return issubclass(value, _TYPES)
    return isinstance(value, (int, str, bytes, Structure, Union, Function)) and (
        not isinstance(value, bool)
    )


def win32_names(namespace: dict[str, Any]) -> Iterator[str]:
    """Yield the names of `namespace`, a module's globals, that Windows' headers have."""
    return (name for name, value in namespace.items() if is_win32(name, value))
