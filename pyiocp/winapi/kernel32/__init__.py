"""kernel32.dll: completion ports, files, pipes, waiting, memory, processes.

One file per noun; this one only gathers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exports import win32_names
from .clock import *
from .console import *
from .constants import *
from .directories import *
from .files import *
from .handles import *
from .jobs import *
from .memory import *
from .pipes import *
from .ports import *
from .processes import *
from .threadpool import *
from .timers import *
from .waiting import *

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
