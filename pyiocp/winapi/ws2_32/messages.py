"""WSAMSG and the control messages that travel beside a datagram.

A control message (the SDK's "ancillary data") says more about a datagram than its bytes:
the interface it came in on, its hop limit, the size of the segments to cut a send into.
Several of them lie behind one another in ``WSAMSG.Control``, each a WSACMSGHDR and its
data, each padded so that the next one is aligned. C walks over them with macros; those
are functions here, of the same names.
"""

from __future__ import annotations

import ctypes

from ..structure import Structure
from ..types import DWORD, INT, SIZE_T, UINT, Pointer
from .addresses import IN6_ADDR, IN_ADDR, LPSOCKADDR
from .buffers import LPWSABUF, WSABUF


class WSAMSG(Structure):
    """One message: an address, its data, its control messages, and flags.

    ``name``, ``namelen``: the peer's address, and its size or the room for it, in bytes;
    ``LPSOCKADDR(storage)`` makes the pointer. ``lpBuffers``, ``dwBufferCount``: an array
    of WSABUFs, and its length. ``Control``: room for the control messages, or those to
    send; receives the length used. ``dwFlags``: as for WSARecv, and receives MSG_TRUNC
    (the datagram was longer), MSG_CTRUNC (there were more control messages), MSG_BCAST,
    MSG_MCAST.

    Lifetime: it, and all that it points to, until the completion. ``Control`` is a copy
    of a WSABUF and keeps nothing alive: keep the one from :meth:`WSABUF.over`.

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-wsamsg
    """

    _fields_ = (
        ("name", LPSOCKADDR),
        ("namelen", INT),
        ("lpBuffers", LPWSABUF),
        ("dwBufferCount", DWORD),
        ("Control", WSABUF),
        ("dwFlags", DWORD),
    )
    _in_hexadecimal_ = ("dwFlags",)


LPWSAMSG = Pointer[WSAMSG]


class WSACMSGHDR(Structure):
    """The head of one control message; its data comes behind it, aligned.

    ``cmsg_len``: bytes of head and data, without the padding after them; ``cmsg_level``
    and ``cmsg_type``: what it is, such as IPPROTO_IP and IP_PKTINFO.

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-wsacmsghdr
    """

    _fields_ = (("cmsg_len", SIZE_T), ("cmsg_level", INT), ("cmsg_type", INT))


LPWSACMSGHDR = Pointer[WSACMSGHDR]


class IN_PKTINFO(Structure):
    """The data of IP_PKTINFO: the local address and interface of an IPv4 datagram.

    Source: https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-in_pktinfo
    """

    _fields_ = (("ipi_addr", IN_ADDR), ("ipi_ifindex", UINT))


class IN6_PKTINFO(Structure):
    """The data of IPV6_PKTINFO: the local address and interface of an IPv6 datagram.

    Source: https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-in6_pktinfo
    """

    _fields_ = (("ipi6_addr", IN6_ADDR), ("ipi6_ifindex", UINT))


_HEAD = ctypes.sizeof(WSACMSGHDR)
_HEAD_ALIGNMENT = ctypes.alignment(WSACMSGHDR)
_DATA_ALIGNMENT = ctypes.sizeof(ctypes.c_void_p)  # MAX_NATURAL_ALIGNMENT


def _aligned(length: int, alignment: int) -> int:
    return -(-length // alignment) * alignment


def WSA_CMSG_LEN(length: int) -> int:
    """Return ``cmsg_len`` of a control message with `length` bytes of data."""
    return _aligned(_HEAD, _DATA_ALIGNMENT) + length


def WSA_CMSG_SPACE(length: int) -> int:
    """Return the bytes that a control message with `length` bytes of data takes up."""
    return _aligned(_HEAD + _aligned(length, _HEAD_ALIGNMENT), _DATA_ALIGNMENT)


def WSA_CMSG_FIRSTHDR(msg: WSAMSG) -> LPWSACMSGHDR | None:
    """Return a pointer to the first control message of `msg`, or None.

    Lifetime: good as long as the memory behind ``msg.Control``.
    """
    control = msg.Control
    if control.len < _HEAD or not control.buf:
        return None
    return ctypes.cast(control.buf, LPWSACMSGHDR)


def WSA_CMSG_NXTHDR(msg: WSAMSG, cmsg: LPWSACMSGHDR | None) -> LPWSACMSGHDR | None:
    """Return a pointer to the control message after `cmsg`, or None.

    With None in place of `cmsg` it returns the first one. A ``cmsg_len`` that is too
    short to be true ends the walk, which in C would go on for ever.
    """
    if cmsg is None:
        return WSA_CMSG_FIRSTHDR(msg)
    length = cmsg.contents.cmsg_len
    here = ctypes.addressof(cmsg.contents)
    there = here + _aligned(length, _HEAD_ALIGNMENT)
    if length < _HEAD or there + _HEAD > msg.Control.buf + msg.Control.len:
        return None
    return ctypes.cast(there, LPWSACMSGHDR)


def WSA_CMSG_DATA(cmsg: LPWSACMSGHDR) -> int:
    """Return the address of a control message's data.

    ``IN_PKTINFO.from_address(…)`` reads it; ``ctypes.string_at(…, cmsg_len -
    WSA_CMSG_LEN(0))`` copies it.
    """
    return ctypes.addressof(cmsg.contents) + _aligned(_HEAD, _DATA_ALIGNMENT)
