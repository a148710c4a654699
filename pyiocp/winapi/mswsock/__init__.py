"""mswsock: Microsoft's extensions of Winsock, given out by GUID, one file per noun.

RIO, the registered I/O extension, is a table of its own: ``winapi.rio``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exports import win32_names
from .connections import *
from .messages import *
from .transmission import *

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
