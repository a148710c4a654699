"""ntdll.dll: what the Win32 functions are made of, where Win32 has no name for it.

One file per noun; this one only gathers them. The functions return their NTSTATUS, as a
signed number, and set no last error: ``status & 0xFFFFFFFF`` compares with the STATUS_*
constants, ``status_name(status)`` names it, RtlNtStatusToDosError translates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exports import win32_names
from .afd import *
from .files import *
from .objects import *
from .packets import *
from .status import *

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
