"""Socket options: their numbers, the structures they take, and the two functions."""

from __future__ import annotations

from ..structure import Structure
from ..types import INT, LPINT, PCCH, PCHAR, SOCKET, UINT, USHORT, Pointer
from .addresses import IN6_ADDR, IN_ADDR
from .library import ws2_32

# The level of the socket itself.
SOL_SOCKET = 0xFFFF

# Options at SOL_SOCKET that BSD has too.
SO_DEBUG = 0x0001
SO_ACCEPTCONN = 0x0002
SO_REUSEADDR = 0x0004
SO_KEEPALIVE = 0x0008
SO_DONTROUTE = 0x0010
SO_BROADCAST = 0x0020
SO_USELOOPBACK = 0x0040
SO_LINGER = 0x0080
SO_OOBINLINE = 0x0100
SO_SNDBUF = 0x1001
SO_RCVBUF = 0x1002
SO_SNDLOWAT = 0x1003
SO_RCVLOWAT = 0x1004
SO_SNDTIMEO = 0x1005
SO_RCVTIMEO = 0x1006
SO_ERROR = 0x1007
SO_TYPE = 0x1008

# Options at SOL_SOCKET of Windows alone.
SO_DONTLINGER = ~SO_LINGER
SO_EXCLUSIVEADDRUSE = ~SO_REUSEADDR
SO_BSP_STATE = 0x1009
SO_GROUP_ID = 0x2001
SO_GROUP_PRIORITY = 0x2002
SO_MAX_MSG_SIZE = 0x2003
SO_PROTOCOL_INFOW = 0x2005
SO_CONDITIONAL_ACCEPT = 0x3002
SO_PAUSE_ACCEPT = 0x3003
SO_COMPARTMENT_ID = 0x3004
SO_RANDOMIZE_PORT = 0x3005
SO_PORT_SCALABILITY = 0x3006
SO_REUSE_UNICASTPORT = 0x3007
SO_REUSE_MULTICASTPORT = 0x3008

# Options at SOL_SOCKET that complete what AcceptEx and ConnectEx leave open.
SO_UPDATE_ACCEPT_CONTEXT = 0x700B
SO_CONNECT_TIME = 0x700C
SO_UPDATE_CONNECT_CONTEXT = 0x7010

# Options at IPPROTO_TCP.
TCP_NODELAY = 0x0001
TCP_EXPEDITED_1122 = 0x0002
TCP_KEEPALIVE = 3
TCP_KEEPIDLE = TCP_KEEPALIVE
TCP_MAXSEG = 4
TCP_MAXRT = 5
TCP_STDURG = 6
TCP_NOURG = 7
TCP_ATMARK = 8
TCP_NOSYNRETRIES = 9
TCP_TIMESTAMPS = 10
TCP_CONGESTION_ALGORITHM = 12
TCP_DELAY_FIN_ACK = 13
TCP_MAXRTMS = 14
TCP_FASTOPEN = 15
TCP_KEEPCNT = 16
TCP_KEEPINTVL = 17
TCP_FAIL_CONNECT_ON_ICMP_ERROR = 18
TCP_ICMP_ERROR_INFO = 19

# Options at IPPROTO_UDP.
UDP_NOCHECKSUM = 1
UDP_SEND_MSG_SIZE = 2
UDP_RECV_MAX_COALESCED_SIZE = 3
UDP_COALESCED_INFO = 3
UDP_CHECKSUM_COVERAGE = 20

# Options at IPPROTO_IP, and types of its control messages.
IP_OPTIONS = 1
IP_HDRINCL = 2
IP_TOS = 3
IP_TTL = 4
IP_MULTICAST_IF = 9
IP_MULTICAST_TTL = 10
IP_MULTICAST_LOOP = 11
IP_ADD_MEMBERSHIP = 12
IP_DROP_MEMBERSHIP = 13
IP_DONTFRAGMENT = 14
IP_ADD_SOURCE_MEMBERSHIP = 15
IP_DROP_SOURCE_MEMBERSHIP = 16
IP_BLOCK_SOURCE = 17
IP_UNBLOCK_SOURCE = 18
IP_PKTINFO = 19
IP_HOPLIMIT = 21
IP_RECVTTL = 21
IP_RECEIVE_BROADCAST = 22
IP_RECVIF = 24
IP_RECVDSTADDR = 25
IP_UNICAST_IF = 31
IP_TCLASS = 39
IP_RECVTCLASS = 40
IP_RECVTOS = 40
IP_ORIGINAL_ARRIVAL_IF = 47
IP_ECN = 50
IP_PKTINFO_EX = 51
IP_MTU_DISCOVER = 71
IP_MTU = 73
IP_RECVERR = 75
IP_USER_MTU = 76

