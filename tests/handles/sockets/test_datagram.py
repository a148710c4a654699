"""Datagrams: who sent them, what was cut off, and each receive's one end."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from completions import ended, one
from datagram_sockets import bound
from faulty_kernel import FaultyKernel, Refusal, entries_of

from pyiocp import (
    CompletionPort,
    Datagram,
    DatagramCompletion,
    FunctionUnavailableError,
    HandleClosedError,
    IocpError,
    MessageTruncatedError,
    OperationCancelledError,
    PeerResetError,
    PortClosedError,
    ResourceLimitError,
)
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    SIO_UDP_CONNRESET,
    SIO_UDP_NETRESET,
    SO_BROADCAST,
    SOCKET_ERROR,
    SOL_SOCKET,
    STATUS_PORT_UNREACHABLE,
    WSAECONNRESET,
    WSAENOBUFS,
    WSAENOPROTOOPT,
    WSAEOPNOTSUPP,
)


@pytest.fixture
def ours(port: CompletionPort) -> Datagram:
    return bound(port, "ours")


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A plain socket of Python's that sends and receives datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(60)
        yield peer


def arrived(datagram: Datagram) -> None:
    """Wait until a datagram is in the socket, without taking it."""
    datagram.receive_from(peek=True)
    assert one(datagram.port).truncated  # type: ignore[arg-type]


def test_receive_completes_once_with_bytes_sender_and_key(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """Posted before the datagram is there, so that it is pending: one completion."""
    operation = ours.receive_from(bytearray(100))
    assert port.in_flight_by_kind() == {"receive_from": 1}
    peer.sendto(b"hello", ours.local_address())
    completion = one(port)
    assert isinstance(completion, DatagramCompletion)
    assert completion.operation is operation
    assert completion.key == "ours"
    assert bytes(completion.data) == b"hello"
    assert completion.address == peer.getsockname()
    assert (completion.error, completion.truncated) == (None, False)
    assert port.in_flight_by_kind() == {}
    assert port.wait(0.05) == []


def test_receive_done_on_the_spot_completes_once_too(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    peer.sendto(b"hello", ours.local_address())
    arrived(ours)
    ours.receive_from(bytearray(100))
    completion = one(port)
    assert (bytes(completion.data), completion.address) == (b"hello", peer.getsockname())
    assert port.wait(0.05) == []


def test_completion_keeps_the_sender_although_the_operation_is_posted_again(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """The kernel writes the next sender over the last one, in the operation's memory."""
    operation = ours.receive_from_operation(bytearray(10))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        seen = []
        for sender in (peer, other, peer):
            operation.post()
            sender.sendto(b"x", ours.local_address())
            seen.append(one(port))
        assert [c.address for c in seen] == [s.getsockname() for s in (peer, other, peer)]
        operation.post()
        operation.cancel()
        assert one(port).address is None


