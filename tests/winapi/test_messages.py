"""Control messages lie in memory as C's macros put them, and travel beside datagrams."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, sizeof
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from win32_helpers import dequeue, on_windows
from winsock_helpers import Sockets, closing, local, pending, succeeded

from pyiocp.winapi import *
from pyiocp.winapi.ws2_32 import (
    WSA_CMSG_DATA,
    WSA_CMSG_FIRSTHDR,
    WSA_CMSG_LEN,
    WSA_CMSG_NXTHDR,
    WSA_CMSG_SPACE,
    address_of,
    sockaddr,
)

POINTER_SIZE = sizeof(ctypes.c_void_p)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Sockets that are closed when the test ends."""
    with closing() as kept:
        yield kept


class Control:
    """Memory for control messages, and the WSAMSG that has it."""

    def __init__(self, size: int) -> None:
        self.memory = (ctypes.c_uint64 * (-(-size // 8)))()  # aligned, as the kernel wants it
        self.message = WSAMSG()
        if size:
            self.message.Control.buf = ctypes.addressof(self.memory)
            self.message.Control.len = size

    def append(self, level: int, kind: int, data: bytes) -> None:
        """Put one control message behind those that are there."""
        here = 0 if not self.headers() else self.end
        header = WSACMSGHDR.from_buffer(self.memory, here)
        header.cmsg_len, header.cmsg_level, header.cmsg_type = WSA_CMSG_LEN(len(data)), level, kind
        ctypes.memmove(WSA_CMSG_DATA(ctypes.pointer(header)), data, len(data))
        self.end = here + WSA_CMSG_SPACE(len(data))

    end = 0

    def headers(self) -> list[Any]:
        """Walk over the messages that have been put here."""
        walked, header = [], WSA_CMSG_FIRSTHDR(self.message) if self.end else None
        while header is not None and ctypes.addressof(header.contents) < self._limit:
            walked.append(header)
            header = WSA_CMSG_NXTHDR(self.message, header)
        return walked

    @property
    def _limit(self) -> int:
        return ctypes.addressof(self.memory) + self.end

    def read(self) -> list[tuple[int, int, bytes]]:
        """Return level, type and data of each message."""
        return [
            (
                header.contents.cmsg_level,
                header.contents.cmsg_type,
                ctypes.string_at(WSA_CMSG_DATA(header), header.contents.cmsg_len - WSA_CMSG_LEN(0)),
            )
            for header in self.headers()
        ]


@pytest.mark.skipif(POINTER_SIZE != 8, reason="figures of 64-bit Windows")
@pytest.mark.parametrize(
    ("data", "length", "space"), [(0, 16, 16), (1, 17, 24), (4, 20, 24), (8, 24, 24), (20, 36, 40)]
)
def test_lengths_are_those_of_the_macros(data: int, length: int, space: int) -> None:
    """Head of 16 bytes, data behind it, rounded up to 8 for the space."""
    assert (length, space) == (WSA_CMSG_LEN(data), WSA_CMSG_SPACE(data))


MESSAGES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40)), max_size=5
)


@given(MESSAGES)
def test_the_walk_finds_what_was_put_there(messages: list[tuple[int, int, bytes]]) -> None:
    """Any number of messages with data of any length, each at its place."""
    control = Control(sum(WSA_CMSG_SPACE(len(data)) for _, _, data in messages))
    for message in messages:
        control.append(*message)
    assert messages == control.read()
    if messages:
        assert WSA_CMSG_NXTHDR(control.message, control.headers()[-1]) is None


def test_no_room_means_no_first_message() -> None:
    """Less than a head, or no memory at all."""
    assert WSA_CMSG_FIRSTHDR(WSAMSG()) is None
    control = Control(sizeof(WSACMSGHDR) - 1)
    assert WSA_CMSG_FIRSTHDR(control.message) is None
    assert WSA_CMSG_NXTHDR(control.message, None) is None


@pytest.mark.parametrize("length", [0, 1, 15, 2**31, 2**63])
def test_a_length_that_cannot_be_true_ends_the_walk(length: int) -> None:
    """Zeroed or damaged memory neither loops for ever nor leads out of the buffer."""
    control = Control(256)
    first = WSA_CMSG_FIRSTHDR(control.message)
    assert first is not None
    first.contents.cmsg_len = length
    assert WSA_CMSG_NXTHDR(control.message, first) is None


@on_windows
@pytest.mark.parametrize(
    ("family", "level", "option", "kind"),
    [
        (AF_INET, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO),
        (AF_INET6, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO),
    ],
)
def test_a_datagram_tells_the_address_that_it_was_sent_to(
    sockets: Sockets, iocp: int, family: int, level: int, option: int, kind: Any
) -> None:
    """WSASendMsg sends, WSARecvMsg brings data, sender and IP_PKTINFO, all through a port."""
    receiver, sender = (sockets.bound(family, SOCK_DGRAM) for _ in range(2))
    succeeded(setsockopt(receiver, level, option, byref(DWORD(1)), 4))
    for key, socket in ((1, receiver), (2, sender)):
        assert iocp == CreateIoCompletionPort(socket, iocp, key, 0)
    buffer, storage, control = bytearray(64), SOCKADDR_STORAGE(), Control(256)
    wsabuf, receiving = WSABUF.over(buffer), OVERLAPPED()
    message = control.message
    message.name, message.namelen = LPSOCKADDR(storage), sizeof(storage)
    message.lpBuffers, message.dwBufferCount = ctypes.pointer(wsabuf), 1
    pending(WSARecvMsg(receiver, byref(message), None, byref(receiving), None))

    to, data = sockaddr(family, local(receiver)), WSABUF.over(b"datagram", read_only=True)
    outgoing, sending = WSAMSG(), OVERLAPPED()
    outgoing.name, outgoing.namelen = LPSOCKADDR(to), sizeof(to)
    outgoing.lpBuffers, outgoing.dwBufferCount = ctypes.pointer(data), 1
    pending(WSASendMsg(sender, byref(outgoing), 0, None, byref(sending), None))

    packets = {packet.key: packet for packet in (dequeue(iocp), dequeue(iocp))}
    assert (1, 0, 8, 1, ctypes.addressof(receiving)) == packets[1]
    assert (1, 0, 8, 2, ctypes.addressof(sending)) == packets[2]
    assert (b"datagram", local(sender)) == (bytes(buffer[:8]), address_of(storage))
    control.end = message.Control.len
    ((found_level, found_option, found),) = control.read()
    assert (level, option) == (found_level, found_option)
    address = next(iter(kind._fields_))[0]
    assert local(receiver)[0] == str(getattr(kind.from_buffer_copy(found), address))
