"""ws2_32.dll: sockets with overlapped I/O, one file per noun.

Importing it starts Winsock (startup.py). WSAAsyncSelect is left out on purpose: it
reports through window messages, for which a completion port has no use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exports import win32_names
from .addresses import *
from .addresses import address_of as address_of
from .addresses import sockaddr as sockaddr
from .buffers import *
from .buffers import wsabufs as wsabufs
from .constants import *
from .guid import *
from .ioctls import *
from .options import *
from .sockets import *
from .startup import *
from .transfer import *

_HELPERS = (address_of, sockaddr, wsabufs)

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
    __all__ += [helper.__name__ for helper in _HELPERS]
