"""Winsock's start and end.

Winsock refuses every call until the process has called WSAStartup. pyiocp calls it once,
when this module is imported, and never calls WSACleanup: Winsock counts the calls, so
that this one start keeps it running, and the provider DLLs that extension pointers lead
into loaded, for the life of the process. Python's ``socket`` module does the same for
itself; nothing here relies on that. The process's end cleans up.
"""

from __future__ import annotations

from ctypes import sizeof

from ..binding import WINDOWS
from ..structure import Structure
from ..types import CHAR, INT, PCHAR, PVOID, USHORT, WORD, Pointer
from .library import ws2_32

WINSOCK_VERSION = 0x0202

# The lengths of WSADATA's texts, in bytes without the NUL.
WSADESCRIPTION_LEN = 256
WSASYS_STATUS_LEN = 128


class WSADATA(Structure):
    """What WSAStartup tells about the Winsock that it started.

    ``wVersion`` is the version to be used, ``wHighVersion`` the highest one that it
    has; each has the major number in its low byte. The rest is history.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/ns-winsock-wsadata
    """

    # The SDK orders the fields by the width of a pointer.
    _fields_ = (
        (
            ("wVersion", WORD),
            ("wHighVersion", WORD),
            ("iMaxSockets", USHORT),
            ("iMaxUdpDg", USHORT),
            ("lpVendorInfo", PCHAR),
            ("szDescription", CHAR * (WSADESCRIPTION_LEN + 1)),
            ("szSystemStatus", CHAR * (WSASYS_STATUS_LEN + 1)),
        )
        if sizeof(PVOID) == 8
        else (
            ("wVersion", WORD),
            ("wHighVersion", WORD),
            ("szDescription", CHAR * (WSADESCRIPTION_LEN + 1)),
            ("szSystemStatus", CHAR * (WSASYS_STATUS_LEN + 1)),
            ("iMaxSockets", USHORT),
            ("iMaxUdpDg", USHORT),
            ("lpVendorInfo", PCHAR),
        )
    )
    _in_hexadecimal_ = ("wVersion", "wHighVersion")


LPWSADATA = Pointer[WSADATA]


@ws2_32(since="Windows 95")
def WSAStartup(wVersionRequested: WORD, lpWSAData: LPWSADATA) -> INT:
    """Start Winsock for this process, or count one more user of it.

    wVersionRequested: the highest version that the caller can use; WINSOCK_VERSION
        (0x0202) is the last there is.
    lpWSAData: receives what was started.

    Returns 0, or the error code itself: Winsock is not there yet to keep it for
    last_error(). WSASYSNOTREADY (10091), WSAVERNOTSUPPORTED (10092), WSAEPROCLIM
    (10067).

    pyiocp has called it already when ws2_32 was imported. Any thread may call it again,
    with one WSACleanup for each.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsastartup
    """


@ws2_32(since="Windows 95")
def WSACleanup() -> INT:
    """Take back one WSAStartup; the last one ends Winsock and closes every socket.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSANOTINITIALISED (10093): there was
    no start left to take back.

    pyiocp never calls it. Calling it without a WSAStartup of one's own would take away
    pyiocp's or the socket module's.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsacleanup
    """


def start_winsock() -> WSADATA | None:
    """Start Winsock 2.2 and return what was started; None off Windows.

    Raises OSError with Winsock's code as ``winerror`` when it will not start.
    """
    if not WINDOWS:
        return None
    data = WSADATA()
    error = WSAStartup(WINSOCK_VERSION, data)
    if error:
        raise OSError(None, "WSAStartup: Winsock 2.2 does not start", None, error)
    return data


_WINSOCK = start_winsock()
