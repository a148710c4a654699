"""The types of RIO's functions, under the names that the SDK gives them.

There is no function of the name ``RIOSend`` to import: ``rio_functions(socket).RIOSend``
is the provider's, of the type ``LPFN_RIOSEND``, and its documentation is here.
"""

from __future__ import annotations

from ..binding import Callback
from ..types import BOOL, DWORD, INT, PCHAR, PVOID, SOCKET, ULONG
from .structures import (
    PRIO_BUF,
    PRIO_NOTIFICATION_COMPLETION,
    PRIORESULT,
    RIO_BUFFERID,
    RIO_CQ,
    RIO_RQ,
)

_USE_LAST_ERROR = 0x10  # ctypes._FUNCFLAG_USE_LASTERROR


class CapturesError:
    """Goes before Callback in the bases of a function type that Python calls.

    The error is captured with the call, as it is for every function of a DLL.
    """

    _flags_: int

    def __init_subclass__(cls) -> None:
        """Have ctypes save the error code as the call returns."""
        super().__init_subclass__()
        cls._flags_ |= _USE_LAST_ERROR


class LPFN_RIORECEIVE(CapturesError, Callback):
    """Start a receive on a connected stream socket or a bound datagram socket.

    SocketQueue: the request queue.
    pData, DataBufferCount: where to, and 1; None and 0 to learn of data without taking it.
    Flags: RIO_MSG_DONT_NOTIFY not to signal for this one, RIO_MSG_DEFER to hand it to the
        kernel with the next request, RIO_MSG_WAITALL, RIO_MSG_COMMIT_ONLY (all else
        empty) to hand over what was deferred.
    RequestContext: any number; comes back with the completion.

    Returns nonzero when it was started, else 0: ask last_error(). WSAENOBUFS (10055): the
    queue is full. WSAEINVAL (10022). WSAEFAULT (10014): memory that is not registered.
    WSA_OPERATION_ABORTED (995): the socket is closed. Nothing is in the completion queue
    for a call that failed.

    One thread at a time receives on a request queue. Lifetime: the memory stays registered until
    the completion; the RIO_BUF is read during the call.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioreceive
    """

    @staticmethod
    def signature(
        SocketQueue: RIO_RQ,
        pData: PRIO_BUF,
        DataBufferCount: ULONG,
        Flags: DWORD,
        RequestContext: PVOID,
    ) -> BOOL: ...


class LPFN_RIORECEIVEEX(CapturesError, Callback):
    """Start a receive that also gives addresses, control messages and flags.

    pLocalAddress, pRemoteAddress: room for a SOCKADDR_INET each, in registered memory;
        None.
    pControlContext: room for a RIO_CMSG_BUFFER; None.
    pFlags: room for a DWORD of flags; None.
    The other parameters, result and errors are those of RIOReceive.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioreceiveex
    """

    @staticmethod
    def signature(
        SocketQueue: RIO_RQ,
        pData: PRIO_BUF,
        DataBufferCount: ULONG,
        pLocalAddress: PRIO_BUF,
        pRemoteAddress: PRIO_BUF,
        pControlContext: PRIO_BUF,
        pFlags: PRIO_BUF,
        Flags: DWORD,
        RequestContext: PVOID,
    ) -> INT: ...


class LPFN_RIOSEND(CapturesError, Callback):
    """Start a send on a connected socket.

    SocketQueue: the request queue.
    pData, DataBufferCount: what, and 1; None and 0 for an empty datagram.
    Flags: as for RIOReceive, without RIO_MSG_WAITALL.
    RequestContext: any number; comes back with the completion.

    Returns nonzero when it was started, else 0: ask last_error(). The errors are those of
    RIOReceive.

    One thread at a time sends on a request queue. Lifetime: the memory stays registered, and
    unchanged, until the completion.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_riosend
    """

    @staticmethod
    def signature(
        SocketQueue: RIO_RQ,
        pData: PRIO_BUF,
        DataBufferCount: ULONG,
        Flags: DWORD,
        RequestContext: PVOID,
    ) -> BOOL: ...


class LPFN_RIOSENDEX(CapturesError, Callback):
    """Start a send to an address, with control messages if wanted.

    pLocalAddress: None.
    pRemoteAddress: a SOCKADDR_INET in registered memory; None on a connected socket.
    pControlContext: a RIO_CMSG_BUFFER in registered memory; None.
    pFlags: None.
    The other parameters, result and errors are those of RIOSend.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_riosendex
    """

    @staticmethod
    def signature(
        SocketQueue: RIO_RQ,
        pData: PRIO_BUF,
        DataBufferCount: ULONG,
        pLocalAddress: PRIO_BUF,
        pRemoteAddress: PRIO_BUF,
        pControlContext: PRIO_BUF,
        pFlags: PRIO_BUF,
        Flags: DWORD,
        RequestContext: PVOID,
    ) -> BOOL: ...