def test_send_to_reaches_the_address(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    operation = ours.send_to(b"hello", peer.getsockname())
    completion = one(port)
    assert (completion.operation, completion.bytes) == (operation, 5)
    assert completion.error is None
    assert peer.recvfrom(100) == (b"hello", ours.local_address())
    assert port.wait(0.05) == []


@pytest.mark.parametrize("gather", [list, tuple])
def test_several_buffers_are_one_datagram(
    port: CompletionPort, ours: Datagram, peer: socket.socket, gather: Any
) -> None:
    ours.send_to(gather([b"ab", b"", bytearray(b"cd"), memoryview(b"ef")]), peer.getsockname())
    assert one(port).bytes == 6
    assert peer.recv(100) == b"abcdef"
    first, second = bytearray(2), bytearray(10)
    ours.receive_from(first, second)
    peer.sendto(b"123456", ours.local_address())
    assert one(port).bytes == 6
    assert (bytes(first), bytes(second[:4])) == (b"12", b"3456")


def test_empty_datagram_is_no_end_and_no_error(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    ours.receive_from(bytearray(10))
    peer.sendto(b"", ours.local_address())
    completion = one(port)
    assert (completion.bytes, completion.error) == (0, None)
    assert completion.address == peer.getsockname()
    ours.send_to(b"", peer.getsockname())
    assert one(port).error is None
    assert peer.recv(10) == b""


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize("method", ["receive_from", "receive_message", "receive"])
def test_datagram_longer_than_the_buffer_is_cut_and_says_so(
    port: CompletionPort, ours: Datagram, peer: socket.socket, method: str, there_before: bool
) -> None:
    """C12: WSAEMSGSIZE, as the failure of the call or by packet, is one completion.

    It has the bytes that fitted and the sender; and the next datagram is received as ever.
    """
    if there_before:
        peer.sendto(b"0123456789", ours.local_address())
        arrived(ours)
    operation = getattr(ours, method)(bytearray(4))
    if not there_before:
        peer.sendto(b"0123456789", ours.local_address())
    completion = one(port)
    assert completion.operation is operation
    assert (bytes(completion.data), completion.bytes) == (b"0123", 4)
    assert completion.address == peer.getsockname()
    assert completion.truncated is True
    assert isinstance(completion.error, MessageTruncatedError)
    assert completion.error.winerror == 10040
    assert port.wait(0.05) == []
    operation.post()
    peer.sendto(b"next", ours.local_address())
    completion = one(port)
    assert (bytes(completion.data), completion.truncated) == (b"next", False)


def test_call_that_fails_for_length_stays_owned_until_its_packet(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peer: socket.socket
) -> None:
    """C12: after WSAEMSGSIZE the operation is in flight, its buffer exported, as if pending."""
    codes = []

    def receive(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        codes.append((result, kernel.last_error()))
        return result

    kernel.wrap("WSARecvFrom", receive)
    port = open_port()
    ours = bound(port)
    peer.sendto(b"0123456789", ours.local_address())
    arrived(ours)
    buffer = bytearray(4)
    ours.receive_from(buffer)
    assert codes[-1] == (SOCKET_ERROR, 10040)
    assert port.in_flight_by_kind() == {"receive_from": 1}
    with pytest.raises(BufferError):
        buffer.append(0)
    assert one(port).truncated is True


def test_datagram_that_fits_exactly_is_whole(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    ours.receive_from(bytearray(4))
    peer.sendto(b"0123", ours.local_address())
    completion = one(port)
    assert (completion.truncated, completion.error, completion.bytes) == (False, None, 4)


@pytest.mark.parametrize("buffers", [(), (bytearray(),), (bytearray(), bytearray())])
@pytest.mark.parametrize("method", ["receive_from", "receive", "receive_message"])
def test_receive_without_room_is_refused(
    port: CompletionPort, ours: Datagram, peer: socket.socket, method: str, buffers: Any
) -> None:
    """C11: it would destroy the datagram; which is still there afterwards."""
    peer.sendto(b"hello", ours.local_address())
    with pytest.raises(ValueError, match="destroys the datagram"):
        getattr(ours, method)(*buffers)
    assert port.in_flight_by_kind() == {}
    ours.receive_from(bytearray(10))
    assert bytes(one(port).data) == b"hello"


@pytest.mark.parametrize("method", ["receive_from", "receive_message"])
def test_peek_without_room_announces_a_datagram_and_leaves_it(
    port: CompletionPort, ours: Datagram, peer: socket.socket, method: str
) -> None:
    """C11: the way to wait without a buffer."""
    getattr(ours, method)(peek=True)
    assert port.wait(0.05) == []
    peer.sendto(b"hello", ours.local_address())
    completion = one(port)
    assert (completion.bytes, completion.truncated) == (0, True)
    for peek in (True, False):
        getattr(ours, method)(bytearray(10), peek=peek)
        assert bytes(one(port).data) == b"hello"
    assert port.wait(0.05) == []


def test_packets_are_never_skipped_on_datagram_sockets(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peer: socket.socket
) -> None:
    """C09: the mode is not even asked for; and whatever ends on the spot comes once.

    50 rounds, each with a send, a receive that waits, one whose datagram is there and one
    whose datagram is there and too long: 200 completions of 200 operations.
    """
    modes = Refusal(0, 1, times=0)
    kernel.wrap("SetFileCompletionNotificationModes", modes)
    port = open_port()
    ours = bound(port)
    assert (ours.skips_on_success, modes.calls) == (False, 0)
    posted: list[object] = []
    seen: list[object] = []

    def collect() -> None:
        while len(seen) < len(posted):
            completions = port.wait(60)
            assert completions, "a completion never came"
            seen.extend(c.operation for c in completions)

    for _ in range(50):
        posted.append(ours.receive_from(bytearray(10)))
        posted.append(ours.send_to(b"ping", peer.getsockname()))
        assert peer.recv(4) == b"ping"
        for _ in range(3):
            peer.sendto(b"abcd", ours.local_address())
        collect()
        posted.append(ours.receive_from(bytearray(10)))
        posted.append(ours.receive_from(bytearray(2)))
        collect()
    assert port.wait(0.05) == []
    assert len(seen) == len(set(seen)) == 200
    assert set(seen) == set(posted)


# A port without a listener


class Ioctls:
    """Notes what is switched on and off, and lets it through."""

    def __init__(self, kernel: FaultyKernel) -> None:
        self.seen: list[tuple[int, int]] = []
        kernel.wrap("WSAIoctl", self._note)

    def _note(self, real: Callable[..., int], number: int, code: int, *arguments: Any) -> int:
        self.seen.append((code, arguments[0]._obj.value))
        return real(number, code, *arguments)


def test_unreachable_peers_are_not_reported_unless_asked_for(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C04: what the system is told, for new sockets and adopted ones, and by `report`."""
    ioctls = Ioctls(kernel)
    port = open_port()
    quiet = [(SIO_UDP_CONNRESET, 0), (SIO_UDP_NETRESET, 0)]
    datagram = port.datagram()
    assert ioctls.seen == quiet
    port.datagram(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    assert ioctls.seen == quiet * 2
    ioctls.seen.clear()
    port.datagram(report_unreachable=True)
    assert ioctls.seen == [(SIO_UDP_CONNRESET, 1), (SIO_UDP_NETRESET, 0)]
    ioctls.seen.clear()
    for unreachable in (True, False, None):
        datagram.report(unreachable=unreachable)
    assert ioctls.seen == [(SIO_UDP_CONNRESET, 1), (SIO_UDP_CONNRESET, 0)]


def test_sending_to_a_closed_port_disturbs_no_receive(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """C04: with the real system: a receive pending, and one posted after the ICMP answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = unused.getsockname()
    operation = ours.receive_from(bytearray(10))
    for _ in range(2):
        ours.send_to(b"anybody?", nobody)
        assert one(port).error is None
        assert port.wait(0.05) == []
        peer.sendto(b"me", ours.local_address())
        assert bytes(one(port).data) == b"me"
        operation.post()
    operation.cancel()
    assert isinstance(one(port).error, OperationCancelledError)


@pytest.mark.parametrize("name", ["WSARecvFrom", "WSARecvMsg"])
def test_unreachable_that_fails_the_call_is_a_completion(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    peer: socket.socket,
    name: str,
) -> None:
    """C04: the receive fails on the spot, and no packet comes: the port makes a completion.

    The operation is posted again, ten times over, and receives in the end.
    """
    refusal = Refusal(WSAECONNRESET, SOCKET_ERROR, times=10)
    kernel.wrap(name, refusal)
    port = open_port()
    ours = bound(port)
    method = "receive_from" if name == "WSARecvFrom" else "receive_message"
    operation = getattr(ours, method)(bytearray(10))
    for _ in range(10):
        completion = one(port)
        assert completion.operation is operation
        assert isinstance(completion.error, PeerResetError)
        assert isinstance(completion.error, ConnectionResetError)
        assert (completion.error.winerror, completion.bytes) == (10054, 0)
        assert (completion.address, completion.truncated) == (None, False)
        operation.post()
    assert port.in_flight_by_kind() == {method: 1}
    peer.sendto(b"me", ours.local_address())
    assert bytes(one(port).data) == b"me"
    assert refusal.refused == 10


def test_unreachable_that_comes_by_packet_is_a_completion(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peer: socket.socket
) -> None:
    """C04: the packet of a pending receive says STATUS_PORT_UNREACHABLE; the next receives."""
    fails = [True]

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        if result:
            for entry in entries_of(arguments):
                if entry.lpOverlapped and fails:
                    fails.pop()
                    entry.Internal, entry.dwNumberOfBytesTransferred = STATUS_PORT_UNREACHABLE, 0
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    port = open_port()
    ours = bound(port)
    operation = ours.receive_from(bytearray(10))
    operation.cancel()
    completion = one(port)
    assert isinstance(completion.error, PeerResetError)
    assert (completion.error.winerror, completion.address) == (10054, None)
    operation.post()
    peer.sendto(b"me", ours.local_address())
    assert bytes(one(port).data) == b"me"


def test_what_cannot_be_switched_on_is_said_and_leaves_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """A provider that does not know SIO_UDP_CONNRESET: no error unless it was asked for."""
    kernel.wrap("WSAIoctl", Refusal(WSAEOPNOTSUPP, SOCKET_ERROR))
    port = open_port()
    port.datagram().close()
    handles = handle_count()
    for _ in range(20):
        with pytest.raises(IocpError, match="WSAIoctl failed with WSAEOPNOTSUPP"):
            port.datagram(report_unreachable=True)
    assert handle_count() <= handles
    assert port.handles == set()


# Ends


def test_cancel_completes_as_cancelled(port: CompletionPort, ours: Datagram) -> None:
    operation = ours.receive_from(bytearray(10))
    assert operation.cancel() is True
    completion = one(port)
    assert isinstance(completion.error, OperationCancelledError)
    assert (completion.address, completion.truncated) == (None, False)
    assert operation.cancel() is False


def test_datagram_that_came_before_the_cancel_is_delivered(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """C06: the kernel has written it, nobody has dequeued the packet, then comes cancel()."""
    operation = ours.receive_from(bytearray(10))
    peer.sendto(b"first", ours.local_address())
    assert ended(operation)
    assert operation.cancel() is False
    completion = one(port)
    assert (bytes(completion.data), completion.error) == (b"first", None)
    assert completion.address == peer.getsockname()


def test_close_completes_what_is_pending(port: CompletionPort, ours: Datagram) -> None:
    operations = {ours.receive_from(bytearray(10)), ours.receive_message(bytearray(10))}
    ours.close()
    seen: list[Any] = []
    while len(seen) < 2:
        seen += port.wait(60)
    assert {c.operation for c in seen} == operations
    assert [c.error is None for c in seen] == [False, False]
    with pytest.raises(HandleClosedError, match="takes no receive_from"):
        ours.receive_from(bytearray(10))
    with pytest.raises(HandleClosedError, match="takes no send_to"):
        ours.send_to(b"x", ("127.0.0.1", 9))


def test_closing_the_port_gives_back_what_is_pending() -> None:
    port = CompletionPort()
    ours = bound(port)
    buffer = bytearray(10)
    operation = ours.receive_from(buffer)
    [completion] = port.close()
    assert completion.operation is operation
    assert isinstance(completion.error, OperationCancelledError)
    assert ours.closed
    with pytest.raises(PortClosedError, match="takes no datagram socket"):
        port.datagram()
    del operation, completion
    gc.collect()
    buffer.append(0)


def test_refused_receive_leaves_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peer: socket.socket
) -> None:
    """C14: WSAENOBUFS, 200 times: buffer and operation are free, and it can be posted again."""
    refusal = Refusal(WSAENOBUFS, SOCKET_ERROR, times=200)
    kernel.wrap("WSARecvFrom", refusal)
    port = open_port()
    ours = bound(port)
    buffer = bytearray(10)
    for _ in range(199):
        with pytest.raises(ResourceLimitError, match="WSARecvFrom failed with WSAENOBUFS"):
            ours.receive_from(buffer)
    gc.collect()
    buffer.append(0)
    operation = ours.receive_from_operation(buffer)
    with pytest.raises(ResourceLimitError):
        operation.post()
    assert port.in_flight == {}
    operation.post()
    peer.sendto(b"hello", ours.local_address())
    assert bytes(one(port).data) == b"hello"


# Connected sockets, families, groups


def test_connected_socket_sends_to_and_receives_from_its_peer_only(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    with pytest.raises(IocpError):
        ours.peer_address()
    ours.connect(peer.getsockname())
    assert ours.peer_address() == peer.getsockname()
    ours.send(b"he", b"llo")
    assert one(port).bytes == 5
    assert peer.recvfrom(10) == (b"hello", ours.local_address())
    ours.receive(bytearray(10))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"not for you", ours.local_address())
        assert port.wait(0.05) == []
    peer.sendto(b"for you", ours.local_address())
    completion = one(port)
    assert (bytes(completion.data), completion.address) == (b"for you", peer.getsockname())


def test_socket_can_be_connected_to_another_peer(port: CompletionPort, ours: Datagram) -> None:
    first, second = bound(port, "first"), bound(port, "second")
    for peer in (first, second):
        ours.connect(peer.local_address())
        peer.receive_from(bytearray(10))
        ours.send(b"hello")
        keys: set[Any] = set()
        while len(keys) < 2:
            keys |= {c.key for c in port.wait(60)}
        assert keys == {"ours", peer.key}


def test_unconnected_socket_cannot_send_without_an_address(ours: Datagram) -> None:
    with pytest.raises(OSError, match="WSASend failed"):
        ours.send(b"hello")


def test_ipv6(port: CompletionPort) -> None:
    ours, theirs = (bound(port, key, socket.AF_INET6) for key in ("ours", "theirs"))
    ours.receive_from(bytearray(10))
    theirs.send_to(b"hello", ours.local_address())
    seen: dict[Any, Any] = {}
    while len(seen) < 2:
        seen.update({c.key: c for c in port.wait(60)})
    assert bytes(seen["ours"].data) == b"hello"
    assert seen["ours"].address == theirs.local_address()


def test_socket_of_pythons_is_adopted(port: CompletionPort, peer: socket.socket) -> None:
    """The Python object is detached; a socket of another kind, or closed, stays as it is."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    address = sock.getsockname()
    datagram = port.datagram(sock, key="adopted")
    assert (sock.fileno(), datagram.local_address()) == (-1, address)
    with pytest.raises(ValueError, match="closed"):
        port.datagram(sock)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        pytest.raises(ValueError, match="a datagram socket is needed"),
    ):
        port.datagram(tcp)
    with pytest.raises(TypeError, match="a socket or its number"):
        port.datagram("socket")  # type: ignore[arg-type]
    with pytest.raises(IocpError, match="CreateIoCompletionPort failed"):
        port.datagram(datagram.number)  # on a port already
    datagram.receive_from(bytearray(10))
    peer.sendto(b"hello", address)
    assert bytes(one(port).data) == b"hello"


@pytest.mark.parametrize(
    ("family", "group", "interface"),
    [
        (socket.AF_INET, "239.255.43.21", "127.0.0.1"),
        (socket.AF_INET, "239.255.43.21", None),
        (socket.AF_INET6, "ff02::4321", None),
    ],
)
def test_group_is_joined_and_left(
    port: CompletionPort, family: int, group: str, interface: str | None
) -> None:
    """A datagram to the group comes while it is joined; leaving it twice is an error."""
    ours, sender = port.datagram(key="ours", family=family), port.datagram(family=family)
    for datagram in (ours, sender):
        datagram.bind(("0.0.0.0" if family == socket.AF_INET else "::", 0))
    try:
        ours.join(group, interface)
        sender.set_multicast_interface(interface)
        to = (group, ours.local_address()[1])
        ours.receive_from(bytearray(10))
        sender.send_to(b"all", to)
    except OSError as error:
        pytest.skip(f"no interface of this machine carries {group}: {error}")
    seen: list[Any] = []
    while not any(c.key == "ours" for c in seen):
        more = port.wait(2)
        if not more:
            pytest.skip(f"no interface of this machine carries {group} to itself")
        seen += more
    [completion] = [c for c in seen if c.key == "ours"]
    assert bytes(completion.data) == b"all"
    assert completion.address[1] == sender.local_address()[1]
    ours.leave(group, interface)
    ours.receive_from(bytearray(10))
    sender.send_to(b"not you", to)
    assert [c.key for c in port.wait(0.2) if c.key == "ours"] == []
    with pytest.raises(OSError, match="setsockopt failed"):
        ours.leave(group, interface)


@pytest.mark.parametrize(
    ("family", "group", "interface", "message"),
    [
        (socket.AF_INET, "127.0.0.1", None, "not the address of a multicast group"),
        (socket.AF_INET, "ff02::1", None, "IPv4"),
        (socket.AF_INET, "239.1.2.3", "lo", "IPv4"),
        (socket.AF_INET, "239.1.2.3", 2**24, "interface must be"),
        (socket.AF_INET6, "::1", 0, "not the address of a multicast group"),
        (socket.AF_INET6, "ff02::1", -1, "interface must be"),
    ],
)
def test_group_that_is_none_is_refused(
    port: CompletionPort, family: int, group: str, interface: Any, message: str
) -> None:
    datagram = port.datagram(family=family)
    with pytest.raises(ValueError, match=message):
        datagram.join(group, interface)


def test_interface_of_ipv6_is_an_index(port: CompletionPort) -> None:
    datagram = port.datagram(family=socket.AF_INET6)
    with pytest.raises(TypeError, match="number of its index"):
        datagram.set_multicast_interface("::1")


def test_broadcast_has_to_be_allowed(port: CompletionPort, ours: Datagram) -> None:
    with pytest.raises(PermissionError, match="WSAEACCES"):
        ours.send_to(b"x", ("255.255.255.255", 9))
    ours.set_option(SOL_SOCKET, SO_BROADCAST, 1)
    assert port.in_flight_by_kind() == {}


# Many


def test_many_receives_outstanding_take_a_datagram_each(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    """64 receives, 64 datagrams: each operation once, each datagram once, whole."""
    operations = {ours.receive_from(bytearray(100)) for _ in range(64)}
    assert port.in_flight_by_kind() == {"receive_from": 64}
    for n in range(64):
        peer.sendto(b"datagram %d" % n, ours.local_address())
    seen: list[Any] = []
    while len(seen) < 64:
        completions = port.wait(60)
        assert completions, "a completion never came"
        seen += completions
    assert {c.operation for c in seen} == operations
    assert {bytes(c.data) for c in seen} == {b"datagram %d" % n for n in range(64)}
    assert {c.address for c in seen} == {peer.getsockname()}


def test_threads_share_a_socket(port: CompletionPort, ours: Datagram) -> None:
    """Three threads send from one socket while it receives: 150 datagrams, each once."""
    target = bound(port, "target")
    for _ in range(150):
        target.receive_from(bytearray(10))

    def send(first: int) -> None:
        for n in range(first, first + 50):
            ours.send_to(b"%d" % n, target.local_address())

    threads = [threading.Thread(target=send, args=(n,)) for n in (0, 50, 100)]
    for thread in threads:
        thread.start()
    seen: list[Any] = []
    while len(seen) < 300:
        completions = port.wait(60)
        assert completions, "a completion never came"
        seen += completions
    for thread in threads:
        thread.join(60)
    received = [bytes(c.data) for c in seen if c.key == "target"]
    assert sorted(received) == sorted(b"%d" % n for n in range(150))


# Wrong arguments


@pytest.mark.parametrize("bad", [b"bytes", memoryview(b"abc"), "text", None, 3])
def test_bad_receive_buffer_is_refused_before_the_kernel(
    port: CompletionPort, ours: Datagram, bad: Any
) -> None:
    with pytest.raises(TypeError):
        ours.receive_from(bad)
    with pytest.raises(TypeError):
        ours.receive_message(bad)
    assert port.in_flight_by_kind() == {}


def test_bad_arguments_are_refused_with_words(port: CompletionPort, ours: Datagram) -> None:
    with pytest.raises(ValueError, match="at most 65507 bytes, not 65508"):
        ours.send_to(bytes(65508), ("127.0.0.1", 9))
    with pytest.raises(ValueError, match="at most 65507 bytes, not 70000"):
        ours.send(bytes(70000))
    with pytest.raises(ValueError, match="at most 65527 bytes"):
        port.datagram(family=socket.AF_INET6).send_to(bytes(65528), ("::1", 9))
    with pytest.raises(ValueError, match="at least one buffer"):
        ours.send()
    with pytest.raises(ValueError, match="numeric"):
        ours.send_to(b"x", ("example.org", 9))
    with pytest.raises(ValueError, match="numeric"):
        ours.connect(("example.org", 9))
    with pytest.raises(TypeError):
        ours.send_to("text", ("127.0.0.1", 9))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="control_size"):
        ours.receive_message(bytearray(10), control_size=-1)
    with pytest.raises(ValueError, match="size must be"):
        ours.coalesce(65536)
    assert port.in_flight_by_kind() == {}


def test_largest_datagram_goes_through(
    port: CompletionPort, ours: Datagram, peer: socket.socket
) -> None:
    ours.receive_from(bytearray(65507))
    peer.sendto(bytes(range(256)) * 255 + bytes(227), ours.local_address())
    completion = one(port)
    assert (completion.bytes, completion.truncated) == (65507, False)
    assert bytes(completion.data) == bytes(range(256)) * 255 + bytes(227)


def test_option_that_is_not_there_is_named(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """WSAENOPROTOOPT of setsockopt; other errors of it stay what they are."""
    kernel.wrap("setsockopt", Refusal(WSAENOPROTOOPT, SOCKET_ERROR, times=2))
    kernel.wrap("setsockopt", Refusal(WSAENOBUFS, SOCKET_ERROR, times=1))
    datagram = open_port().datagram()
    with pytest.raises(ResourceLimitError, match="setsockopt failed with WSAENOBUFS"):
        datagram.report(destination=True)
    with pytest.raises(FunctionUnavailableError, match=r"no IP_ECN on this system.*20348"):
        datagram.report(ecn=True)
    with pytest.raises(NotImplementedError, match=r"UDP_RECV_MAX_COALESCED_SIZE.*2004"):
        datagram.coalesce(1000)
