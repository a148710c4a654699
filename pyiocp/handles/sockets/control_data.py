"""ControlData: what is sent or received with a datagram, besides its bytes.

That is the address that a datagram was sent to and the interface that it came in on, its
congestion mark (ECN), and the size of datagrams that are sent or received as one. In the kernel's
layout these are control messages, one after the other, each with a level, a type and some bytes.
"""

from __future__ import annotations

import ctypes
import enum
import ipaddress
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...winapi import (
    AF_INET,
    AF_INET6,
    IN6_ADDR,
    IN6_PKTINFO,
    IN_ADDR,
    IN_PKTINFO,
    IP_ECN,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_ECN,
    IPV6_PKTINFO,
    UDP_COALESCED_INFO,
    UDP_SEND_MSG_SIZE,
    WSA_CMSG_DATA,
    WSA_CMSG_FIRSTHDR,
    WSA_CMSG_LEN,
    WSA_CMSG_NXTHDR,
    WSA_CMSG_SPACE,
    WSACMSGHDR,
    WSAMSG,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WORD = 8
"""What the kernel aligns control messages to, in bytes."""

_INTERFACE_MAX = 0xFFFFFFFF
_SEGMENT_MAX = 0xFFFF


class Ecn(enum.IntEnum):
    """The congestion mark of a datagram, two bits of its IP header (RFC 3168); a plain value."""

    NOT_CAPABLE = 0
    """The sender does not take part: a congested router drops."""
    CAPABLE_1 = 1
    CAPABLE_0 = 2
    """The sender takes part: a congested router marks instead of dropping."""
    CONGESTED = 3
    """A router on the way was congested."""


class ControlMessage(NamedTuple):
    """One control message as it is: for what `ControlData` has no name for.

    ``level`` and ``type`` are numbers such as ``IPPROTO_IP`` and ``IP_TTL``. A plain value.
    """

    level: int
    type: int
    data: bytes


@dataclass(frozen=True)
class ControlData:
    """The control messages that came with a datagram, and what is known to be in them.

    ``destination`` is the address that it was sent to, as text, and ``interface`` the
    index of the interface that it came in on; ``ecn`` its congestion mark;
    ``segment_size`` the bytes of each datagram if several came as one (the last may be
    shorter). Each is None if the socket was not told to report it, or has nothing to say.
    ``messages`` has all of them. A plain value, which any thread may read.
    """

    messages: tuple[ControlMessage, ...] = ()
    destination: str | None = None
    interface: int | None = None
    ecn: Ecn | None = None
    segment_size: int | None = None

    @classmethod
    def of(cls, raw: bytes) -> ControlData:
        """Return what the kernel's bytes say; what is damaged or cut off is left out."""
        messages = tuple(_messages(raw))
        known: dict[str, Any] = {}
        for level, kind, data in messages:
            if (level, kind) == (IPPROTO_IP, IP_PKTINFO):
                _read_packet_info(known, data, IN_PKTINFO)
            elif (level, kind) == (IPPROTO_IPV6, IPV6_PKTINFO):
                _read_packet_info(known, data, IN6_PKTINFO)
            elif (level, kind) in ((IPPROTO_IP, IP_ECN), (IPPROTO_IPV6, IPV6_ECN)):
                known["ecn"] = Ecn(_number_in(data) & 3)
            elif (level, kind) == (IPPROTO_UDP, UDP_COALESCED_INFO):
                known["segment_size"] = _number_in(data)
        return cls(messages, **known)


def packet_info(family: int, source: str | None, interface: int | None) -> ControlMessage:
    """Return the message to send a datagram from an address, and out of an interface.

    Raises ValueError for a source that is not a numeric address of the family.
    """
    index = _checked("interface", interface or 0, 0, _INTERFACE_MAX)
    information: IN_PKTINFO | IN6_PKTINFO
    if family == AF_INET6:
        information = IN6_PKTINFO(IN6_ADDR.of(source or "::"), index)
        return ControlMessage(IPPROTO_IPV6, IPV6_PKTINFO, bytes(information))
    information = IN_PKTINFO(IN_ADDR.of(source or "0.0.0.0"), index)
    return ControlMessage(IPPROTO_IP, IP_PKTINFO, bytes(information))


def congestion_mark(family: int, ecn: int) -> ControlMessage:
    """Return the message that marks a datagram.

    Raises ValueError for a mark that a sender may not set: ``CONGESTED`` is a router's.
    """
    mark = _checked("ecn", ecn, Ecn.NOT_CAPABLE, Ecn.CAPABLE_0)
    data = bytes(ctypes.c_int32(mark))
    if family == AF_INET6:
        return ControlMessage(IPPROTO_IPV6, IPV6_ECN, data)
    return ControlMessage(IPPROTO_IP, IP_ECN, data)


def segmentation(size: int) -> ControlMessage:
    """Return the message that cuts what is sent into datagrams of `size` bytes each."""
    checked = _checked("segment_size", size, 1, _SEGMENT_MAX)
    return ControlMessage(IPPROTO_UDP, UDP_SEND_MSG_SIZE, bytes(ctypes.c_uint32(checked)))


def packed(messages: Sequence[ControlMessage]) -> ctypes.Array[Any]:
    """Return control messages in the kernel's layout, one after the other."""
    memory = control_room(sum(WSA_CMSG_SPACE(len(message.data)) for message in messages))
    at = 0
    for level, kind, data in messages:
        header = WSACMSGHDR.from_buffer(memory, at)
        header.cmsg_len, header.cmsg_level, header.cmsg_type = WSA_CMSG_LEN(len(data)), level, kind
        ctypes.memmove(WSA_CMSG_DATA(ctypes.pointer(header)), data, len(data))
        at += WSA_CMSG_SPACE(len(data))
    return memory


def control_room(size: int) -> ctypes.Array[Any]:
    """Return `size` bytes of memory, or a few more, aligned as the kernel requires."""
    return (ctypes.c_uint64 * -(-size // _WORD))()


def interface_address(family: int, interface: str | int | None) -> bytes:
    """Return an interface as multicast options take it: an address of it, or its index.

    family: AF_INET: an IPv4 address of the interface, or its index; AF_INET6: its index.
    None leaves the choice to the system.

    Raises TypeError for an address over IPv6, ValueError for an invalid one.
    """
    if family == AF_INET and isinstance(interface, str):
        return bytes(IN_ADDR.of(interface))
    if isinstance(interface, str):
        raise TypeError(f"an IPv6 interface is the number of its index, not {interface!r}")
    if family == AF_INET6:
        index = _checked("interface", interface or 0, 0, _INTERFACE_MAX)
        return bytes(ctypes.c_uint32(index))
    # Addresses 0.x.x.x are indexes: https://learn.microsoft.com/windows/win32/winsock/ipproto-ip-socket-options
    return _checked("interface", interface or 0, 0, 0xFFFFFF).to_bytes(4, "big")


def group_address(family: int, group: str) -> bytes:
    """Return a multicast group's address; ValueError for other addresses."""
    address = IN_ADDR.of(group) if family == AF_INET else IN6_ADDR.of(group)
    if not ipaddress.ip_address(group).is_multicast:
        raise ValueError(f"{group} is not the address of a multicast group")
    return bytes(address)


def _messages(raw: bytes) -> Iterator[ControlMessage]:
    # Lifetime: the walk reads `memory`, which lives as long as this generator's frame.
    memory = (ctypes.c_char * len(raw)).from_buffer_copy(raw)
    message = WSAMSG()
    message.Control.buf, message.Control.len = ctypes.addressof(memory), len(raw)
    end = ctypes.addressof(memory) + len(raw)
    header = WSA_CMSG_FIRSTHDR(message)
    while header is not None:
        start = WSA_CMSG_DATA(header)
        length = min(header.contents.cmsg_len - WSA_CMSG_LEN(0), end - start)
        if length >= 0:
            yield ControlMessage(
                header.contents.cmsg_level,
                header.contents.cmsg_type,
                ctypes.string_at(start, length),
            )
        header = WSA_CMSG_NXTHDR(message, header)


def _read_packet_info(
    known: dict[str, Any], data: bytes, structure: type[IN_PKTINFO | IN6_PKTINFO]
) -> None:
    if len(data) < ctypes.sizeof(structure):
        return
    information = structure.from_buffer_copy(data)
    if isinstance(information, IN_PKTINFO):
        address, index = information.ipi_addr, information.ipi_ifindex
    else:
        address, index = information.ipi6_addr, information.ipi6_ifindex
    known["destination"], known["interface"] = str(address), index


def _number_in(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def _checked(what: str, value: int, least: int, most: int) -> int:
    number = operator.index(value)
    if not least <= number <= most:
        raise ValueError(f"{what} must be from {int(least)} to {int(most)}, not {number}")
    return number