# Options at IPPROTO_IPV6, and types of its control messages.
IPV6_HOPOPTS = 1
IPV6_HDRINCL = 2
IPV6_UNICAST_HOPS = 4
IPV6_MULTICAST_IF = 9
IPV6_MULTICAST_HOPS = 10
IPV6_MULTICAST_LOOP = 11
IPV6_ADD_MEMBERSHIP = 12
IPV6_JOIN_GROUP = IPV6_ADD_MEMBERSHIP
IPV6_DROP_MEMBERSHIP = 13
IPV6_LEAVE_GROUP = IPV6_DROP_MEMBERSHIP
IPV6_DONTFRAG = 14
IPV6_PKTINFO = 19
IPV6_HOPLIMIT = 21
IPV6_PROTECTION_LEVEL = 23
IPV6_RECVIF = 24
IPV6_RECVDSTADDR = 25
IPV6_CHECKSUM = 26
IPV6_V6ONLY = 27
IPV6_UNICAST_IF = 31
IPV6_RTHDR = 32
IPV6_TCLASS = 39
IPV6_RECVTCLASS = 40
IPV6_ECN = 50
IPV6_PKTINFO_EX = 51
IPV6_MTU_DISCOVER = 71
IPV6_MTU = 72
IPV6_RECVERR = 75
IPV6_USER_MTU = 76

# Values of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER.
IP_PMTUDISC_NOT_SET = 0
IP_PMTUDISC_DO = 1
IP_PMTUDISC_DONT = 2
IP_PMTUDISC_PROBE = 3


class LINGER(Structure):
    """The value of SO_LINGER: what closesocket does with data that is still unsent.

    ``l_onoff`` 0 (the default): closesocket returns at once and the data is sent in the
    background. 1 with ``l_linger`` 0: the data is dropped and the peer gets a reset. 1
    with ``l_linger`` seconds: closesocket blocks that long, then resets.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/ns-winsock-linger
    """

    _fields_ = (("l_onoff", USHORT), ("l_linger", USHORT))


class IP_MREQ(Structure):
    """The value of IP_ADD_MEMBERSHIP: a multicast group, and the address of an interface.

    Source: https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-ip_mreq
    """

    _fields_ = (("imr_multiaddr", IN_ADDR), ("imr_interface", IN_ADDR))


class IPV6_MREQ(Structure):
    """The value of IPV6_ADD_MEMBERSHIP: a multicast group, and the index of an interface.

    Source: https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-ipv6_mreq
    """

    _fields_ = (("ipv6mr_multiaddr", IN6_ADDR), ("ipv6mr_interface", UINT))


PIP_MREQ = Pointer[IP_MREQ]


@ws2_32(since="Windows 95")
def setsockopt(s: SOCKET, level: INT, optname: INT, optval: PCCH, optlen: INT) -> INT:
    """Set an option of a socket.

    level: SOL_SOCKET, or a protocol such as IPPROTO_TCP.
    optname: the option, at that level.
    optval: its value, read during the call: ``byref(DWORD(1))``, a structure by
        reference, or bytes.
    optlen: the value's size, in bytes.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAEFAULT (10014): optlen is too
    small. WSAEINVAL (10022): a value or a moment that does not fit. WSAENOPROTOOPT
    (10042): the provider knows no such option. WSAENOTCONN (10057), WSAENOTSOCK (10038).

    After AcceptEx: SO_UPDATE_ACCEPT_CONTEXT with the listening SOCKET as value; after
    ConnectEx: SO_UPDATE_CONNECT_CONTEXT with None and 0. Until then shutdown,
    getpeername and getsockname fail on the socket with WSAENOTCONN.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-setsockopt
    """


@ws2_32(since="Windows 95")
def getsockopt(s: SOCKET, level: INT, optname: INT, optval: PCHAR, optlen: LPINT) -> INT:
    """Read an option of a socket.

    level, optname: as for setsockopt.
    optval: receives the value.
    optlen: the size of the room at optval, in bytes; receives the size of the value.

    Returns 0, or SOCKET_ERROR: ask last_error(). WSAEFAULT (10014): the room is too
    small. WSAENOPROTOOPT (10042): the provider knows no such option. WSAENOTSOCK (10038).

    SO_ERROR reads and clears a socket's pending error. SO_CONNECT_TIME gives the seconds
    since the connection, 0xFFFFFFFF while there is none, also on a socket that AcceptEx
    is still filling: it shows a client that connects and never sends.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/nf-winsock-getsockopt
    """
