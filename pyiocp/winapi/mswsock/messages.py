"""Datagrams with control messages: WSARecvMsg and WSASendMsg."""

from __future__ import annotations

from ..extension import extension
from ..types import DWORD, INT, LPDWORD, SOCKET
from ..ws2_32.guid import GUID
from ..ws2_32.messages import LPWSAMSG
from ..ws2_32.transfer import LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE

# The names of the functions.
WSAID_WSARECVMSG = GUID.of("f689d7c8-6f1f-436b-8a53-e54fe351c322")
WSAID_WSASENDMSG = GUID.of("a441e712-754f-43ca-84a7-0dee44cf606d")


@extension(WSAID_WSARECVMSG, since="Windows XP")
def WSARecvMsg(
    s: SOCKET,
    lpMsg: LPWSAMSG,
    lpdwNumberOfBytesRecvd: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Receive a datagram, its sender's address and its control messages.

    s: a bound datagram or raw socket, with an option such as IP_PKTINFO set for each kind
        of control message wanted.
    lpMsg: in, room for all of it, and MSG_PEEK or 0 as flags; receives it.
    lpdwNumberOfBytesRecvd: receives the number of bytes if the call completes on the
        spot. Pass None with lpOverlapped.
    lpOverlapped: the operation; None to wait in the call.
    lpCompletionRoutine: called in this thread's next alertable wait; None.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSA_IO_PENDING (997): started.
    WSAEMSGSIZE (10040): the datagram or its control messages were longer than the room;
    MSG_TRUNC or MSG_CTRUNC in dwFlags says which. WSAECONNRESET (10054): an earlier send
    was answered by "port unreachable". WSAEINVAL (10022): not bound.

    Lifetime: the WSAMSG and all that it points to, and the OVERLAPPED, until the
    completion.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_wsarecvmsg
    """


@extension(WSAID_WSASENDMSG, since="Windows Vista")
def WSASendMsg(
    s: SOCKET,
    lpMsg: LPWSAMSG,
    dwFlags: DWORD,
    lpNumberOfBytesSent: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Send a datagram with control messages.

    s: a datagram or raw socket.
    lpMsg: the receiver's address, the data and the control messages; its flags are not
        used.
    dwFlags: MSG_DONTROUTE or 0.
    lpNumberOfBytesSent: receives the number of bytes if the call completes on the spot.
        Pass None with lpOverlapped.
    lpOverlapped: the operation; None to wait in the call.
    lpCompletionRoutine: called in this thread's next alertable wait; None.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSA_IO_PENDING (997): started.
    WSAEMSGSIZE (10040): longer than a datagram can be. WSAEINVAL (10022): a control
    message that does not fit. WSAENOBUFS (10055), WSAENETUNREACH (10051).

    A control message UDP_SEND_MSG_SIZE (Windows 10 2004) has one call send many datagrams
    of that size.

    Lifetime: the WSAMSG and all that it points to, and the OVERLAPPED, until the
    completion.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasendmsg
    """
