"""Sending and receiving with overlapped I/O, and asking for the result; recvfrom and sendto.

The three outcomes of every overlapped call here:

- 0: done on the spot. A packet is queued to the port all the same, unless the handle has
  FILE_SKIP_COMPLETION_PORT_ON_SUCCESS.
- SOCKET_ERROR and last_error() is WSA_IO_PENDING: a packet will come.
- SOCKET_ERROR and anything else: it was never started, and no packet comes.
"""

from __future__ import annotations

from ..binding import Callback
from ..overlapped import LPOVERLAPPED, OVERLAPPED
from ..types import BOOL, DWORD, INT, LPDWORD, LPINT, PCCH, PCHAR, SOCKET, ConstPointer
from .addresses import LPSOCKADDR, SOCKADDR
from .buffers import LPWSABUF
from .library import ws2_32

WSAOVERLAPPED = OVERLAPPED
LPWSAOVERLAPPED = LPOVERLAPPED


class LPWSAOVERLAPPED_COMPLETION_ROUTINE(Callback):
    """What Windows calls when an overlapped operation ends, instead of queueing a packet.

    It runs in the thread that started the operation, inside that thread's next alertable
    wait (SleepEx, WSAWaitForMultipleEvents …). A socket on a completion port cannot use
    it: the call fails with WSAEINVAL.

    dwError: the Winsock error code, 0 for success.
    cbTransferred: how many bytes were moved.
    lpOverlapped: the OVERLAPPED of the call.
    dwFlags: the flags that a receive would have stored.

    Lifetime: keep the instance until it has been called.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nc-winsock2-lpwsaoverlapped_completion_routine
    """

    @staticmethod
    def signature(
        dwError: DWORD, cbTransferred: DWORD, lpOverlapped: LPWSAOVERLAPPED, dwFlags: DWORD
    ) -> None: ...


