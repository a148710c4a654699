"""Readiness of sockets, reported to a completion port: ProcessSocketNotifications."""

from __future__ import annotations

from ..overlapped import OVERLAPPED_ENTRY
from ..structure import Structure
from ..types import DWORD, HANDLE, PVOID, SOCKET, UINT8, UINT16, UINT32, ULONG, Pointer
from .library import ws2_32

# What to report: SOCK_NOTIFY_REGISTRATION.eventFilter.
SOCK_NOTIFY_REGISTER_EVENT_NONE = 0x00
SOCK_NOTIFY_REGISTER_EVENT_IN = 0x01
SOCK_NOTIFY_REGISTER_EVENT_OUT = 0x02
SOCK_NOTIFY_REGISTER_EVENT_HANGUP = 0x04
SOCK_NOTIFY_REGISTER_EVENTS_ALL = 0x07

# What is reported: dwNumberOfBytesTransferred of the packet.
SOCK_NOTIFY_EVENT_IN = SOCK_NOTIFY_REGISTER_EVENT_IN
SOCK_NOTIFY_EVENT_OUT = SOCK_NOTIFY_REGISTER_EVENT_OUT
SOCK_NOTIFY_EVENT_HANGUP = SOCK_NOTIFY_REGISTER_EVENT_HANGUP
SOCK_NOTIFY_EVENT_ERR = 0x40
SOCK_NOTIFY_EVENT_REMOVE = 0x80
SOCK_NOTIFY_EVENTS_ALL = 0xC7

# What to do: SOCK_NOTIFY_REGISTRATION.operation.
SOCK_NOTIFY_OP_NONE = 0x00
SOCK_NOTIFY_OP_ENABLE = 0x01
SOCK_NOTIFY_OP_DISABLE = 0x02
SOCK_NOTIFY_OP_REMOVE = 0x04

# When to report: SOCK_NOTIFY_REGISTRATION.triggerFlags, one of each pair.
SOCK_NOTIFY_TRIGGER_ONESHOT = 0x01
SOCK_NOTIFY_TRIGGER_PERSISTENT = 0x02
SOCK_NOTIFY_TRIGGER_LEVEL = 0x04
SOCK_NOTIFY_TRIGGER_EDGE = 0x08
SOCK_NOTIFY_TRIGGER_ALL = 0x0F


class SOCK_NOTIFY_REGISTRATION(Structure):
    """A socket, what to report of it, and the key that the packets shall carry.

    ``operation``: SOCK_NOTIFY_OP_ENABLE registers, or changes a registration;
    SOCK_NOTIFY_OP_DISABLE suspends it, SOCK_NOTIFY_OP_REMOVE ends it, and the packet with
    SOCK_NOTIFY_EVENT_REMOVE is then the last one with this key. ``registrationResult``:
    receives the error code of this one.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-sock_notify_registration
    """

    _fields_ = (
        ("socket", SOCKET),
        ("completionKey", PVOID),
        ("eventFilter", UINT16),
        ("operation", UINT8),
        ("triggerFlags", UINT8),
        ("registrationResult", DWORD),
    )
    _in_hexadecimal_ = ("completionKey", "eventFilter", "operation", "triggerFlags")


@ws2_32(since="Windows 11 and Windows Server 2022")
def ProcessSocketNotifications(
    completionPort: HANDLE,
    registrationCount: UINT32,
    registrationInfos: Pointer[SOCK_NOTIFY_REGISTRATION],
    timeoutMs: UINT32,
    completionCount: ULONG,
    completionPortEntries: Pointer[OVERLAPPED_ENTRY],
    receivedEntryCount: Pointer[UINT32],
) -> DWORD:
    """Register sockets for readiness reports on a port, and take packets from it.

    completionPort: the port.
    registrationCount, registrationInfos: an array of registrations, and its length; 0
        and None. Each tells its own result.
    timeoutMs: how long to wait for a packet, in milliseconds; 0 only looks, and is the
        only choice when completionCount is 0; INFINITE waits without end.
    completionCount, completionPortEntries: room for packets, and for how many; 0 and
        None.
    receivedEntryCount: receives the number of packets taken; None with 0.

    Returns the error code itself, not through last_error(). ERROR_SUCCESS (0), or
    WAIT_TIMEOUT (258): no packet in time; either way each registrationResult tells of its
    socket. A WSAE code: nothing was done.

    A packet's key is the registration's, its number of bytes the SOCK_NOTIFY_EVENT bits;
    its lpOverlapped means nothing. Other packets of the port come along, as
    GetQueuedCompletionStatusEx gives them. A socket is registered with one port at a
    time. Only Microsoft's own provider has it.

    Lifetime: before closing a socket, remove it and take its SOCK_NOTIFY_EVENT_REMOVE;
    only then is the key free.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-processsocketnotifications
    """
