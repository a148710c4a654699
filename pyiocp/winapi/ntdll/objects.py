r"""Objects of the kernel by their name, such as ``\Device\Afd``."""

from __future__ import annotations

import ctypes

from ..structure import Structure
from ..types import HANDLE, INT, NTSTATUS, PULONG, PVOID, PWSTR, ULONG, USHORT, Pointer
from .library import ntdll

OBJECT_INFORMATION_CLASS = INT

# NtQueryObject: ObjectInformationClass.
ObjectTypeInformation = 2

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


class PUBLIC_OBJECT_TYPE_INFORMATION(Structure):
    """The type of an object: ``TypeName`` is ``"File"``, ``"Event"``, ``"Process"`` and so on.

    Lifetime: the name stands in the same memory, behind the structure.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-__public_object_type_information
    """

    _fields_ = (("TypeName", UNICODE_STRING), ("Reserved", ULONG * 22))


PPUBLIC_OBJECT_TYPE_INFORMATION = Pointer[PUBLIC_OBJECT_TYPE_INFORMATION]


@ntdll(since="Windows NT 3.1")
def NtQueryObject(
    Handle: HANDLE,
    ObjectInformationClass: OBJECT_INFORMATION_CLASS,
    ObjectInformation: PVOID,
    ObjectInformationLength: ULONG,
    ReturnLength: PULONG,
) -> NTSTATUS:
    """Ask what kind of object a handle is of.

    Handle: any handle.
    ObjectInformationClass: ObjectTypeInformation.
    ObjectInformation: a PUBLIC_OBJECT_TYPE_INFORMATION, with room for the name behind it.
    ObjectInformationLength: all of that, in bytes.
    ReturnLength: receives the bytes that it needs, or None.

    Returns an NTSTATUS. STATUS_INVALID_HANDLE (0xC0000008): not an open handle;
    STATUS_INFO_LENGTH_MISMATCH (0xC0000004): not enough room.

    Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntqueryobject
    """
