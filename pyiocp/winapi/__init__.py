"""Ring 1: what Windows declares, under Windows' names.

``from pyiocp.winapi import *`` gives the functions, structures, types and constants, and
of pyiocp's own only these helpers: :func:`available`, :func:`last_error`,
:func:`untyped`, :func:`status_name`, :func:`error_name` and
:class:`FunctionUnavailableError`. ``help(WSARecv)`` shows a function's parameters, its
errors and its Microsoft page.

The package imports on any operating system, so that layouts can be looked at and
checked anywhere; calling a function off Windows raises FunctionUnavailableError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .advapi32 import *
from .binding import FunctionUnavailableError as FunctionUnavailableError
from .binding import available as available
from .binding import last_error as last_error
from .binding import untyped as untyped
from .errorcodes import *
from .errorcodes import error_name as error_name
from .errorcodes import status_name as status_name
from .exports import win32_names
from .kernel32 import *
from .mswsock import *
from .ntdll import *
from .overlapped import *
from .psapi import *
from .rio import *
from .types import *
from .ws2_32 import *

_HELPERS = (available, last_error, untyped, error_name, status_name, FunctionUnavailableError)

if not TYPE_CHECKING:
    __all__ = list(win32_names(globals()))
    __all__ += [helper.__name__ for helper in _HELPERS]
