"""None for a function that Windows need not call back.

What belongs here: the conversion, for the callback types of every DLL. ctypes takes None
for any pointer but a function pointer.
"""

from __future__ import annotations

from typing import Any, cast


class NoneIsNull:
    """Goes before Callback in the bases of a callback type that may be NULL."""

    @classmethod
    def from_param(cls, value: Any) -> Any:
        """Convert an argument: None to NULL, anything else as ctypes does."""
        return None if value is None else cast("Any", type(cls)).from_param(cls, value)
