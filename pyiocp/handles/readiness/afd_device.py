r"""AfdDevice: a handle of ``\Device\Afd``, the driver below Winsock, on a completion port."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ...errors import error_of_status
from ...winapi import (
    FILE_OPEN,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    HANDLE,
    IO_STATUS_BLOCK,
    OBJECT_ATTRIBUTES,
    SYNCHRONIZE,
)
from ..handle import Handle

if TYPE_CHECKING:
    from ...engine.home import Home

SOCKETS_MAX = 500
"""How many sockets are asked about through one handle.

The driver keeps the questions of one handle in a list, and goes through it for each answer: with
thousands in it, all take longer and longer. libuv, wepoll and trio divide them too.
"""


class AfdDevice(Handle):
    """A handle of the driver. ``sockets`` counts those that are asked about through it."""

    kind = "afd"

    def __init__(self, home: Home, number: int) -> None:
        self.sockets = 0
        # Internal: so a port that nobody has any more is closed, and users see none of it.
        super().__init__(home, number, skip_on_success=True, internal=True)

    @classmethod
    def open(cls, home: Home) -> AfdDevice:
        """Return a new handle of the driver; an `IocpError` if the system gives none.

        Source: https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntcreatefile
        """
        kernel = home.kernel
        handle, outcome = HANDLE(), IO_STATUS_BLOCK()
        # The name behind the device's is any: Windows wants one.
        name = OBJECT_ATTRIBUTES.of(r"\Device\Afd\pyiocp")
        status = kernel.NtCreateFile(
            ctypes.byref(handle),
            SYNCHRONIZE,
            ctypes.byref(name),
            ctypes.byref(outcome),
            None,
            0,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            FILE_OPEN,
            0,
            None,
            0,
        )
        if status:
            raise error_of_status("NtCreateFile", status & 0xFFFFFFFF)
        assert handle.value is not None, "it was opened"
        try:
            return cls(home, handle.value)
        except BaseException:
            kernel.CloseHandle(handle.value)
            raise
