"""Datagram servers: no peer, no error and no shortage ends the receiving; and how they end."""

from __future__ import annotations

import ctypes
import gc
import socket
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from datagram_journal import LOCAL, DatagramJournal, Echo, answer, peer_of, silent
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal, entries_of
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import (
    AddressUnavailableError,
    BroadcastResult,
    CompletionPort,
    ConnectionLostError,
    DatagramServer,
    Limits,
    PortClosedError,
)
from pyiocp.engine.packet import PENDING
from pyiocp.winapi import (
    DWORD,
    SO_EXCLUSIVEADDRUSE,
    SO_RCVBUF,
    SOCKET_ERROR,
    SOL_SOCKET,
    STATUS_PORT_UNREACHABLE,
    WSAECONNRESET,
    WSAENOBUFS,
    WSAEWOULDBLOCK,
    getsockopt,
)
from pyiocp.winapi.errorcodes import STATUS_INSUFFICIENT_RESOURCES, STATUS_UNEXPECTED_NETWORK_ERROR

TO_ALL: BroadcastResult[Any] = BroadcastResult([], [], [])
"""What a broadcast returns when everybody had room."""


def receives(server: DatagramServer) -> bool:
    """Wait until its receive is pending; the statistics agree."""
    port = server.port
    pending = eventually(lambda: port.in_flight_by_kind().get("receive_from") == 1)
    return pending and eventually(lambda: server.statistics().receives_pending == 1)


# What comes, and what goes wrong with it


def test_datagram_that_is_too_long_is_told_and_counted(
    port: CompletionPort, no_errors_logged: None
) -> None:
    """C12: what fitted comes to `on_truncated`; those before and after it are whole.

    A first datagram that is too long begins no session, and is counted.
    """
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, datagram_size=100)
    with served(port), peer_of(server) as peer:
        peer.send(bytes(101))
        assert eventually(lambda: server.statistics().truncated_first == 1)
        assert sessions == []
        assert answer(peer, bytes(100)) == bytes(100)
        for n in range(10):
            peer.send(b"%d" % n * 300)
            assert answer(peer, b"%d" % n) == b"%d" % n
        [session] = sessions
        assert session.hooks == ["connect", "receive", *["truncated", "receive"] * 10]
        assert session.received[1::2] == [b"%d" % n * 100 for n in range(10)]
        assert session.statistics().truncated == 10
        assert receives(server)
    assert server.statistics().truncated == 10


def test_peer_that_is_gone_disturbs_nobody(port: CompletionPort, no_errors_logged: None) -> None:
    """C04: with the real system: datagrams go to a port that is closed, others are served."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as stays:
        with peer_of(server) as leaves:
            assert answer(leaves, b"one") == b"one"
        for n in range(20):
            assert sessions[0].send(b"anybody?") is True
            assert answer(stays, b"%d" % n) == b"%d" % n
        assert receives(server)
        assert server.statistics().unreachable == 0


def test_unreachable_that_fails_the_call_is_counted(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C04: the receive fails on the spot, 50 times over, and what is fetched 50 times; then not."""
    refusals = [Refusal(WSAECONNRESET, SOCKET_ERROR, times=50) for _ in range(2)]
    for name, refusal in zip(("WSARecvFrom", "recvfrom"), refusals, strict=True):
        kernel.wrap(name, refusal)
    port = open_port()
    server = port.serve_datagrams(LOCAL, Echo, report_unreachable=True)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        assert receives(server)
    assert [refusal.refused for refusal in refusals] == [50, 50]
    assert server.statistics().unreachable == 100


def failing_packets(kernel: FaultyKernel, status: int, times: int) -> list[int]:
    """Have so many packets of datagrams say that status; the result fills with them."""
    failed: list[int] = []

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        if result:
            for entry in entries_of(arguments):
                if entry.dwNumberOfBytesTransferred == len(b"fails") and len(failed) < times:
                    failed.append(entry.dwNumberOfBytesTransferred)
                    entry.Internal, entry.dwNumberOfBytesTransferred = status, 0
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    return failed


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (STATUS_PORT_UNREACHABLE, "unreachable"),
        (STATUS_INSUFFICIENT_RESOURCES, "receive_errors"),
        (STATUS_UNEXPECTED_NETWORK_ERROR, "receive_errors"),
    ],
)
def test_receive_that_fails_by_packet_is_posted_again(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    caplog: pytest.LogCaptureFixture,
    status: int,
    counted: str,
) -> None:
    """C04, C37: each of 20 is counted, and the receive back again: at once, or a little later."""
    failed = failing_packets(kernel, status, 20)
    port = open_port()
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        for n in range(20):
            peer.send(b"fails")
            assert eventually(lambda n=n: getattr(server.statistics(), counted) == n + 1)
            assert answer(peer, b"%d" % n) == b"%d" % n
        assert receives(server)
    assert len(failed) == 20
    caplog.clear()


