r"""AFD, the driver below Winsock: asking whether sockets are ready, through a port.

A handle of ``\Device\Afd\name`` takes IOCTL_AFD_POLL by NtDeviceIoControlFile, which
completes when a socket is ready: readiness with the port's scaling. The socket in it is
the base provider's (SIO_BASE_HANDLE).

Microsoft documents none of this; libuv, wepoll, mio and the Windows select() are built on
it, so that it has not changed in 20 years.
Source: https://github.com/piscisaureus/wepoll (src/afd.h, src/afd.c)
"""

from __future__ import annotations

from ..errorcodes import status_name
from ..structure import Structure
from ..types import HANDLE, LARGE_INTEGER, NTSTATUS, ULONG, Pointer

# NtDeviceIoControlFile: IoControlCode.
IOCTL_AFD_POLL = 0x00012024

# AFD_POLL_HANDLE_INFO: Events, asked for and reported.
AFD_POLL_RECEIVE = 0x0001
AFD_POLL_RECEIVE_EXPEDITED = 0x0002
AFD_POLL_SEND = 0x0004
AFD_POLL_DISCONNECT = 0x0008
AFD_POLL_ABORT = 0x0010
AFD_POLL_LOCAL_CLOSE = 0x0020
AFD_POLL_CONNECT = 0x0040
AFD_POLL_ACCEPT = 0x0080
AFD_POLL_CONNECT_FAIL = 0x0100

_EVENTS = {value: name for name, value in globals().items() if name.startswith("AFD_POLL_")}


class AFD_POLL_HANDLE_INFO(Structure):
    """One socket of a poll: what is asked, and in the answer what is.

    Source: https://github.com/piscisaureus/wepoll (src/afd.h)
    """

    _fields_ = (("Handle", HANDLE), ("Events", ULONG), ("Status", NTSTATUS))

    def __repr__(self) -> str:
        events = [name for value, name in _EVENTS.items() if self.Events & value]
        return (
            f"AFD_POLL_HANDLE_INFO(Handle={self.Handle or 0:#x}, "
            f"Events={' | '.join(events) or 0}, Status={status_name(self.Status)})"
        )


PAFD_POLL_HANDLE_INFO = Pointer[AFD_POLL_HANDLE_INFO]


class AFD_POLL_INFO(Structure):
    """A poll of one socket, question and answer in one.

    ``Timeout`` is in units of 100 ns, negative from now, and the largest number for ever.
    A nonzero ``Exclusive`` ends earlier polls of the same socket. ``Handles`` goes on past
    its first element for a poll of several.

    Source: https://github.com/piscisaureus/wepoll (src/afd.h)
    """

    _fields_ = (
        ("Timeout", LARGE_INTEGER),
        ("NumberOfHandles", ULONG),
        ("Exclusive", ULONG),
        ("Handles", AFD_POLL_HANDLE_INFO * 1),
    )


PAFD_POLL_INFO = Pointer[AFD_POLL_INFO]
