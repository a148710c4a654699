"""A socket's life: making, binding, listening, connecting, accepting, closing."""

from __future__ import annotations

from ..structure import Structure
from ..types import DWORD, GROUP, INT, LPINT, SOCKET, WCHAR, ConstPointer, Pointer
from .addresses import LPSOCKADDR, SOCKADDR
from .guid import GUID
from .library import ws2_32

# The entries of WSAPROTOCOLCHAIN, and the length of a protocol's name without its NUL.
MAX_PROTOCOL_CHAIN = 7
WSAPROTOCOL_LEN = 255

# WSAPROTOCOLCHAIN.ChainLen of a provider that is not a chain.
LAYERED_PROTOCOL = 0
BASE_PROTOCOL = 1

# WSAPROTOCOL_INFOW.dwServiceFlags1: what the provider can do.
XP1_CONNECTIONLESS = 0x00000001
XP1_GUARANTEED_DELIVERY = 0x00000002
XP1_GUARANTEED_ORDER = 0x00000004
XP1_MESSAGE_ORIENTED = 0x00000008
XP1_PSEUDO_STREAM = 0x00000010
XP1_GRACEFUL_CLOSE = 0x00000020
XP1_EXPEDITED_DATA = 0x00000040
XP1_CONNECT_DATA = 0x00000080
XP1_DISCONNECT_DATA = 0x00000100
XP1_SUPPORT_BROADCAST = 0x00000200
XP1_SUPPORT_MULTIPOINT = 0x00000400
XP1_IFS_HANDLES = 0x00020000
XP1_PARTIAL_MESSAGE = 0x00040000


class WSAPROTOCOLCHAIN(Structure):
    """The catalogue entries that a layered provider goes through.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsaprotocolchain
    """

    _fields_ = (("ChainLen", INT), ("ChainEntries", DWORD * MAX_PROTOCOL_CHAIN))


class WSAPROTOCOL_INFOW(Structure):
    """One transport provider of Winsock's catalogue, or the pass to another process' socket.

    ``dwCatalogEntryId`` is the provider's number, ``ProviderId`` its name, and
    ``dwServiceFlags1`` what it can do: without XP1_IFS_HANDLES its sockets are not real
    file handles.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsaprotocol_infow
    """

    _fields_ = (
        ("dwServiceFlags1", DWORD),
        ("dwServiceFlags2", DWORD),
        ("dwServiceFlags3", DWORD),
        ("dwServiceFlags4", DWORD),
        ("dwProviderFlags", DWORD),
        ("ProviderId", GUID),
        ("dwCatalogEntryId", DWORD),
        ("ProtocolChain", WSAPROTOCOLCHAIN),
        ("iVersion", INT),
        ("iAddressFamily", INT),
        ("iMaxSockAddr", INT),
        ("iMinSockAddr", INT),
        ("iSocketType", INT),
        ("iProtocol", INT),
        ("iProtocolMaxOffset", INT),
        ("iNetworkByteOrder", INT),
        ("iSecurityScheme", INT),
        ("dwMessageSize", DWORD),
        ("dwProviderReserved", DWORD),
        ("szProtocol", WCHAR * (WSAPROTOCOL_LEN + 1)),
    )
    _in_hexadecimal_ = ("dwServiceFlags1", "dwProviderFlags")


LPWSAPROTOCOL_INFOW = Pointer[WSAPROTOCOL_INFOW]


@ws2_32(since="Windows 95")
def WSASocketW(
    af: INT, type: INT, protocol: INT, lpProtocolInfo: LPWSAPROTOCOL_INFOW, g: GROUP, dwFlags: DWORD
) -> SOCKET:
    """Create a socket.

    af: AF_INET, AF_INET6, AF_UNIX …
    type: SOCK_STREAM, SOCK_DGRAM …
    protocol: IPPROTO_TCP …, or 0 for the usual one of family and type.
    lpProtocolInfo: a provider, or what WSADuplicateSocketW filled in; None. With it the
        first three may be FROM_PROTOCOL_INFO.
    g: 0.
    dwFlags: WSA_FLAG_OVERLAPPED, without which nothing of this package works on the
        socket, WSA_FLAG_NO_HANDLE_INHERIT (Windows 7 SP1) to keep it from child
        processes, WSA_FLAG_REGISTERED_IO (Windows 8) for RIO.

    Returns the socket, or INVALID_SOCKET: ask last_error(). WSAEAFNOSUPPORT (10047): no
    such family here. WSAEPROTONOSUPPORT (10043), WSAESOCKTNOSUPPORT (10044), WSAEMFILE
    (10024), WSAENOBUFS (10055), WSAEINVAL (10022).

    Close it with closesocket. Wrap it as ``socket.socket(fileno=…)`` to hand it to Python.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw
    """


