"""Making and ending connections without waiting: AcceptEx, ConnectEx, DisconnectEx."""

from __future__ import annotations

from ..extension import extension
from ..overlapped import LPOVERLAPPED
from ..types import (
    BOOL,
    DWORD,
    INT,
    LPDWORD,
    LPINT,
    PVOID,
    SOCKET,
    ConstPointer,
    Pointer,
)
from ..ws2_32.addresses import LPSOCKADDR, SOCKADDR
from ..ws2_32.guid import GUID

# The names of the functions.
WSAID_ACCEPTEX = GUID.of("b5367df1-cbac-11cf-95ca-00805f48a192")
WSAID_GETACCEPTEXSOCKADDRS = GUID.of("b5367df2-cbac-11cf-95ca-00805f48a192")
WSAID_CONNECTEX = GUID.of("25a207b9-ddf3-4660-8ee9-76e58c74063e")
WSAID_DISCONNECTEX = GUID.of("7fda2e11-8630-436f-a031-f536a6eec157")

# Flags of DisconnectEx, TransmitFile and TransmitPackets.
TF_DISCONNECT = 0x01
TF_REUSE_SOCKET = 0x02
TF_WRITE_BEHIND = 0x04
TF_USE_DEFAULT_WORKER = 0x00
TF_USE_SYSTEM_THREAD = 0x10
TF_USE_KERNEL_APC = 0x20
DE_REUSE_SOCKET = TF_REUSE_SOCKET


@extension(WSAID_ACCEPTEX, since="Windows NT 4.0")
def AcceptEx(
    sListenSocket: SOCKET,
    sAcceptSocket: SOCKET,
    lpOutputBuffer: PVOID,
    dwReceiveDataLength: DWORD,
    dwLocalAddressLength: DWORD,
    dwRemoteAddressLength: DWORD,
    lpdwBytesReceived: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Take the next connection of a listening socket into a socket made beforehand.

    sListenSocket: the listening socket, on the port if a packet shall tell.
    sAcceptSocket: a socket of the same family and type, neither bound nor connected.
    lpOutputBuffer: receives the first data, the local and the remote address, one after
        the other.
    dwReceiveDataLength: bytes at its start for the first data; with 0 the operation ends
        as soon as a client connects, else only when it has sent something.
    dwLocalAddressLength, dwRemoteAddressLength: bytes for each address: 16 more than the
        longest of the protocol, so 32 for IPv4 and 44 for IPv6.
    lpdwBytesReceived: receives the number of bytes of first data if the call completes
        on the spot; None.
    lpOverlapped: the operation.

    Returns nonzero when done on the spot, else 0: ask last_error(). ERROR_IO_PENDING
    (997): started. WSAECONNRESET (10054), or as a completion ERROR_NETNAME_DELETED (64):
    this client went away while it waited; close sAcceptSocket and take the next.
    WSAEINVAL (10022): sListenSocket does not listen, or sAcceptSocket is in use.

    Afterwards setsockopt(SO_UPDATE_ACCEPT_CONTEXT) makes sAcceptSocket a full socket,
    and GetAcceptExSockaddrs reads the addresses.

    Lifetime: both sockets, the buffer and the OVERLAPPED until the completion. A client
    that connects and never sends keeps an AcceptEx with room for data; SO_CONNECT_TIME
    of sAcceptSocket shows it.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex
    """


@extension(WSAID_GETACCEPTEXSOCKADDRS, since="Windows NT 4.0", takes_socket=False)
def GetAcceptExSockaddrs(
    lpOutputBuffer: PVOID,
    dwReceiveDataLength: DWORD,
    dwLocalAddressLength: DWORD,
    dwRemoteAddressLength: DWORD,
    LocalSockaddr: Pointer[LPSOCKADDR],
    LocalSockaddrLength: LPINT,
    RemoteSockaddr: Pointer[LPSOCKADDR],
    RemoteSockaddrLength: LPINT,
) -> None:
    """Find the two addresses in the buffer that AcceptEx has filled.

    lpOutputBuffer and the three lengths: as they were given to AcceptEx.
    LocalSockaddr, RemoteSockaddr: each receives a pointer into the buffer;
        ``address_of()`` reads it.
    LocalSockaddrLength, RemoteSockaddrLength: receive the sizes, in bytes.

    It cannot fail. None of its arguments is a socket: a direct call uses the function of
    the usual IPv4 provider; ``GetAcceptExSockaddrs.on(sListenSocket)`` is that of the
    listening socket's own.

    Lifetime: the pointers are good as long as the buffer.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-getacceptexsockaddrs
    """


@extension(WSAID_CONNECTEX, since="Windows XP")
def ConnectEx(
    s: SOCKET,
    name: ConstPointer[SOCKADDR],
    namelen: INT,
    lpSendBuffer: PVOID,
    dwSendDataLength: DWORD,
    lpdwBytesSent: LPDWORD,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL:
    """Connect a bound stream socket, and send first data with it if wanted.

    s: a stream socket that is bound (to the wildcard address and port 0, as a rule) and
        not connected.
    name, namelen: the peer's address, and its size in bytes; read during the call.
    lpSendBuffer, dwSendDataLength: the first data, and how many bytes of it; None and 0.
    lpdwBytesSent: receives the number of bytes sent if the call completes on the spot;
        None.
    lpOverlapped: the operation.

    Returns nonzero when done on the spot, else 0: ask last_error(). ERROR_IO_PENDING
    (997): started. WSAEINVAL (10022): not bound. WSAECONNREFUSED (10061) and
    WSAETIMEDOUT (10060), as completions ERROR_CONNECTION_REFUSED (1225) and
    ERROR_SEM_TIMEOUT (121): try again on a socket that is bound anew. WSAEISCONN (10056),
    WSAEADDRINUSE (10048): the pair of addresses is in use.

    Afterwards setsockopt(SO_UPDATE_CONNECT_CONTEXT) makes it a full socket: shutdown,
    getpeername and getsockname fail before.

    Lifetime: the send buffer and the OVERLAPPED until the completion.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_connectex
    """


@extension(WSAID_DISCONNECTEX, since="Windows XP")
def DisconnectEx(s: SOCKET, lpOverlapped: LPOVERLAPPED, dwFlags: DWORD, dwReserved: DWORD) -> BOOL:
    """Disconnect a stream socket gracefully, and make it ready for a new connection.

    lpOverlapped: the operation; None to wait in the call.
    dwFlags: TF_REUSE_SOCKET to pass the socket to AcceptEx or ConnectEx once more; 0.
    dwReserved: 0.

    Returns nonzero when done on the spot, else 0: ask last_error(). ERROR_IO_PENDING
    (997): started. WSAEFAULT (10014), WSAEINVAL (10022), WSAENOTCONN (10057).

    With TF_REUSE_SOCKET the operation ends only when TCP lets the pair of addresses go,
    which the side that closed first waits for (TIME_WAIT, up to 4 minutes). Received data
    that nobody read makes it a reset. The socket stays on its port, with the same key.

    Lifetime: the OVERLAPPED until the completion, and no reuse before it.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nc-mswsock-lpfn_disconnectex
    """
