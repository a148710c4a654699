r"""Objects of the kernel by their name, such as ``\Device\Afd``."""

from __future__ import annotations

import ctypes

from ..structure import Structure
from ..types import HANDLE, PVOID, PWSTR, ULONG, USHORT, Pointer

# OBJECT_ATTRIBUTES: Attributes.
OBJ_INHERIT = 0x00000002
OBJ_CASE_INSENSITIVE = 0x00000040


class UNICODE_STRING(Structure):
    """Text with its length; lengths are in bytes, not characters.

    Source: https://learn.microsoft.com/windows/win32/api/subauth/ns-subauth-unicode_string
    """

    _fields_ = (("Length", USHORT), ("MaximumLength", USHORT), ("Buffer", PWSTR))

    @classmethod
    def of(cls, text: str) -> UNICODE_STRING:
        """Return a UNICODE_STRING that holds `text` and keeps its memory."""
        size = len(text.encode("utf-16-le"))
        return cls(size, size + 2, text)

    def __repr__(self) -> str:
        return f"UNICODE_STRING({self.Buffer!r})"


PUNICODE_STRING = Pointer[UNICODE_STRING]


class OBJECT_ATTRIBUTES(Structure):
    """Which object to open, and how.

    ``Length`` is the size of the structure; ``ObjectName`` is relative to
    ``RootDirectory`` if that is set.

    Source: https://learn.microsoft.com/windows/win32/api/ntdef/ns-ntdef-_object_attributes
    """

    _fields_ = (
        ("Length", ULONG),
        ("RootDirectory", HANDLE),
        ("ObjectName", PUNICODE_STRING),
        ("Attributes", ULONG),
        ("SecurityDescriptor", PVOID),
        ("SecurityQualityOfService", PVOID),
    )

    @classmethod
    def of(cls, name: str) -> OBJECT_ATTRIBUTES:
        """Return the attributes for the object called `name`; they keep the name's memory."""
        return cls(
            Length=ctypes.sizeof(cls),
            ObjectName=ctypes.pointer(UNICODE_STRING.of(name)),
            Attributes=OBJ_CASE_INSENSITIVE,
        )

    def __repr__(self) -> str:
        name = self.ObjectName.contents.Buffer if self.ObjectName else None
        root = f", RootDirectory={self.RootDirectory:#x}" if self.RootDirectory else ""
        return f"OBJECT_ATTRIBUTES({name!r}, Attributes={self.Attributes:#x}{root})"


POBJECT_ATTRIBUTES = Pointer[OBJECT_ATTRIBUTES]