@ws2_32(since="Windows 95")
def bind(s: SOCKET, name: ConstPointer[SOCKADDR], namelen: INT) -> INT:
    """Give a socket its local address.

    name, namelen: the address, and its size in bytes. Port 0 lets the system choose one,
        which getsockname tells.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAEADDRINUSE (10048): taken.
    WSAEACCES (10013): taken exclusively (SO_EXCLUSIVEADDRUSE), or reserved.
    WSAEADDRNOTAVAIL (10049): not an address of this machine. WSAEINVAL (10022): bound
    already. WSAEFAULT (10014): namelen is too small.

    ConnectEx needs a bound socket. A server sets SO_EXCLUSIVEADDRUSE first: Windows else
    lets another process bind the same port with SO_REUSEADDR.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-bind
    """


@ws2_32(since="Windows 95")
def listen(s: SOCKET, backlog: INT) -> INT:
    """Let a bound stream socket take connections.

    backlog: how many may wait for an accept; SOMAXCONN for as many as is reasonable.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAEADDRINUSE (10048), WSAEINVAL
    (10022): not bound. WSAEISCONN (10056), WSAEOPNOTSUPP (10045): not a stream socket.

    A full backlog refuses clients with a reset.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen
    """


@ws2_32(since="Windows 95")
def connect(s: SOCKET, name: ConstPointer[SOCKADDR], namelen: INT) -> INT:
    """Connect a socket, and wait for it; ConnectEx does not wait.

    name, namelen: the peer's address, and its size in bytes.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAECONNREFUSED (10061), WSAETIMEDOUT
    (10060), WSAENETUNREACH (10051), WSAEHOSTUNREACH (10065), WSAEISCONN (10056).
    WSAEWOULDBLOCK (10035): a non-blocking socket, and the attempt goes on.

    On a datagram socket it only sets the address to send to and to receive from.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-connect
    """


@ws2_32(since="Windows 95")
def accept(s: SOCKET, addr: LPSOCKADDR, addrlen: LPINT) -> SOCKET:
    """Take a connection from a listening socket, and wait for one; AcceptEx does not wait.

    addr: receives the peer's address; None.
    addrlen: the size of the room, in bytes; receives the size of the address; None.

    Returns a new socket with the properties of `s`, or INVALID_SOCKET: ask last_error().
    WSAEWOULDBLOCK (10035): a non-blocking socket, and nobody waits. WSAECONNRESET
    (10054): the client went away while it waited. WSAEMFILE (10024), WSAENOBUFS (10055),
    WSAEINVAL (10022): not listening.

    The new socket does not inherit the listening socket's completion port.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-accept
    """


@ws2_32(since="Windows 95")
def shutdown(s: SOCKET, how: INT) -> INT:
    """End sending, receiving or both on a socket, which stays open.

    how: SD_SEND tells the peer, after what was sent before, that no more will come;
        SD_RECEIVE makes later receives fail, and a peer that still sends gets a reset;
        SD_BOTH.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTCONN (10057): also on a socket
    from AcceptEx or ConnectEx whose context was not updated.

    It returns at once and does not wait for pending operations. To close gracefully:
    SD_SEND, receive until 0 bytes, closesocket.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-shutdown
    """


@ws2_32(since="Windows 95")
def closesocket(s: SOCKET) -> INT:
    """Close a socket; its pending operations end with WSA_OPERATION_ABORTED.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTSOCK (10038). WSAEWOULDBLOCK
    (10035): a non-blocking socket with a SO_LINGER timeout; it is still open.

    The number may belong to another socket the moment this returns. The pending
    operations' packets still come, after it, and until then their memory is the
    kernel's. Data not yet sent is sent in the background unless SO_LINGER says otherwise.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-closesocket
    """


@ws2_32(since="Windows 95")
def getsockname(s: SOCKET, name: LPSOCKADDR, namelen: LPINT) -> INT:
    """Tell a socket's local address.

    name: receives it: a SOCKADDR_STORAGE fits all.
    namelen: the size of the room, in bytes; receives the size of the address.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAEINVAL (10022): not bound. WSAEFAULT
    (10014): not enough room.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockname
    """


@ws2_32(since="Windows 95")
def getpeername(s: SOCKET, name: LPSOCKADDR, namelen: LPINT) -> INT:
    """Tell the address of the peer of a connected socket.

    name: receives it: a SOCKADDR_STORAGE fits all.
    namelen: the size of the room, in bytes; receives the size of the address.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTCONN (10057): not connected, or
    from AcceptEx or ConnectEx without an updated context. WSAEFAULT (10014).

    Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getpeername
    """


@ws2_32(since="Windows 95")
def WSADuplicateSocketW(s: SOCKET, dwProcessId: DWORD, lpProtocolInfo: LPWSAPROTOCOL_INFOW) -> INT:
    """Fill in a pass with which one other process can open the same socket.

    dwProcessId: that process; it must be running.
    lpProtocolInfo: receives the pass, good for one WSASocketW there, with
        FROM_PROTOCOL_INFO three times.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTSOCK (10038), WSAEINVAL (10022):
    no such process. WSAEMFILE (10024), WSAENOBUFS (10055).

    Both descriptors are one socket: options and the completion port, with its key, are
    shared. It lives until both are closed.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw
    """
