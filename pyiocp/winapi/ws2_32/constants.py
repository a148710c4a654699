"""Winsock's constants that belong to no single function: kinds of sockets and flags.

Address families stand beside the structures (addresses.py), options in options.py,
control codes in ioctls.py, events and poll flags with their functions.
"""

from __future__ import annotations

from ..types import SOCKET

# What functions return that give a socket, and those that return an int, when they fail.
INVALID_SOCKET: int = SOCKET(-1).value
SOCKET_ERROR = -1

# Socket types.
SOCK_STREAM = 1
SOCK_DGRAM = 2
SOCK_RAW = 3
SOCK_RDM = 4
SOCK_SEQPACKET = 5

# Protocols, which are also the levels of their options.
IPPROTO_IP = 0
IPPROTO_ICMP = 1
IPPROTO_IGMP = 2
IPPROTO_TCP = 6
IPPROTO_UDP = 17
IPPROTO_IPV6 = 41
IPPROTO_ICMPV6 = 58
IPPROTO_RAW = 255

# Flags of WSASocketW.
WSA_FLAG_OVERLAPPED = 0x01
WSA_FLAG_MULTIPOINT_C_ROOT = 0x02
WSA_FLAG_MULTIPOINT_C_LEAF = 0x04
WSA_FLAG_MULTIPOINT_D_ROOT = 0x08
WSA_FLAG_MULTIPOINT_D_LEAF = 0x10
WSA_FLAG_ACCESS_SYSTEM_SECURITY = 0x40
WSA_FLAG_NO_HANDLE_INHERIT = 0x80
WSA_FLAG_REGISTERED_IO = 0x100

# WSASocketW's way to say "as the WSAPROTOCOL_INFOW says".
FROM_PROTOCOL_INFO = -1

# The backlog of listen(): as many as is reasonable; or -n, a hint of n (Windows 8).
SOMAXCONN = 0x7FFFFFFF

# What shutdown() ends.
SD_RECEIVE = 0x00
SD_SEND = 0x01
SD_BOTH = 0x02

# Flags of a receive or send, in and out.
MSG_OOB = 0x1
MSG_PEEK = 0x2
MSG_DONTROUTE = 0x4
MSG_WAITALL = 0x8
MSG_INTERRUPT = 0x10
MSG_PUSH_IMMEDIATE = 0x20
MSG_TRUNC = 0x0100
MSG_CTRUNC = 0x0200
MSG_BCAST = 0x0400
MSG_MCAST = 0x0800
MSG_ERRQUEUE = 0x1000
MSG_PARTIAL = 0x8000
