"""SocketPoll: the question whether one socket is ready, which is answered when it is."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ...engine.operation import Operation
from ...errors import error_of_code
from ...winapi import (
    AFD_POLL_INFO,
    DWORD,
    HANDLE,
    INVALID_SOCKET,
    IOCTL_AFD_POLL,
    SIO_BASE_HANDLE,
    SIO_BSP_HANDLE_POLL,
    SOCKET,
)

if TYPE_CHECKING:
    from ...engine.kernel import Kernel
    from .afd_device import AfdDevice

_FOR_EVER = 2**63 - 1


class SocketPoll(Operation):
    """A poll of one socket: posted with what is asked, it completes with what is.

    DeviceIoControl makes the request: NtDeviceIoControlFile returns an NTSTATUS, which no other
    operation has to tell apart.
    """

    __slots__ = ("_info",)

    def __init__(self, device: AfdDevice) -> None:
        super().__init__(device, "poll")
        # Lifetime: the kernel reads the question here and writes the answer; the operation's
        # arguments keep the structure, the in-flight table keeps the operation.
        self._info = info = AFD_POLL_INFO(Timeout=_FOR_EVER, NumberOfHandles=1)
        size = DWORD(ctypes.sizeof(info))
        self._calls(
            "DeviceIoControl",
            device.home.kernel.DeviceIoControl,
            0,
            HANDLE(device.number),
            DWORD(IOCTL_AFD_POLL),
            ctypes.byref(info),
            size,
            ctypes.byref(info),
            size,
            ctypes.byref(DWORD()),
            ctypes.byref(self.overlapped),
        )

    def ask(self, base_socket: int, events: int) -> None:
        """Post it. events: AFD_POLL_*. Raises what `post` raises."""
        self._info.NumberOfHandles = 1
        self._info.Handles[0].Handle = base_socket
        self._info.Handles[0].Events = events
        self._info.Handles[0].Status = 0
        self.post()

    def answer(self) -> int:
        """Return what is, as AFD_POLL_*, once it has completed; 0 after a cancel."""
        return int(self._info.Handles[0].Events) if self._info.NumberOfHandles else 0


def base_socket(kernel: Kernel, number: int) -> int:
    """Return the number that the driver knows a socket by: the one below layered providers.

    Some of those do not hand SIO_BASE_HANDLE on, against the rules; most of them hand on what
    WSAPoll asks (https://github.com/piscisaureus/wepoll/blob/dist/README.md).

    Raises an `IocpError` (``WSAENOTSOCK`` 10038) for what is no socket.

    Source: https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls
    """
    found, size, first = SOCKET(), DWORD(), 0
    for code in (SIO_BASE_HANDLE, SIO_BSP_HANDLE_POLL):
        if not kernel.WSAIoctl(
            number,
            code,
            None,
            0,
            ctypes.byref(found),
            ctypes.sizeof(found),
            ctypes.byref(size),
            None,
            None,
        ) and found.value not in (None, INVALID_SOCKET):
            return int(found.value or 0)
        first = first or kernel.last_error()
    raise error_of_code("WSAIoctl", first, None, f"socket {number:#x}")
