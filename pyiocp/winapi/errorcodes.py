"""Error codes by name: Win32's, Winsock's and the NTSTATUS values that overlapped I/O ends in."""

from __future__ import annotations

STATUS_SUCCESS = 0x00000000
STATUS_PENDING = 0x00000103


def status_name(status: int) -> str:
    """Return the name of an NTSTATUS value, or its hexadecimal form."""
    for name, value in globals().items():
        if name.startswith("STATUS_") and value == status & 0xFFFFFFFF:
            return name
    return f"{status & 0xFFFFFFFF:#010x}"
