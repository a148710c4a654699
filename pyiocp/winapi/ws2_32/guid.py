"""GUID, the 16-byte names of providers and extension functions."""

from __future__ import annotations

import uuid

from ..structure import Structure
from ..types import UCHAR, ULONG, USHORT, Pointer


class GUID(Structure):
    """A globally unique identifier.

    ``GUID.of("b5367df1-cbac-11cf-95ca-00805f48a192")`` reads the usual text; ``str()``
    writes it. Two with the same 16 bytes are equal.

    Source: https://learn.microsoft.com/windows/win32/api/guiddef/ns-guiddef-guid
    """

    _fields_ = (
        ("Data1", ULONG),
        ("Data2", USHORT),
        ("Data3", USHORT),
        ("Data4", UCHAR * 8),
    )

    @classmethod
    def of(cls, text: str) -> GUID:
        """Make one from its text, with or without braces; ValueError when it is none."""
        return cls.from_buffer_copy(uuid.UUID(text).bytes_le)

    def __str__(self) -> str:
        return str(uuid.UUID(bytes_le=bytes(self)))

    def __repr__(self) -> str:
        return f"GUID.of({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return bytes(self) == bytes(other) if isinstance(other, GUID) else NotImplemented

    def __hash__(self) -> int:
        return hash(bytes(self))


LPGUID = Pointer[GUID]
