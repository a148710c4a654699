"""kernel32.dll: completion ports, files, pipes, waiting, memory, processes.

One file per noun; this one only gathers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exports import win32_names
from .constants import *
from .handles import *
from .ports import *

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
