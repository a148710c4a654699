"""Control codes of sockets, and the two functions that take them.

A code is made of its direction (in, out), its owner (BSD, Winsock 2, Microsoft) and a
number; they stand here as the SDK's macros compute them.
"""

from __future__ import annotations

from ..structure import Structure
from ..types import DWORD, INT, LONG, LPDWORD, LPVOID, PULONG, SOCKET, ULONG
from .library import ws2_32
from .transfer import LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE

# Of BSD, for ioctlsocket.
FIONREAD = 0x4004667F
FIONBIO = 0x8004667E
FIOASYNC = 0x8004667D
SIOCATMARK = 0x40047307

# Of Winsock 2.
SIO_ASSOCIATE_HANDLE = 0x88000001
SIO_ENABLE_CIRCULAR_QUEUEING = 0x28000002
SIO_FLUSH = 0x28000004
SIO_GET_BROADCAST_ADDRESS = 0x48000005
SIO_GET_EXTENSION_FUNCTION_POINTER = 0xC8000006
SIO_GET_QOS = 0xC8000007
SIO_MULTIPOINT_LOOPBACK = 0x88000009
SIO_MULTICAST_SCOPE = 0x8800000A
SIO_SET_QOS = 0x8800000B
SIO_TRANSLATE_HANDLE = 0xC800000D
SIO_ROUTING_INTERFACE_QUERY = 0xC8000014
SIO_ROUTING_INTERFACE_CHANGE = 0x88000015
SIO_ADDRESS_LIST_QUERY = 0x48000016
SIO_ADDRESS_LIST_CHANGE = 0x28000017
SIO_QUERY_TARGET_PNP_HANDLE = 0x48000018
SIO_ADDRESS_LIST_SORT = 0xC8000019
SIO_BSP_HANDLE = 0x4800001B
SIO_BSP_HANDLE_SELECT = 0x4800001C
SIO_BSP_HANDLE_POLL = 0x4800001D
SIO_BASE_HANDLE = 0x48000022
SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER = 0xC8000024

# Of Microsoft's TCP/IP provider.
SIO_RCVALL = 0x98000001
SIO_RCVALL_MCAST = 0x98000002
SIO_RCVALL_IGMPMCAST = 0x98000003
SIO_KEEPALIVE_VALS = 0x98000004
SIO_UDP_CONNRESET = 0x9800000C
SIO_UDP_NETRESET = 0x9800000F
SIO_LOOPBACK_FAST_PATH = 0x98000010
SIO_TCP_INITIAL_RTO = 0x98000011
SIO_CPU_AFFINITY = 0x98000015
SIO_TCP_SET_ICW = 0x98000016
SIO_TCP_SET_ACK_FREQUENCY = 0x98000017
SIO_TCP_INFO = 0xD8000027
SIO_ACQUIRE_PORT_RESERVATION = 0x98000064
SIO_RELEASE_PORT_RESERVATION = 0x98000065
SIO_ASSOCIATE_PORT_RESERVATION = 0x98000066
SIO_AF_UNIX_GETPEERPID = 0x58000100


class tcp_keepalive(Structure):
    """The value of SIO_KEEPALIVE_VALS: whether, after how long, and how often to probe.

    ``keepalivetime`` and ``keepaliveinterval`` are in milliseconds.

    Source: https://learn.microsoft.com/windows/win32/winsock/sio-keepalive-vals
    """

    _fields_ = (("onoff", ULONG), ("keepalivetime", ULONG), ("keepaliveinterval", ULONG))


@ws2_32(since="Windows 95")
def WSAIoctl(
    s: SOCKET,
    dwIoControlCode: DWORD,
    lpvInBuffer: LPVOID,
    cbInBuffer: DWORD,
    lpvOutBuffer: LPVOID,
    cbOutBuffer: DWORD,
    lpcbBytesReturned: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT:
    """Control a socket, or ask it something that has no function of its own.

    dwIoControlCode: one of the SIO codes.
    lpvInBuffer, cbInBuffer: what the code takes, and its size in bytes; None and 0.
    lpvOutBuffer, cbOutBuffer: room for what it gives, and its size in bytes; None and 0.
    lpcbBytesReturned: receives how many bytes it gave. Needed without an OVERLAPPED.
    lpOverlapped: None to wait for the end.
    lpCompletionRoutine: called in this thread's next alertable wait; None.

    Returns 0, or SOCKET_ERROR: ask last_error(). ERROR_IO_PENDING (997): started, only
    with lpOverlapped. WSAEFAULT (10014): a buffer is too small. WSAEINVAL (10022), and
    WSAEOPNOTSUPP (10045): the provider knows no such code.

    Lifetime: an overlapped one reads and writes both buffers until its completion.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaioctl
    """


@ws2_32(since="Windows 95")
def ioctlsocket(s: SOCKET, cmd: LONG, argp: PULONG) -> INT:
    """Control the I/O mode of a socket.

    cmd: FIONBIO sets or clears non-blocking mode, FIONREAD asks how many bytes one
        receive would give, SIOCATMARK whether out-of-band data was read.
    argp: the value, in or out.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAENOTSOCK (10038), WSAEFAULT (10014).

    Overlapped operations are the same in both modes.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-ioctlsocket
    """
