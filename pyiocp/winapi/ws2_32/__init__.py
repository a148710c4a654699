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
from .events import *
from .guid import *
from .ioctls import *
from .messages import *
from .messages import WSA_CMSG_DATA as WSA_CMSG_DATA
from .messages import WSA_CMSG_FIRSTHDR as WSA_CMSG_FIRSTHDR
from .messages import WSA_CMSG_LEN as WSA_CMSG_LEN
from .messages import WSA_CMSG_NXTHDR as WSA_CMSG_NXTHDR
from .messages import WSA_CMSG_SPACE as WSA_CMSG_SPACE
from .names import *
from .notifications import *
from .options import *
from .polling import *
from .sockets import *
from .startup import *
from .transfer import *

_HELPERS = (
    address_of,
    sockaddr,
    wsabufs,
    WSA_CMSG_DATA,
    WSA_CMSG_FIRSTHDR,
    WSA_CMSG_LEN,
    WSA_CMSG_NXTHDR,
    WSA_CMSG_SPACE,
)

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
    __all__ += [helper.__name__ for helper in _HELPERS]
