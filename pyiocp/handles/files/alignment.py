"""Alignment: what an unbuffered file requires of an offset, a length and a buffer.

Without the system's cache in between, the disk itself reads and writes the buffer: whole
sectors, in memory that is aligned to sectors. The kernel refuses anything else with
``ERROR_INVALID_PARAMETER``, which does not say what was wrong; these checks do.
"""

from __future__ import annotations

import mmap
from ctypes import byref, sizeof
from typing import TYPE_CHECKING

from ...winapi import FILE_FS_SIZE_INFORMATION, IO_STATUS_BLOCK, FileFsSizeInformation

if TYPE_CHECKING:
    from ...engine.kernel import Kernel


def volume_sector_size(kernel: Kernel, number: int) -> int:
    """Return the bytes of a sector of the volume that a file is on.

    For a handle that is not on a volume, such as a whole disk, it is the page size, which is a
    multiple of every sector size.

    Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntqueryvolumeinformationfile
    """
    outcome, size = IO_STATUS_BLOCK(), FILE_FS_SIZE_INFORMATION()
    status = kernel.NtQueryVolumeInformationFile(
        number, byref(outcome), byref(size), sizeof(size), FileFsSizeInformation
    )
    if status < 0 or not size.BytesPerSector:
        return mmap.PAGESIZE
    return int(size.BytesPerSector)


def check_alignment(wanted: str, sector_size: int, offset: int, length: int, address: int) -> None:
    """Raise ValueError if one of the three is not a multiple of the sector size, in bytes.

    wanted: what was attempted. The address of an empty buffer does not matter.
    """
    values = {"offset": offset, "length": length, "buffer's address": address if length else 0}
    for name, value in values.items():
        if value % sector_size:
            raise ValueError(
                f"{wanted} on an unbuffered file: the {name} must be a multiple of"
                f" {sector_size} bytes, not {value:,}"
                + (" (mmap.mmap(-1, length) gives such a buffer)" if value == address else "")
            )
