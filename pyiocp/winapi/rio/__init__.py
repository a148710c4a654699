"""RIO, registered I/O: Winsock without a system call and without page locking per operation.

How it works: memory is registered once (RIORegisterBuffer), which locks its pages. A
socket made with WSA_FLAG_REGISTERED_IO gets a request queue, and one or two completion
queues that many sockets may share. RIOReceive and RIOSend put a request into a ring that
the kernel reads; RIODequeueCompletion takes results out of another ring, both without
entering the kernel. RIONotify asks for one notification when there is something in the
ring: by event, or by a packet on a completion port.

The functions come as a table that a socket's provider fills in, in one WSAIoctl:
:func:`rio_functions`. Windows 8 and later.

One file per noun; this one only gathers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exports import win32_names
from .functions import *
from .structures import *
from .table import *
from .table import rio_functions as rio_functions

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
    __all__ += ["rio_functions"]