@pytest.mark.parametrize("function", ["WSARecvFrom", "recvfrom"])
def test_receive_that_the_system_refuses_is_tried_again(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    caplog: pytest.LogCaptureFixture,
    function: str,
) -> None:
    """C37: nothing may be locked for a while; or what has come cannot be fetched. Then it can."""
    refusal = Refusal(WSAENOBUFS, SOCKET_ERROR)
    refusal.enabled = False
    kernel.wrap(function, refusal)
    port = open_port()
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        refusal.enabled = True
        assert answer(peer, b"two") == b"two"
        assert eventually(lambda: refusal.refused >= (5 if function == "WSARecvFrom" else 1))
        if function == "WSARecvFrom":
            assert (server.statistics().receives_pending, port.in_flight_by_kind()) == (0, {})
        peer.send(b"later")
        refusal.enabled = False
        assert peer.recv(10) == b"later"
        assert receives(server)
    assert 0 < caplog.text.count("tries again in") <= refusal.refused
    caplog.clear()


def test_server_that_is_refused_everything_can_be_closed(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C37: from its first receive on; nothing is left of it."""
    kernel.wrap("WSARecvFrom", Refusal(WSAENOBUFS, SOCKET_ERROR))
    port = open_port()
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port):
        server.close()
    assert port.datagram_servers == set()
    assert port.in_flight == {}
    caplog.clear()


# What goes out


def nothing_at_once(kernel: FaultyKernel) -> Refusal:
    """Have the system take no datagram at once, as if its buffer were full."""
    refusal = Refusal(WSAEWOULDBLOCK, SOCKET_ERROR)
    kernel.wrap("sendto", refusal)
    return refusal


def test_what_the_system_takes_at_once_has_no_operation(port: CompletionPort) -> None:
    """Nobody takes packets, and none is needed: 1,000 datagrams leave, and nothing is in flight."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with peer_of(server) as peer:
        with served(port):
            assert answer(peer, b"one") == b"one"
        for n in range(1000):
            assert sessions[0].send(b"%d" % n) is True
            assert peer.recv(10) == b"%d" % n
        assert server.send_to(b"as well", peer.getsockname()) is True
        assert peer.recv(10) == b"as well"
        assert server.statistics().sends_pending == 0
        assert port.in_flight_by_kind() == {"receive_from": 1}


def test_what_the_system_refuses_to_send_is_dropped_and_counted(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C37: `send` says False five times; the session lives, and what comes next goes out."""
    refusals = [Refusal(WSAENOBUFS, SOCKET_ERROR, times=5) for _ in range(2)]
    for name, refusal in zip(("sendto", "WSASendTo"), refusals, strict=True):
        refusal.enabled = False
        kernel.wrap(name, refusal)
    port = open_port()
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        for refusal in refusals:
            refusal.enabled = True
        assert [sessions[0].send(b"%d" % n) for n in range(8)] == [False] * 5 + [True] * 3
        assert [peer.recv(10) for _ in range(3)] == [b"5", b"6", b"7"]
        assert sessions[0].statistics().sends_dropped == 5
        assert eventually(lambda: server.statistics().sends_pending == 0)
        sessions[0].close()
        assert sessions[0].closed.wait(DEADLINE_S)


def test_no_more_sends_are_under_way_than_may_be(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """Nobody takes packets: 8 are sent, what is over that dropped; then there is room again."""
    nothing_at_once(kernel)
    port = open_port()
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, sends=8)
    with peer_of(server) as peer:
        with served(port):
            assert answer(peer, b"one") == b"one"
            assert eventually(lambda: server.statistics().sends_pending == 0)
        [session] = sessions
        taken = [session.send(b"%d" % n) for n in range(12)]
        assert taken == [True] * 8 + [False] * 4
        assert server.statistics().sends_pending == 8
        assert server.send_to(b"nor anybody else", peer.getsockname()) is False
        with served(port):
            assert [peer.recv(10) for _ in range(8)] == [b"%d" % n for n in range(8)]
            assert eventually(lambda: server.statistics().sends_pending == 0)
            assert session.send(b"again") is True
            assert peer.recv(10) == b"again"
    assert session.statistics().sends_dropped == 4


def test_nothing_overtakes_what_was_not_taken_at_once(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """The first of 10 goes by an operation; the others could go at once, but wait their turn."""
    refusal = nothing_at_once(kernel)
    refusal.enabled = False
    port = open_port()
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with peer_of(server) as peer:
        with served(port):
            assert answer(peer, b"one") == b"one"
        calls = refusal.calls
        for n in range(10):
            refusal.enabled = n == 0
            assert sessions[0].send(b"%d" % n) is True
        assert refusal.calls == calls + 1
        assert server.statistics().sends_pending == 10
        with served(port):
            assert [peer.recv(10) for _ in range(10)] == [b"%d" % n for n in range(10)]
            assert eventually(lambda: server.statistics().sends_pending == 0)
            assert answer(peer, b"two") == b"two"
        assert refusal.calls == calls + 2


def test_everybody_gets_the_same_over_either_transport(port: CompletionPort) -> None:
    """Broadcast: 10 sessions of datagrams and 10 of streams, in one call."""
    streams = Made(Journal)
    listener = port.listen(LOCAL, streams)
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port):
        tcp = [connect(listener) for _ in range(10)]
        udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(10)]
        try:
            for peer in udp:
                peer.settimeout(10)
                peer.connect(server.address)
                assert answer(peer, b"hello") == b"hello"
            assert eventually(lambda: len(port.sessions) == 20)
            assert all(session.connected.wait(DEADLINE_S) for session in streams)
            assert port.broadcast(port.sessions, b"news") == TO_ALL
            assert [peer.recv(10) for peer in udp] == [b"news"] * 10
            with pytest.raises(ValueError, match="at most 65507 bytes"):
                port.broadcast(port.sessions, bytes(65508))
            assert port.broadcast(port.sessions, b"more") == TO_ALL
            assert [receive_all(peer, 8) for peer in tcp] == [b"newsmore"] * 10
        finally:
            for each in [*tcp, *udp]:
                each.close()


def test_broadcast_makes_no_copy_for_each(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """50 peers, 50,000 bytes to each, while nobody takes packets: one copy, not 50."""
    nothing_at_once(kernel)
    port = open_port()
    sessions = Made(DatagramJournal)
    server = port.serve_datagrams(LOCAL, sessions)
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
    try:
        with served(port):
            for peer in peers:
                peer.sendto(b"hello", server.address)
            assert eventually(lambda: len(server.sessions) == 50)
            assert all(session.connected.wait(DEADLINE_S) for session in sessions)
        world = bytearray(50_000)
        tracemalloc.start()
        assert port.broadcast(sessions, world) == TO_ALL
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert server.statistics().sends_pending == 50
        assert taken < 5 * len(world)
        with served(port):
            assert eventually(lambda: server.statistics().bytes_sent == 50 * len(world))
    finally:
        for peer in peers:
            peer.close()


def test_any_address_can_be_sent_to(port: CompletionPort) -> None:
    """One that has no session, with all buffers; what is no address is refused with words."""
    server = port.serve_datagrams(LOCAL, Echo)
    with served(port), peer_of(server) as peer:
        for data in (b"bytes", bytearray(b"more"), memoryview(b"a view")):
            assert server.send_to(data, peer.getsockname()) is True
            assert peer.recv(10) == bytes(data)
        with pytest.raises(ValueError, match="localhost"):
            server.send_to(b"x", ("localhost", 9))
        with pytest.raises(ValueError, match="at most 65507 bytes"):
            server.send_to(bytes(65508), peer.getsockname())
        with pytest.raises(TypeError):
            server.send_to(5, peer.getsockname())  # type: ignore[arg-type]
        assert server.sessions == set()


# Addresses


@pytest.mark.parametrize(
    ("address", "dual_stack", "hosts"),
    [
        (("127.0.0.1", 0), False, ["127.0.0.1"]),
        (("", 0), False, ["127.0.0.1"]),
        (("::1", 0), False, ["::1"]),
        (("", 0), True, ["127.0.0.1", "::1"]),
        (("::", 0), True, ["127.0.0.1", "::1"]),
    ],
)
def test_both_families(
    port: CompletionPort, address: Any, dual_stack: bool, hosts: list[str]
) -> None:
    """Over each family a client of ours is echoed to; the server sees its address."""
    sessions = Made(Echo)
    server = port.serve_datagrams(address, sessions, dual_stack=dual_stack)
    with served(port):
        for host in hosts:
            client = port.connect_datagram((host, server.address[1]), DatagramJournal)
            assert client.connected.wait(DEADLINE_S)
            assert client.send(b"hello") is True
            assert client.wait_received(1) == [b"hello"]
            seen = sessions[-1].peer_address
            assert seen[0] == ("::ffff:127.0.0.1" if dual_stack and host != "::1" else host)
            assert seen[1] == client.local_address[1]
    assert server.accepted == len(hosts)


def test_socket_of_pythons_is_taken_over(port: CompletionPort) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    address = sock.getsockname()
    server = port.serve_datagrams(sock, Echo)
    assert (server.address, sock.fileno()) == (address, -1)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"hello") == b"hello"


@pytest.mark.parametrize("exclusive", [True, False])
def test_address_is_the_servers_own(port: CompletionPort, exclusive: bool) -> None:
    """C35: SO_EXCLUSIVEADDRUSE is set, unless not wanted; an address in use is said."""
    server = port.serve_datagrams(LOCAL, Echo, exclusive=exclusive)
    value, size = DWORD(7), ctypes.c_int(4)
    number = server.datagram.number
    assert not getsockopt(
        number, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, ctypes.byref(value), ctypes.byref(size)
    )
    assert bool(value.value) is exclusive
    with pytest.raises(AddressUnavailableError):
        port.serve_datagrams(server.address, Echo)
    assert port.datagram_servers == {server}


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"receive_buffer": 0}),
        (ValueError, {"receive_buffer": 1 << 31}),
        (ValueError, {"datagram_size": 0}),
        (ValueError, {"datagram_size": 65528}),
        (ValueError, {"sends": 0}),
        (TypeError, {"factory": Echo()}),
        (TypeError, {"admit": "everybody"}),
        (TypeError, {"limits": 5}),
        (TypeError, {"address": "127.0.0.1:80"}),
        (ValueError, {"address": ("127.0.0.1", 70000)}),
        (ValueError, {"dual_stack": True}),
    ],
)
def test_bad_arguments_are_refused(
    port: CompletionPort, error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        port.serve_datagrams(**{"address": LOCAL, "factory": Echo, **arguments})
    assert port.datagram_servers == set()
    assert port.handles == set()


# Pausing, and the end


def test_paused_server_leaves_datagrams_with_the_system(port: CompletionPort) -> None:
    """Nothing is pending; nobody ends for being idle; then all comes, in order."""

    class Impatient(Echo):
        idle_timeout = 1.0

    sessions = Made(Impatient)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        server.pause()
        assert server.paused
        assert eventually(lambda: "receive_from" not in port.in_flight_by_kind())
        for n in range(5):
            peer.send(b"%d" % n)
        assert silent(peer, 2.0)
        assert not sessions[0].closed.is_set()
        server.resume()
        assert [peer.recv(10) for _ in range(5)] == [b"%d" % n for n in range(5)]
        assert receives(server)
        assert not sessions[0].closed.is_set()
        assert sessions[0].closed.wait(DEADLINE_S)


def test_pause_ends_a_burst(port: CompletionPort) -> None:
    """20 have come when the first of them has the server paused: one is taken, 19 stay."""

    def admit(_address: Any, _data: memoryview) -> bool:
        server.pause()
        return True

    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, admit=admit)
    with peer_of(server) as peer:
        for n in range(20):
            peer.send(b"%d" % n)
        with served(port):
            assert peer.recv(10) == b"0"
            assert silent(peer)
            server.resume()
            assert [peer.recv(10) for _ in range(19)] == [b"%d" % n for n in range(1, 20)]


def test_interrupted_admit_holds_up_nobody(port: CompletionPort) -> None:
    """Ctrl-C in `admit`, after another datagram of the burst has been taken: that is answered."""

    def admit(_address: Any, data: memoryview) -> bool:
        if data == b"interrupt":
            raise KeyboardInterrupt
        return True

    server = port.serve_datagrams(LOCAL, Echo, admit=admit)
    with peer_of(server) as one, peer_of(server) as other:
        one.send(b"one")
        other.send(b"interrupt")
        with pytest.raises(KeyboardInterrupt):
            port.run()
        with served(port):
            assert one.recv(10) == b"one"
            assert answer(other, b"two") == b"two"
            assert receives(server)


def test_receive_is_not_posted_while_its_packet_is_read(port: CompletionPort) -> None:
    """A signal handler raises after the post, and what mends that comes late.

    Another thread has the next packet by then, and its buffer and its sender are in use. They
    are not the kernel's before that thread has read them.
    """

    class RaisesOnce:
        """The lock: Ctrl-C comes as it is released after the post."""

        def __enter__(self) -> None:
            real.acquire()

        def __exit__(self, *_: object) -> None:
            real.release()
            if receives_._receive.state is PENDING:
                receives_._lock = real
                raise KeyboardInterrupt

    in_flight: list[int] = []

    def admit(_address: Any, data: memoryview) -> bool:
        if data == b"second":
            for packet, count, status in late:
                packet.receiver(packet, count, status)
            in_flight.append(port.in_flight_by_kind().get("receive_from", 0))
        return True

    server = port.serve_datagrams(LOCAL, Echo, admit=admit)
    receives_: Any = server._receives
    real = receives_._lock
    with peer_of(server) as one, peer_of(server) as other:
        one.send(b"first")
        assert eventually(lambda: bool(port.wait(0.01)) or True)
        receives_._lock = RaisesOnce()
        one.send(b"again")
        with pytest.raises(KeyboardInterrupt):
            port.run()
        late = [*port._queue.ready]  # another thread has taken these, and is slow
        assert late
        port._queue.ready.clear()
        other.send(b"second")
        with served(port):
            assert other.recv(10) == b"second"
            assert [one.recv(10), one.recv(10)] == [b"first", b"again"]
            assert answer(one, b"third") == b"third"
            assert receives(server)
    assert in_flight == [0]


def test_port_keeps_no_server_that_is_closed(port: CompletionPort) -> None:
    """Not even one that is told afterwards to receive again."""
    server: DatagramServer | None = port.serve_datagrams(LOCAL, DatagramJournal)
    assert server is not None
    server.pause()
    server.close()
    server.resume()
    ended = weakref.ref(server)
    server = None
    with served(port):
        assert eventually(lambda: gc.collect() < 0 or ended() is None)


def test_pausing_and_resuming_at_once_loses_no_receive(port: CompletionPort) -> None:
    """200 times, while datagrams come: afterwards it is pending as before."""
    server = port.serve_datagrams(LOCAL, DatagramJournal)
    with served(port, threads=2), peer_of(server) as peer:
        for _ in range(200):
            peer.send(b"x")
            server.pause()
            server.resume()
        assert receives(server)
        assert eventually(lambda: server.statistics().messages_received == 200)


def test_closed_server_ends_its_sessions_only(port: CompletionPort) -> None:
    """Its sessions are told; another server on the port goes on; closing twice does nothing."""
    sessions = Made(Echo)
    server, other = port.serve_datagrams(LOCAL, sessions), port.serve_datagrams(LOCAL, Echo)
    with served(port), peer_of(server) as peer, peer_of(other) as witness:
        assert answer(peer, b"one") == b"one"
        assert answer(witness, b"one") == b"one"
        server.close()
        server.close()
        assert server.closed
        assert sessions[0].closed.wait(DEADLINE_S)
        assert isinstance(sessions[0].error, ConnectionLostError)
        assert answer(witness, b"two") == b"two"
        assert port.datagram_servers == {other}
        assert eventually(lambda: server.sessions == set())
        assert sessions[0].send(b"too late") is False
        assert server.send_to(b"too late", peer.getsockname()) is False
        server.pause()
        server.resume()
    assert sessions[0].hooks == ["connect", "receive", "close"]


def test_shutdown_of_a_server_sends_what_waits(port: CompletionPort) -> None:
    """Each of 10 peers gets the goodbye; no new session begins; then the socket is closed."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(10)]
    try:
        with served(port):
            for peer in peers:
                peer.settimeout(10)
                peer.connect(server.address)
                assert answer(peer, b"hello") == b"hello"
            port.broadcast(server.sessions, b"goodbye")
            server.shutdown(timeout=10)
            assert [peer.recv(10) for peer in peers] == [b"goodbye"] * 10
            assert all(session.closed.wait(DEADLINE_S) for session in sessions)
            assert eventually(lambda: server.closed)
        assert [session.error for session in sessions] == [None] * 10
        assert port.datagram_servers == set()
    finally:
        for peer in peers:
            peer.close()


def test_shutdown_of_a_server_without_sessions_is_over_at_once(port: CompletionPort) -> None:
    server = port.serve_datagrams(LOCAL, Echo)
    server.shutdown(timeout=10)
    assert server.closed
    with pytest.raises(ValueError, match="at least 0 seconds"):
        port.serve_datagrams(LOCAL, Echo).shutdown(timeout=-1)


def test_hook_that_does_not_return_is_left_by_the_deadline(port: CompletionPort) -> None:
    """A shutdown of 0.2 s, a hook of longer: the socket is closed meanwhile."""

    class Stuck(Echo):
        def on_receive(self, data: memoryview) -> None:
            inside.set()
            assert go_on.wait(DEADLINE_S)

    inside, go_on = threading.Event(), threading.Event()
    sessions = Made(Stuck)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port, threads=2), peer_of(server) as peer:
        try:
            peer.send(b"hello")
            assert inside.wait(DEADLINE_S)
            server.shutdown(timeout=0.2)
            assert not server.closed
            assert eventually(lambda: server.closed)
            assert not sessions[0].closed.is_set()
        finally:
            go_on.set()
        assert sessions[0].closed.wait(DEADLINE_S)


def test_port_shuts_down_with_datagrams(port: CompletionPort) -> None:
    """`run` returns when the last session has ended; nothing new may be begun."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    thread = threading.Thread(target=port.run)
    thread.start()
    with peer_of(server) as peer:
        assert answer(peer, b"hello") == b"hello"
        port.shutdown(timeout=10)
        thread.join(10)
        assert not thread.is_alive()
    assert sessions[0].hooks == ["connect", "receive", "close"]
    assert sessions[0].error is None
    assert server.closed
    with pytest.raises(PortClosedError):
        port.serve_datagrams(LOCAL, Echo)
    with pytest.raises(PortClosedError):
        port.connect_datagram(server.address, Echo)


def test_closing_the_port_tells_every_session() -> None:
    sessions = Made(Echo)
    with CompletionPort() as port:
        server = port.serve_datagrams(LOCAL, sessions)
        with served(port), peer_of(server) as peer:
            assert answer(peer, b"hello") == b"hello"
    assert sessions[0].hooks == ["connect", "receive", "close"]
    assert isinstance(sessions[0].error, ConnectionLostError)
    assert port.in_flight == {}
    assert server.closed


def test_sessions_that_come_and_go_leave_nothing(port: CompletionPort) -> None:
    """500 peers, each with a datagram, an echo and an end: no memory, no operation is left."""

    class Short(Echo):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.close()

    server = port.serve_datagrams(LOCAL, Short, limits=Limits(sessions_per_address=9))
    with served(port, threads=2):
        for _ in range(500):
            with peer_of(server) as peer:
                assert answer(peer, b"hello") == b"hello"
                assert eventually(lambda: len(server.sessions) < 9)
        assert eventually(lambda: port.sessions == set())
        assert receives(server)
        statistics = server.statistics()
    assert (statistics.accepted, statistics.messages_sent, statistics.refused) == (500, 500, 0)
    assert server._admission._addresses == {}


def test_closed_port_serves_nobody() -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError):
        port.serve_datagrams(LOCAL, Echo)
    with pytest.raises(PortClosedError):
        port.connect_datagram(LOCAL, Echo)


def test_little_memory_is_locked(port: CompletionPort) -> None:
    """One buffer, however many come, as `port.statistics()` tells."""
    port.serve_datagrams(LOCAL, Echo, datagram_size=2048)
    locked = port.statistics().in_flight_by_kind["receive_from"]
    assert (locked.operations, locked.bytes) == (1, 2048)
    assert locked.pages <= 2


@pytest.mark.parametrize("receive_buffer", [4096, None])
def test_system_keeps_as_much_as_it_is_told(
    port: CompletionPort, receive_buffer: int | None
) -> None:
    """SO_RCVBUF: the option is set, unless not wanted."""
    server = port.serve_datagrams(LOCAL, Echo, receive_buffer=receive_buffer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        default = other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    value, size = DWORD(), ctypes.c_int(4)
    number = server.datagram.number
    assert not getsockopt(number, SOL_SOCKET, SO_RCVBUF, ctypes.byref(value), ctypes.byref(size))
    assert (value.value < default) is (receive_buffer is not None)
