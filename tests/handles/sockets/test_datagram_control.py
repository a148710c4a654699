"""Control data: what comes and goes beside a datagram, and what damaged bytes do."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from datagram_sockets import LOOPBACK, bound
from hypothesis import given
from hypothesis import strategies as st

from pyiocp import (
    CompletionPort,
    ControlData,
    ControlMessage,
    Ecn,
    FunctionUnavailableError,
    MessageTruncatedError,
)
from pyiocp.handles.sockets.control_data import congestion_mark, packed, packet_info, segmentation
from pyiocp.winapi import (
    AF_INET,
    AF_INET6,
    IP_ECN,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_ECN,
    IPV6_PKTINFO,
    MSG_TRUNC,
    UDP_COALESCED_INFO,
    UDP_SEND_MSG_SIZE,
    WSACMSGHDR,
    WSAMSG,
)

if TYPE_CHECKING:
    from faulty_kernel import FaultyKernel

FAMILIES = [socket.AF_INET, socket.AF_INET6]


def both(port: CompletionPort) -> dict[Any, Any]:
    """Return the completions of a receive and a send, by key."""
    seen: dict[Any, Any] = {}
    while len(seen) < 2:
        completions = port.wait(60)
        assert completions, "a completion never came"
        seen.update({c.key: c for c in completions})
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_destination_and_interface_are_told_if_asked_for(port: CompletionPort, family: int) -> None:
    """Not before, then, and not any more: the one socket receives three datagrams."""
    ours, peer = bound(port, "ours", family), bound(port, "peer", family)
    seen = []
    for asked in (False, True, False):
        ours.report(destination=asked)
        ours.receive_message(bytearray(10))
        peer.send_message(b"hello", ours.local_address())
        completion = both(port)["ours"]
        assert (bytes(completion.data), completion.error) == (b"hello", None)
        assert completion.address == peer.local_address()
        seen.append(completion.control)
    assert [c.destination for c in seen] == [None, LOOPBACK[family][0], None]
    assert [c.interface is None for c in seen] == [True, False, True]
    assert [len(c.messages) for c in seen] == [0, 1, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_told_can_be_sent_back(port: CompletionPort, family: int) -> None:
    """An answer leaves from the address and the interface that the question came to."""
    ours, peer = bound(port, "ours", family), bound(port, "peer", family)
    ours.report(destination=True)
    ours.receive_message(bytearray(10))
    peer.send_to(b"question", ours.local_address())
    question = both(port)["ours"]
    peer.receive_from(bytearray(10))
    ours.send_message(
        [b"an", b"swer"],
        question.address,
        source=question.control.destination,
        interface=question.control.interface,
    )
    answer = both(port)
    assert (answer["ours"].bytes, answer["ours"].error) == (6, None)
    assert bytes(answer["peer"].data) == b"answer"
    assert answer["peer"].address == ours.local_address()


def test_completion_keeps_its_control_data(port: CompletionPort) -> None:
    """Also when the operation is posted again, without anything to report, and cancelled."""
    ours, peer = bound(port, "ours"), bound(port, "peer")
    ours.report(destination=True)
    operation = ours.receive_message(bytearray(10))
    peer.send_to(b"hello", ours.local_address())
    first = both(port)["ours"]
    ours.report(destination=False)
    operation.post()
    peer.send_to(b"hello", ours.local_address())
    second = both(port)["ours"]
    operation.post()
    operation.cancel()
    third: Any
    [third] = port.wait(60)
    assert first.control.destination == "127.0.0.1"
    assert [c.control for c in (second, third)] == [ControlData(), ControlData()]


@pytest.mark.parametrize("control_size", [0, 16])
def test_too_little_room_for_control_data_is_said(port: CompletionPort, control_size: int) -> None:
    """The datagram is whole all the same, and the next receive has its room again."""
    ours, peer = bound(port, "ours"), bound(port, "peer")
    ours.report(destination=True)
    operation = ours.receive_message(bytearray(10), control_size=control_size)
    for _ in range(2):
        peer.send_to(b"hello", ours.local_address())
        completion = both(port)["ours"]
        assert bytes(completion.data) == b"hello"
        assert completion.control_truncated is True
        assert completion.truncated is False
        assert isinstance(completion.error, MessageTruncatedError)
        assert completion.address == peer.local_address()
        operation.post()
    operation.cancel()
    port.wait(60)


def test_flags_tell_which_part_was_truncated(kernel: FaultyKernel, port: CompletionPort) -> None:
    """MSG_TRUNC as Windows gives it; Wine leaves it out."""

    def receive(real: Callable[..., int], number: Any, room: Any, *arguments: Any) -> int:
        result = real(number, room, *arguments)
        WSAMSG.from_buffer(room._obj).dwFlags |= MSG_TRUNC
        return result

    kernel.wrap("WSARecvMsg", receive)
    ours, peer = bound(port, "ours"), bound(port, "peer")
    peer.send_to(b"hello", ours.local_address())
    port.wait(60)
    ours.receive_from(peek=True)
    port.wait(60)
    ours.receive_message(bytearray(4))
    [completion] = port.wait(60)
    assert (completion.truncated, completion.control_truncated) == (True, False)  # type: ignore[attr-defined]


def test_message_to_the_peer_of_a_connected_socket(port: CompletionPort) -> None:
    ours, peer = bound(port, "ours"), bound(port, "peer")
    ours.connect(peer.local_address())
    peer.receive_message(bytearray(10))
    ours.send_message(b"hello")
    assert bytes(both(port)["peer"].data) == b"hello"


def test_control_data_that_is_cut_off_ends_where_it_does() -> None:
    """A message that says it were shorter than its own header brings nothing."""
    header = WSACMSGHDR(cmsg_len=ctypes.sizeof(WSACMSGHDR) - 1, cmsg_level=99, cmsg_type=7)
    assert ControlData.of(bytes(header)).messages == ()
    header.cmsg_len = ctypes.sizeof(WSACMSGHDR) + 3
    assert ControlData.of(bytes(header) + b"abc").messages == (ControlMessage(99, 7, b"abc"),)
    assert ControlData.of(bytes(header) + b"a").messages == (ControlMessage(99, 7, b"a"),)


def sent_control(kernel: FaultyKernel) -> list[ControlData]:
    """Have what WSASendMsg is given as control data noted, and not sent."""
    seen: list[ControlData] = []

    def send(real: Callable[..., int], number: Any, message: Any, *arguments: Any) -> int:
        control = message._obj.Control
        raw = ctypes.string_at(control.buf, control.len) if control.len else b""
        seen.append(ControlData.of(raw))
        control.len, control.buf = 0, None
        return real(number, message, *arguments)

    kernel.wrap("WSASendMsg", send)
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_each_argument_is_the_control_message_that_windows_knows(
    kernel: FaultyKernel, port: CompletionPort, family: int
) -> None:
    """What the system is given, level and type and bytes; the datagram goes without it."""
    seen = sent_control(kernel)
    ours = bound(port, "ours", family)
    to = ours.local_address()
    own = ControlMessage(99, 7, b"abc")
    ours.send_message(b"x", to)
    ours.send_message(b"x", to, ecn=Ecn.CAPABLE_0, control=[own])
    ours.send_message(b"x" * 3000, to, segment_size=1000, source=to[0], interface=5)
    six = family == socket.AF_INET6
    mark = ControlMessage(
        IPPROTO_IPV6 if six else IPPROTO_IP, IPV6_ECN if six else IP_ECN, b"\x02\0\0\0"
    )
    information = ControlMessage(
        IPPROTO_IPV6 if six else IPPROTO_IP,
        IPV6_PKTINFO if six else IP_PKTINFO,
        socket.inet_pton(family, to[0]) + b"\x05\0\0\0",
    )
    cut = ControlMessage(IPPROTO_UDP, UDP_SEND_MSG_SIZE, b"\xe8\x03\0\0")
    assert [c.messages for c in seen] == [(), (own, mark), (information, cut)]
    sent = 0
    while sent < 3:
        sent += len(port.wait(60))


def test_marks_and_sizes_out_of_range_are_refused(port: CompletionPort) -> None:
    ours = bound(port, "ours")
    to = ours.local_address()
    with pytest.raises(ValueError, match="ecn must be from 0 to 2, not 3"):
        ours.send_message(b"x", to, ecn=Ecn.CONGESTED)
    with pytest.raises(ValueError, match="segment_size must be from 1"):
        ours.send_message(b"x", to, segment_size=0)
    with pytest.raises(ValueError, match="at most 65507 bytes, not 65535"):
        ours.send_message(b"x", to, segment_size=65535)
    with pytest.raises(ValueError, match="at most 65507 bytes, not 65508"):
        ours.send_message(bytes(65508), to)
    with pytest.raises(ValueError, match="numeric"):
        ours.send_message(b"x", to, source="localhost")
    with pytest.raises(ValueError, match="interface must be"):
        ours.send_message(b"x", to, interface=-1)
    assert port.in_flight_by_kind() == {}


# What not every Windows has


def test_congestion_mark_travels(port: CompletionPort) -> None:
    ours, peer = bound(port, "ours"), bound(port, "peer")
    try:
        ours.report(ecn=True)
    except FunctionUnavailableError as error:
        pytest.skip(f"{error} (Wine 8 has none)")
    for mark in (Ecn.NOT_CAPABLE, Ecn.CAPABLE_0, Ecn.CAPABLE_1):
        ours.receive_message(bytearray(10))
        peer.send_message(b"x", ours.local_address(), ecn=mark)
        assert both(port)["ours"].control.ecn is mark


def test_one_send_is_many_datagrams_and_one_receive_takes_them(port: CompletionPort) -> None:
    """Segmentation and coalescing: 10 datagrams of 1,000 bytes and one of 500."""
    ours, peer = bound(port, "ours"), bound(port, "peer")
    try:
        ours.coalesce(65535)
    except FunctionUnavailableError as error:
        pytest.skip(f"{error} (Wine 8 has none)")
    data = bytes(range(250)) * 42
    peer.send_message(data, ours.local_address(), segment_size=1000)
    port.wait(60)
    received = b""
    while len(received) < len(data):
        ours.receive_message(bytearray(65535))
        completion: Any
        [completion] = port.wait(60)
        assert completion.error is None
        size = completion.control.segment_size
        assert size in (None, 1000)
        received += completion.data
    assert received == data


def test_coalesced_size_and_mark_are_read(kernel: FaultyKernel, port: CompletionPort) -> None:
    """Control data as Windows writes it, put where WSARecvMsg would have written it."""
    came = [
        ControlMessage(IPPROTO_IP, IP_ECN, b"\x03\0\0\0"),
        ControlMessage(IPPROTO_UDP, UDP_COALESCED_INFO, (1400).to_bytes(4, "little")),
        ControlMessage(IPPROTO_IP, 4, b"\x40\0\0\0"),
    ]

    def receive(real: Callable[..., int], number: Any, room: Any, *arguments: Any) -> int:
        result = real(number, room, *arguments)
        message, raw = WSAMSG.from_buffer(room._obj), bytes(packed(came))
        ctypes.memmove(message.Control.buf, raw, len(raw))
        message.Control.len = len(raw)
        return result

    kernel.wrap("WSARecvMsg", receive)
    ours, peer = bound(port, "ours"), bound(port, "peer")
    peer.send_to(b"hello", ours.local_address())
    port.wait(60)
    ours.receive_from(peek=True)
    port.wait(60)
    ours.receive_message(bytearray(10))
    [completion] = port.wait(60)
    control = completion.control  # type: ignore[attr-defined]
    assert control.ecn is Ecn.CONGESTED
    assert control.segment_size == 1400
    assert (control.destination, control.interface) == (None, None)
    assert list(control.messages) == came


# The layout


MESSAGES = st.lists(
    st.builds(ControlMessage, st.integers(100, 255), st.integers(0, 255), st.binary(max_size=40)),
    max_size=5,
)


@given(MESSAGES)
def test_what_is_packed_is_read_back(messages: list[ControlMessage]) -> None:
    assert list(ControlData.of(bytes(packed(messages))).messages) == messages


@given(st.binary(max_size=80))
def test_damaged_bytes_do_no_harm(raw: bytes) -> None:
    """Whatever they are, they are read without going beyond them."""
    control = ControlData.of(raw)
    assert sum(len(message.data) for message in control.messages) <= len(raw)


@pytest.mark.parametrize(("family", "address"), [(AF_INET, "127.0.0.1"), (AF_INET6, "::1")])
def test_what_is_sent_is_what_is_understood(family: int, address: str) -> None:
    """The messages made for a send mean the same when they are read; cut short, nothing."""
    messages = [packet_info(family, address, 7), congestion_mark(family, 1), segmentation(900)]
    control = ControlData.of(bytes(packed(messages)))
    assert (control.destination, control.interface, control.ecn) == (address, 7, Ecn.CAPABLE_1)
    short = messages[0]._replace(data=messages[0].data[:-1])
    control = ControlData.of(bytes(packed([short])))
    assert (control.destination, control.messages) == (None, (short,))
