"""OVERLAPPED, the kernel's record of one asynchronous operation, and its batch entry."""

from __future__ import annotations

from .errorcodes import status_name
from .structure import Structure, Union, describe
from .types import DWORD, HANDLE, PVOID, ULONG_PTR, Pointer


class _OffsetParts(Structure):
    _fields_ = (("Offset", DWORD), ("OffsetHigh", DWORD))


class _Position(Union):
    _anonymous_ = ("parts",)
    _fields_ = (("parts", _OffsetParts), ("Pointer", PVOID))


class OVERLAPPED(Structure):
    """One asynchronous operation. The kernel writes into it until the operation ends.

    ``Internal`` holds the NTSTATUS (``STATUS_PENDING``, 0x103, while it runs),
    ``InternalHigh`` the number of bytes transferred; ``Offset`` and ``OffsetHigh`` the
    position in a file; ``hEvent`` an event to signal, whose lowest bit, when set, keeps
    the completion off the port.

    Lifetime: from the call that starts the operation until its completion has been
    dequeued, neither the structure nor the buffer may be freed, moved or used again.

    Source: https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-overlapped
    """

    _anonymous_ = ("position",)
    _fields_ = (
        ("Internal", ULONG_PTR),
        ("InternalHigh", ULONG_PTR),
        ("position", _Position),
        ("hEvent", HANDLE),
    )

    def __repr__(self) -> str:
        status = status_name(self.Internal & 0xFFFFFFFF)
        offset = self.OffsetHigh << 32 | self.Offset
        event = f", hEvent={self.hEvent:#x}" if self.hEvent else ""
        return f"OVERLAPPED({status}, bytes={self.InternalHigh}, offset={offset}{event})"


LPOVERLAPPED = Pointer[OVERLAPPED]


class OVERLAPPED_ENTRY(Structure):
    """One completion packet, as GetQueuedCompletionStatusEx hands it over.

    ``lpCompletionKey`` is the handle's key, ``lpOverlapped`` the operation's OVERLAPPED,
    ``dwNumberOfBytesTransferred`` what it moved, and ``Internal`` its NTSTATUS.

    Source: https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-overlapped_entry
    """

    _fields_ = (
        ("lpCompletionKey", ULONG_PTR),
        ("lpOverlapped", LPOVERLAPPED),
        ("Internal", ULONG_PTR),
        ("dwNumberOfBytesTransferred", DWORD),
    )

    def __repr__(self) -> str:
        status = status_name(self.Internal & 0xFFFFFFFF)
        address = describe(self.lpOverlapped)
        return (
            f"OVERLAPPED_ENTRY({status}, bytes={self.dwNumberOfBytesTransferred}, "
            f"lpCompletionKey={self.lpCompletionKey:#x}, lpOverlapped={address})"
        )


LPOVERLAPPED_ENTRY = Pointer[OVERLAPPED_ENTRY]