class LPFN_RIOCLOSECOMPLETIONQUEUE(CapturesError, Callback):
    """Close a completion queue. The sockets that used it must be closed before.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioclosecompletionqueue
    """

    @staticmethod
    def signature(CQ: RIO_CQ) -> None: ...


class LPFN_RIOCREATECOMPLETIONQUEUE(CapturesError, Callback):
    """Create a completion queue.

    QueueSize: its entries, up to RIO_MAX_CQ_SIZE: at least the outstanding requests of
        all request queues that use it.
    NotificationCompletion: how RIONotify tells; None if the queue is only polled.

    Returns the queue, or None (RIO_INVALID_CQ): ask last_error(). WSAENOBUFS (10055),
    WSAEINVAL (10022): a size of 0 or too large. WSAEFAULT (10014).

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_riocreatecompletionqueue
    """

    @staticmethod
    def signature(
        QueueSize: DWORD, NotificationCompletion: PRIO_NOTIFICATION_COMPLETION
    ) -> RIO_CQ: ...


class LPFN_RIOCREATEREQUESTQUEUE(CapturesError, Callback):
    """Create the request queue of a socket; it lives as long as the socket.

    Socket: made with WSA_FLAG_REGISTERED_IO.
    MaxOutstandingReceive, MaxOutstandingSend: how many at a time; not both 0.
    MaxReceiveDataBuffers, MaxSendDataBuffers: 1.
    ReceiveCQ, SendCQ: the completion queues; may be the same.
    SocketContext: any number; comes back with every completion of this socket.

    Returns the queue, or None (RIO_INVALID_RQ): ask last_error(). WSAENOBUFS (10055): the
    completion queues have not enough room left. WSAEINVAL (10022), WSAEOPNOTSUPP (10045):
    a listening socket. WSAENOTSOCK (10038).

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_riocreaterequestqueue
    """

    @staticmethod
    def signature(
        Socket: SOCKET,
        MaxOutstandingReceive: ULONG,
        MaxReceiveDataBuffers: ULONG,
        MaxOutstandingSend: ULONG,
        MaxSendDataBuffers: ULONG,
        ReceiveCQ: RIO_CQ,
        SendCQ: RIO_CQ,
        SocketContext: PVOID,
    ) -> RIO_RQ: ...


class LPFN_RIODEQUEUECOMPLETION(CapturesError, Callback):
    """Take completions out of a completion queue, without waiting.

    Array, ArraySize: room for RIORESULTs, and for how many.

    Returns how many were taken, or RIO_CORRUPT_CQ: the queue can no longer be used, as a
    rule because memory was freed that the kernel still wrote into.

    One thread at a time on a completion queue.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_riodequeuecompletion
    """

    @staticmethod
    def signature(CQ: RIO_CQ, Array: PRIORESULT, ArraySize: ULONG) -> ULONG: ...


class LPFN_RIODEREGISTERBUFFER(CapturesError, Callback):
    """Take a registration back, and unlock its pages.

    With requests outstanding the pages stay locked until the last of them has ended.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioderegisterbuffer
    """

    @staticmethod
    def signature(BufferId: RIO_BUFFERID) -> None: ...


class LPFN_RIONOTIFY(CapturesError, Callback):
    """Ask for one notification, as soon as there is a completion in the queue.

    Returns 0, or the error code itself. WSAEALREADY (10037): one is asked for already.
    WSAEINVAL (10022): the queue was made to be polled.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rionotify
    """

    @staticmethod
    def signature(CQ: RIO_CQ) -> INT: ...


class LPFN_RIOREGISTERBUFFER(CapturesError, Callback):
    """Register memory, and lock its pages for as long as it is registered.

    DataBuffer: its address. Few large pieces are better than many small ones.
    DataLength: its length, in bytes.

    Returns the registration, or RIO_INVALID_BUFFERID: ask last_error(). WSAEFAULT
    (10014), WSAEINVAL (10022): the length is 0.

    Lifetime: the memory, until it is deregistered and no request is outstanding.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioregisterbuffer
    """

    @staticmethod
    def signature(DataBuffer: PCHAR, DataLength: DWORD) -> RIO_BUFFERID: ...


class LPFN_RIORESIZECOMPLETIONQUEUE(CapturesError, Callback):
    """Give a completion queue another size.

    Returns nonzero, or 0: ask last_error(). WSAENOBUFS (10055), WSAEINVAL (10022),
    WSAETOOMANYREFS (10059): request queues count on more entries than that.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioresizecompletionqueue
    """

    @staticmethod
    def signature(CQ: RIO_CQ, QueueSize: DWORD) -> BOOL: ...


class LPFN_RIORESIZEREQUESTQUEUE(CapturesError, Callback):
    """Allow a socket another number of outstanding requests.

    Returns nonzero, or 0: ask last_error(). WSAENOBUFS (10055), WSAEINVAL (10022),
    WSAETOOMANYREFS (10059): more than that are outstanding.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_rioresizerequestqueue
    """

    @staticmethod
    def signature(RQ: RIO_RQ, MaxOutstandingReceive: DWORD, MaxOutstandingSend: DWORD) -> BOOL: ...