@ws2_32(since="Windows 95")
def WSARecv(
    s: SOCKET,
    lpBuffers: LPWSABUF,
    dwBufferCount: DWORD,
    lpNumberOfBytesRecvd: LPDWORD,
    lpFlags: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Receive from a connected socket, or a bound one without asking who sent.

    s: a socket made for overlapped I/O; those of Python's socket module are.
    lpBuffers, dwBufferCount: an array of WSABUFs, filled in order, and its length.
    lpNumberOfBytesRecvd: receives the number of bytes if the call completes on the spot.
        Pass None with lpOverlapped: what it holds then is of no use.
    lpFlags: in, MSG_PEEK, MSG_OOB, MSG_WAITALL, MSG_PARTIAL, MSG_PUSH_IMMEDIATE or 0;
        receives flags such as MSG_PARTIAL if the call completes on the spot.
    lpOverlapped: the operation; None to wait in the call.
    lpCompletionRoutine: called in this thread's next alertable wait; None.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSA_IO_PENDING (997): started.
    WSAECONNABORTED (10053), WSAECONNRESET (10054), WSAENETRESET (10052), WSAESHUTDOWN
    (10058), WSAENOTCONN (10057). WSAENOBUFS (10055): no more memory can be locked.
    WSAEMSGSIZE (10040): the datagram was longer, the rest is lost. WSAEWOULDBLOCK
    (10035): too many operations are outstanding, or, without lpOverlapped, no data.

    Success with 0 bytes is the end of the stream, if the buffers had room. With one
    buffer of length 0 a stream socket completes when data has come, and keeps it; on a
    datagram socket that destroys the datagram.

    Lifetime: the memory of the buffers and the OVERLAPPED belong to the kernel until the
    completion; the WSABUFs and lpFlags only during the call. Any thread may call this;
    if the calling thread ends, its pending operations are cancelled unless the socket is
    on a port. Receives started from several threads at once complete in an order of
    their own.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv
    """


@ws2_32(since="Windows 95")
def WSASend(
    s: SOCKET,
    lpBuffers: LPWSABUF,
    dwBufferCount: DWORD,
    lpNumberOfBytesSent: LPDWORD,
    dwFlags: DWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Send on a connected socket.

    lpBuffers, dwBufferCount: an array of WSABUFs, sent in order, and its length.
    lpNumberOfBytesSent: receives the number of bytes if the call completes on the spot.
        Pass None with lpOverlapped.
    dwFlags: MSG_DONTROUTE, MSG_PARTIAL, MSG_OOB or 0.
    lpOverlapped: the operation; None to wait in the call.
    lpCompletionRoutine: called in this thread's next alertable wait; None.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSA_IO_PENDING (997): started.
    WSAECONNABORTED (10053), WSAECONNRESET (10054), WSAESHUTDOWN (10058), WSAENOTCONN
    (10057). WSAENOBUFS (10055): no more memory can be locked. WSAEWOULDBLOCK (10035):
    too many operations are outstanding. WSAEMSGSIZE (10040): longer than a datagram.

    Success means that the provider has the data, not that the peer has it. An overlapped
    send on a stream socket sends all or fails. Do not send on one stream socket from two
    threads at once: the parts may interleave.

    Lifetime: the memory of the buffers and the OVERLAPPED belong to the kernel until the
    completion; the WSABUFs only during the call.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasend
    """


@ws2_32(since="Windows 95")
def WSARecvFrom(
    s: SOCKET,
    lpBuffers: LPWSABUF,
    dwBufferCount: DWORD,
    lpNumberOfBytesRecvd: LPDWORD,
    lpFlags: LPDWORD,
    lpFrom: LPSOCKADDR,
    lpFromlen: LPINT,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Receive a datagram and the address of its sender.

    lpFrom: receives the address: a SOCKADDR_STORAGE fits all; None.
    lpFromlen: the size of that room, in bytes; receives the size of the address.
    The other parameters are those of WSARecv.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSA_IO_PENDING (997): started.
    WSAEMSGSIZE (10040): the datagram was longer than the buffers, which are full; the
    rest is lost. WSAECONNRESET (10054): an earlier send was answered by "port
    unreachable"; nothing is wrong with this socket (SIO_UDP_CONNRESET turns it off).
    WSAEINVAL (10022): the socket is not bound.

    Lifetime: the buffers' memory, the OVERLAPPED, and also lpFrom and lpFromlen belong to
    the kernel until the completion. The WSABUFs and lpFlags only during the call.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecvfrom
    """


@ws2_32(since="Windows 95")
def WSASendTo(
    s: SOCKET,
    lpBuffers: LPWSABUF,
    dwBufferCount: DWORD,
    lpNumberOfBytesSent: LPDWORD,
    dwFlags: DWORD,
    lpTo: ConstPointer[SOCKADDR],
    iTolen: INT,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Send a datagram to an address.

    lpBuffers, dwBufferCount: WSABUFs that together make one datagram, and their number.
    lpTo, iTolen: the receiver's address, and its size in bytes; read during the call.
    The other parameters are those of WSASend.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSA_IO_PENDING (997): started.
    WSAEMSGSIZE (10040): longer than a datagram can be. WSAEACCES (10013): a broadcast
    address without SO_BROADCAST. WSAENOBUFS (10055), WSAENETUNREACH (10051),
    WSAEADDRNOTAVAIL (10049), WSAEWOULDBLOCK (10035).

    An unbound socket is bound to a free port by its first send.

    Lifetime: the memory of the buffers and the OVERLAPPED belong to the kernel until the
    completion; the WSABUFs and lpTo only during the call.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasendto
    """


@ws2_32(since="Windows 95")
def recvfrom(s: SOCKET, buf: PCHAR, len: INT, flags: INT, from_: LPSOCKADDR, fromlen: LPINT) -> INT:
    """Receive a datagram and its sender's address, without an OVERLAPPED.

    buf, len: room for the datagram, and its size in bytes.
    flags: 0, or MSG_PEEK.
    from_, fromlen: room for the address and, before the call, its size in bytes.

    Returns how many bytes were received, 0 for an empty datagram, or SOCKET_ERROR: ask
    last_error(). WSAEWOULDBLOCK (10035): the socket is non-blocking and nothing is there; a
    blocking one waits. WSAEMSGSIZE (10040): the datagram was longer, and the rest of it is
    lost. WSAECONNRESET (10054): an earlier send met a closed port. No packet is queued.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-recvfrom
    """


@ws2_32(since="Windows 95")
def send(s: SOCKET, buf: PCCH, len: INT, flags: INT) -> INT:
    """Send on a connected socket, without an OVERLAPPED: when it returns, it is over.

    buf, len: what to send, and its size in bytes; read during the call only.

    Returns how many bytes the system has taken, perhaps not all, or SOCKET_ERROR: ask
    last_error(). WSAEWOULDBLOCK (10035): the socket is non-blocking and its buffer is full; a
    blocking one waits until all is taken. WSAECONNRESET (10054), WSAECONNABORTED (10053),
    WSAENOTCONN (10057), WSAESHUTDOWN (10058), WSAENOBUFS (10055). No packet is queued to a port.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-send
    """


@ws2_32(since="Windows 95")
def sendto(
    s: SOCKET, buf: PCCH, len: INT, flags: INT, to: ConstPointer[SOCKADDR], tolen: INT
) -> INT:
    """Send a datagram to an address, without an OVERLAPPED: when it returns, it is over.

    buf, len: the datagram and its size in bytes; read during the call only.
    to, tolen: the receiver's address, and its size in bytes; likewise.

    Returns how many bytes were sent, or SOCKET_ERROR: ask last_error(). WSAEWOULDBLOCK
    (10035): the socket is non-blocking and its buffer is full; a blocking one waits. The
    other codes are those of WSASendTo. No packet is queued to a port, whatever happens.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-sendto
    """


@ws2_32(since="Windows 95")
def WSARecvDisconnect(s: SOCKET, lpInboundDisconnectData: LPWSABUF) -> INT:
    """End receiving on a socket, as shutdown(SD_RECEIVE) does.

    lpInboundDisconnectData: room for data that came with the disconnection. TCP/IP has
        no such thing: pass None.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOPROTOOPT (10042): disconnection
    data was asked of a protocol without it. WSAENOTCONN (10057).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecvdisconnect
    """


@ws2_32(since="Windows 95")
def WSASendDisconnect(s: SOCKET, lpOutboundDisconnectData: LPWSABUF) -> INT:
    """End sending on a socket, as shutdown(SD_SEND) does.

    lpOutboundDisconnectData: data to go with the disconnection. TCP/IP has no such
        thing: pass None.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOPROTOOPT (10042): disconnection
    data was given to a protocol without it. WSAENOTCONN (10057).

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasenddisconnect
    """


@ws2_32(since="Windows 95")
def WSAGetOverlappedResult(
    s: SOCKET, lpOverlapped: LPWSAOVERLAPPED, lpcbTransfer: LPDWORD, fWait: BOOL, lpdwFlags: LPDWORD
) -> BOOL:
    """Return the result of an overlapped operation on a socket.

    lpOverlapped: the OVERLAPPED of the operation.
    lpcbTransfer: receives the number of bytes.
    fWait: whether to wait for the end. It waits for the OVERLAPPED's hEvent or, without
        one, for the socket, which any other operation on it signals as well.
    lpdwFlags: receives the flags of a receive, such as MSG_PARTIAL. Not optional.

    Returns nonzero if the operation succeeded, else 0: ask last_error().
    WSA_IO_INCOMPLETE (996): it is not over. Anything else is the operation's own error,
    as a Winsock code: the packet of a port carries the Win32 one (64 there is
    WSAECONNRESET here, 1236 is WSAECONNABORTED).

    It does not take the packet from the port.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsagetoverlappedresult
    """
