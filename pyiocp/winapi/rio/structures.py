"""What RIO's functions take and give: handles, slices of memory, results, notifications."""

from __future__ import annotations

from ..structure import Structure, Union
from ..types import BOOL, HANDLE, INT, LONG, PVOID, ULONG, ULONGLONG, Pointer

# Handles. None of them is a kernel handle; a NULL one reads as None.
RIO_BUFFERID = PVOID
RIO_CQ = PVOID
RIO_RQ = PVOID

# What the functions return that give a handle, when they fail.
RIO_INVALID_BUFFERID = 0xFFFFFFFF
RIO_INVALID_CQ = 0
RIO_INVALID_RQ = 0

# The most entries of a completion queue, and what dequeueing from a corrupt one gives.
RIO_MAX_CQ_SIZE = 0x8000000
RIO_CORRUPT_CQ = 0xFFFFFFFF

# Flags of a receive or send.
RIO_MSG_DONT_NOTIFY = 0x00000001
RIO_MSG_DEFER = 0x00000002
RIO_MSG_WAITALL = 0x00000004
RIO_MSG_COMMIT_ONLY = 0x00000008

# RIO_NOTIFICATION_COMPLETION.Type.
RIO_NOTIFICATION_COMPLETION_TYPE = INT
RIO_EVENT_COMPLETION = 1
RIO_IOCP_COMPLETION = 2


class RIO_BUF(Structure):
    """A slice of registered memory; ``Offset`` and ``Length`` in bytes.

    Source: https://learn.microsoft.com/windows/win32/api/mswsockdef/ns-mswsockdef-rio_buf
    """

    _fields_ = (("BufferId", RIO_BUFFERID), ("Offset", ULONG), ("Length", ULONG))


PRIO_BUF = Pointer[RIO_BUF]


class RIO_CMSG_BUFFER(Structure):
    """The head of control messages in registered memory; WSACMSGHDRs come behind it.

    ``TotalLength``: bytes of head and messages.

    Source: https://learn.microsoft.com/windows/win32/api/mswsockdef/ns-mswsockdef-rio_cmsg_buffer
    """

    _fields_ = (("TotalLength", ULONG),)


PRIO_CMSG_BUFFER = Pointer[RIO_CMSG_BUFFER]


class RIORESULT(Structure):
    """One completion. ``Status`` is 0 or a Winsock error code.

    ``SocketContext`` is what RIOCreateRequestQueue was given, ``RequestContext`` what
    RIOReceive or RIOSend was given.

    Source: https://learn.microsoft.com/windows/win32/api/mswsockdef/ns-mswsockdef-rioresult
    """

    _fields_ = (
        ("Status", LONG),
        ("BytesTransferred", ULONG),
        ("SocketContext", ULONGLONG),
        ("RequestContext", ULONGLONG),
    )
    _in_hexadecimal_ = ("SocketContext", "RequestContext")


PRIORESULT = Pointer[RIORESULT]


class _Event(Structure):
    _fields_ = (("EventHandle", HANDLE), ("NotifyReset", BOOL))


class _Iocp(Structure):
    _fields_ = (("IocpHandle", HANDLE), ("CompletionKey", PVOID), ("Overlapped", PVOID))


class _Notification(Union):
    _fields_ = (("Event", _Event), ("Iocp", _Iocp))


class RIO_NOTIFICATION_COMPLETION(Structure):
    """How RIONotify tells: ``Event`` or ``Iocp``, as ``Type`` says.

    ``Iocp.Overlapped`` must not be NULL; the packet has it, the key and 0 bytes.

    Lifetime: the OVERLAPPED as long as the completion queue.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/ns-mswsock-rio_notification_completion
    """

    _anonymous_ = ("notification",)
    _fields_ = (("Type", RIO_NOTIFICATION_COMPLETION_TYPE), ("notification", _Notification))


PRIO_NOTIFICATION_COMPLETION = Pointer[RIO_NOTIFICATION_COMPLETION]
