"""Events of Winsock: waiting for network events instead of completions."""

from __future__ import annotations

from ..structure import Structure
from ..types import BOOL, DWORD, HANDLE, INT, LONG, SOCKET, ConstPointer, Pointer
from .library import ws2_32

WSAEVENT = HANDLE

# Network events: a bit, and its place in WSANETWORKEVENTS.iErrorCode.
FD_READ_BIT = 0
FD_READ = 1 << FD_READ_BIT
FD_WRITE_BIT = 1
FD_WRITE = 1 << FD_WRITE_BIT
FD_OOB_BIT = 2
FD_OOB = 1 << FD_OOB_BIT
FD_ACCEPT_BIT = 3
FD_ACCEPT = 1 << FD_ACCEPT_BIT
FD_CONNECT_BIT = 4
FD_CONNECT = 1 << FD_CONNECT_BIT
FD_CLOSE_BIT = 5
FD_CLOSE = 1 << FD_CLOSE_BIT
FD_QOS_BIT = 6
FD_QOS = 1 << FD_QOS_BIT
FD_GROUP_QOS_BIT = 7
FD_GROUP_QOS = 1 << FD_GROUP_QOS_BIT
FD_ROUTING_INTERFACE_CHANGE_BIT = 8
FD_ROUTING_INTERFACE_CHANGE = 1 << FD_ROUTING_INTERFACE_CHANGE_BIT
FD_ADDRESS_LIST_CHANGE_BIT = 9
FD_ADDRESS_LIST_CHANGE = 1 << FD_ADDRESS_LIST_CHANGE_BIT
FD_MAX_EVENTS = 10
FD_ALL_EVENTS = (1 << FD_MAX_EVENTS) - 1

# How many events one wait takes, how long it lasts, and what it returns.
WSA_MAXIMUM_WAIT_EVENTS = 64
WSA_INFINITE = 0xFFFFFFFF
WSA_WAIT_EVENT_0 = 0
WSA_WAIT_IO_COMPLETION = 0xC0
WSA_WAIT_TIMEOUT = 258
WSA_WAIT_FAILED = 0xFFFFFFFF


class WSANETWORKEVENTS(Structure):
    """Which network events happened on a socket, and the error of each.

    ``iErrorCode[FD_READ_BIT]`` belongs to FD_READ, and so on; it counts only if the bit
    is set in ``lNetworkEvents``.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsanetworkevents
    """

    _fields_ = (("lNetworkEvents", LONG), ("iErrorCode", INT * FD_MAX_EVENTS))
    _in_hexadecimal_ = ("lNetworkEvents",)


LPWSANETWORKEVENTS = Pointer[WSANETWORKEVENTS]


@ws2_32(since="Windows 95")
def WSACreateEvent() -> WSAEVENT:
    """Create an event object: manual-reset, not signalled, without a name.

    Returns the handle, or None: ask last_error(). WSA_NOT_ENOUGH_MEMORY (8).

    Close it with WSACloseEvent. It is an ordinary event: kernel32's functions take it.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsacreateevent
    """


@ws2_32(since="Windows 95")
def WSASetEvent(hEvent: WSAEVENT) -> BOOL:
    """Signal an event object.

    Returns nonzero, or 0: ask last_error(). WSA_INVALID_HANDLE (6).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasetevent
    """


@ws2_32(since="Windows 95")
def WSAResetEvent(hEvent: WSAEVENT) -> BOOL:
    """Take an event object's signal back.

    Returns nonzero, or 0: ask last_error(). WSA_INVALID_HANDLE (6).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaresetevent
    """


@ws2_32(since="Windows 95")
def WSACloseEvent(hEvent: WSAEVENT) -> BOOL:
    """Close an event object's handle.

    Returns nonzero, or 0: ask last_error(). WSA_INVALID_HANDLE (6).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsacloseevent
    """


@ws2_32(since="Windows 95")
def WSAWaitForMultipleEvents(
    cEvents: DWORD,
    lphEvents: ConstPointer[WSAEVENT],
    fWaitAll: BOOL,
    dwTimeout: DWORD,
    fAlertable: BOOL,
) -> DWORD:
    """Wait for one event or for all, and for completion routines if wanted.

    cEvents: how many events, from 1 to WSA_MAXIMUM_WAIT_EVENTS (64).
    lphEvents: an array of them: ``(WSAEVENT * n)(…)``.
    fWaitAll: whether all must be signalled, or any one.
    dwTimeout: milliseconds; 0 only looks, WSA_INFINITE waits without end.
    fAlertable: whether to run this thread's completion routines.

    Returns WSA_WAIT_EVENT_0 plus the lowest index of a signalled event,
    WSA_WAIT_IO_COMPLETION after a completion routine, WSA_WAIT_TIMEOUT, or
    WSA_WAIT_FAILED: ask last_error(). WSA_INVALID_PARAMETER (87): a number of events that
    it does not take. WSA_INVALID_HANDLE (6).

    Ctrl-C does not end the wait.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsawaitformultipleevents
    """


@ws2_32(since="Windows 95")
def WSAEventSelect(s: SOCKET, hEventObject: WSAEVENT, lNetworkEvents: LONG) -> INT:
    """Have an event object signalled when network events happen on a socket.

    hEventObject: the event, or None with 0 to end it.
    lNetworkEvents: the FD bits to watch; they replace those of an earlier call.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTSOCK (10038), WSAEINVAL (10022).

    It makes the socket non-blocking. FD_READ is reported again only after a receive,
    FD_ACCEPT after an accept, FD_WRITE after a send that failed with WSAEWOULDBLOCK. A
    socket from accept() starts with the listening socket's event and bits.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaeventselect
    """


@ws2_32(since="Windows 95")
def WSAEnumNetworkEvents(
    s: SOCKET, hEventObject: WSAEVENT, lpNetworkEvents: LPWSANETWORKEVENTS
) -> INT:
    """Tell which network events have happened on a socket, and forget them.

    hEventObject: an event to reset at the same moment; None.
    lpNetworkEvents: receives the events and their errors.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTSOCK (10038), WSAEINVAL (10022).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaenumnetworkevents
    """
