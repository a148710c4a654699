"""Back-pressure (C77): what waits to be sent stops what is received, and has its limits."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from typing import Any

import pytest
from deadline import DEADLINE_S
from footprint import Footprint
from honest import HonestClient
from journal import Journal, Made, connect, eventually, receive_all, reset, served
from tls_context import client_context, server_context

from pyiocp import (
    CompletionPort,
    Limits,
    SendQueueOverflowError,
    SendStalledError,
    Session,
    SessionState,
)
from pyiocp.servers.tcp import send_progress
from pyiocp.servers.tcp.send_queues import SendQueues

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back, without a look at what `send` says: as users do first."""

    received_bytes = 0

    def on_receive(self, data: memoryview) -> None:
        self.received_bytes += len(data)
        self.send(data)


def fill(peer: socket.socket) -> int:
    """Send until the other side takes no more; return how many bytes it took."""
    peer.settimeout(0.5)
    count = 0
    try:
        while True:
            count += peer.send(bytes(1 << 16))
    except TimeoutError:
        return count


@pytest.mark.parametrize("tls", [False, True])
def test_peer_that_does_not_read_is_not_read_from(port: CompletionPort, tls: bool) -> None:
    """C77: the README's Echo holds `high_water` and a receive, however much the peer sends."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions, tls=server_context() if tls else None)
    with served(port):
        raw: Any = connect(listener)
        peer = client_context().wrap_socket(raw, server_hostname="localhost") if tls else raw
        with peer, HonestClient(port.listen(LOCAL, Echo).address, b"question") as honest:
            fill(peer)
            [session] = sessions
            room = session.high_water + 2 * session.receive_size
            assert session.low_water < session.send_queue_bytes <= room
            received = session.received_bytes
            assert honest.rounds_in(0.2)
            assert session.received_bytes == received
            # It goes on when the peer reads, and nothing is lost.
            peer.settimeout(30)
            assert len(receive_all(peer, received)) >= received
            assert eventually(lambda: session.received_bytes > received)
        assert session.closed.wait(DEADLINE_S)


@pytest.mark.parametrize("tls", [False, True])
def test_two_that_send_a_lot_to_each_other_both_get_it(port: CompletionPort, tls: bool) -> None:
    """C77: a client sends 32 MB at once to an echo server; nothing is set, and all comes back."""
    size = 32 << 20

    class Client(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(bytes(size))

    listener = port.listen(LOCAL, sessions := Made(Echo), tls=server_context() if tls else None)
    clients = Made(Client)
    with served(port):
        if tls:
            context = client_context()
            port.connect(listener.address, clients, tls=context, server_hostname="localhost")
        else:
            port.connect(listener.address, clients)
        assert eventually(lambda: bool(clients) and len(clients[0].received) == size)
        clients[0].close()
        assert sessions[0].closed.wait(DEADLINE_S)


def test_session_may_go_on_receiving(port: CompletionPort) -> None:
    """`receive_when_full`: as much comes as the peer sends."""

    class Greedy(Echo):
        receive_when_full = True

    sessions = Made(Greedy)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        sent = 4 << 20
        peer.settimeout(30)
        peer.sendall(bytes(sent))
        assert eventually(lambda: bool(sessions) and sessions[0].received_bytes == sent)
        assert len(receive_all(peer, sent)) == sent


@pytest.mark.parametrize("tls", [False, True])
def test_two_sessions_that_flood_each_other_do_not_hang(
    port: CompletionPort, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both send and do not read until what they have sent is taken: an error says so."""
    monkeypatch.setattr(send_progress, "_PIECE_RATE", 1 << 20)  # 15 s less for a piece

    class Flooding(Journal):
        receive_when_full = False
        high_water = 1 << 16
        low_water = 1 << 15
        stall_timeout = 0.5

        def on_connect(self) -> None:
            super().on_connect()
            self.send(bytes(1 << 25))

    servers, clients = Made(Flooding), Made(Flooding)
    listener = port.listen(LOCAL, servers, tls=server_context() if tls else None)
    with served(port):
        if tls:
            port.connect(
                listener.address, clients, tls=client_context(), server_hostname="localhost"
            )
        else:
            port.connect(listener.address, clients)
        assert eventually(lambda: bool(servers) and servers[0].closed.is_set())
        assert eventually(lambda: clients[0].closed.is_set())
    errors = [session.error for session in (servers[0], clients[0])]
    stalled = [error for error in errors if isinstance(error, SendStalledError)]
    assert stalled
    assert all(isinstance(error, OSError) for error in errors)
    assert "stall_timeout" in str(stalled[0])


def test_stalled_session_may_receive_again(port: CompletionPort) -> None:
    """`receive_when_stalled`: a peer that sends all before it reads gets its answer."""

    class Patient(Echo):
        high_water = 1 << 16
        low_water = 1 << 15
        stall_timeout = 0.2
        receive_when_stalled = True

    sent = 24 << 20
    sessions = Made(Patient)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.settimeout(60)
        peer.sendall(bytes(sent))
        peer.shutdown(socket.SHUT_WR)
        assert len(receive_all(peer)) == sent
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].error is None


def test_peer_that_reads_slowly_is_not_stalled(port: CompletionPort) -> None:
    """It takes less than a piece in `stall_timeout` at last, but goes on."""

    class Hurried(Journal):
        high_water = 1 << 16
        low_water = 1 << 15
        stall_timeout = 0.4

        def on_connect(self) -> None:
            super().on_connect()
            self.send(bytes(1 << 23))

    sessions = Made(Hurried)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        count = 0
        while count < 1 << 23:
            count += len(peer.recv(1 << 17))
            time.sleep(0.03)  # a reader that is slow
        assert sessions[0].closed.wait(0) is False
        assert sessions[0].state is SessionState.OPEN


def test_full_session_notices_that_its_peer_has_gone(port: CompletionPort) -> None:
    """It receives nothing, and the peer resets: on_close comes, long before any time-out."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        peer = connect(listener)
        fill(peer)
        reset(peer)
        assert sessions[0].closed.wait(DEADLINE_S)
        assert isinstance(sessions[0].error, ConnectionError)


@pytest.mark.parametrize("full", [False, True])
def test_pause_is_not_silence(port: CompletionPort, full: bool) -> None:
    """C45: paused by the session, or full, for four times `idle_timeout`: it lives."""

    class Paused(Echo):
        idle_timeout = 0.2
        high_water = 1 << 16
        low_water = 1 << 15

        def on_connect(self) -> None:
            super().on_connect()
            if not full:
                self.pause_receiving()

    sessions = Made(Paused)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        if full:
            fill(peer)
        else:
            peer.sendall(b"question")
        assert not session.closed.wait(0.8)
        peer.settimeout(30)
        if full:
            with contextlib.suppress(ConnectionError):
                receive_all(peer)
        else:
            session.resume_receiving()
            assert receive_all(peer, 8) == b"question"
        assert session.closed.wait(DEADLINE_S)  # now it is silent
        assert isinstance(session.error, TimeoutError)
        assert not session.send_queue_bytes


def test_paused_session_with_something_to_send_may_be_idle(port: CompletionPort) -> None:
    """C45: it is paused, but the peer takes nothing either."""

    class Paused(Journal):
        idle_timeout = 0.3
        receive_when_full = True

        def on_connect(self) -> None:
            super().on_connect()
            self.pause_receiving()
            self.send(bytes(1 << 25))

    sessions = Made(Paused)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
        assert isinstance(sessions[0].error, TimeoutError)


@pytest.mark.parametrize("size", [1, 2, 50, 3000])
def test_memory_of_what_waits_is_what_is_counted(port: CompletionPort, size: int) -> None:
    """C69: 8 MB of small messages take less than twice that, whatever their size."""

    class Full(Session):
        high_water = 1 << 30

    sessions = Made(Full)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].state is SessionState.OPEN)
        [session] = sessions
        message = bytes(size)
        session.send(bytes(1 << 25))  # more than the system takes
        assert eventually(lambda: session.send_queue_bytes > 0)
        before = session.send_queue_bytes
        count = (8 << 20) // size if size > 2 else 400_000
        for _ in range(count):
            session.send(message)
        waiting = session.send_queue_bytes
        assert waiting - before >= count * size - (1 << 22)
        queue = session._pyiocp.sends._send.queue
        entries = list(queue)[1:]
        memory = sum(map(sys.getsizeof, entries)) + sys.getsizeof(queue)
        assert memory < 2 * count * size + (1 << 14)
        session.abort()
        peer.close()


def test_merged_messages_arrive_in_order(port: CompletionPort) -> None:
    """C69: numbers of 4 bytes, between messages of all sizes; the reader comes late."""
    listener = port.listen(LOCAL, sessions := Made(Journal))
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        sent = bytearray()
        for n in range(100_000):
            message = n.to_bytes(4, "big") * (1 if n % 1000 else n // 20 + 1)
            sent += message
            sessions[0].send(message)
        assert receive_all(peer, len(sent)) == sent


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("size", [1 << 17, 1 << 23], ids=["128 KB", "8 MB"])
def test_one_message_larger_than_the_limit_is_taken(
    port: CompletionPort, tls: bool, size: int
) -> None:
    """It is no sign of a slow reader; what is more than the limit behind it is."""

    class Limited(Journal):
        send_limit = 1 << 16
        high_water = 1 << 15

    data = bytes(range(256)) * (size // 256)
    listener = port.listen(LOCAL, sessions := Made(Limited), tls=server_context() if tls else None)
    with served(port):
        raw: Any = connect(listener)
        peer = client_context().wrap_socket(raw, server_hostname="localhost") if tls else raw
        with peer:
            assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
            [session] = sessions
            for _ in range(2):
                session.send(data)
                session.send(b"and a little more")
                assert receive_all(peer, size + 17) == data + b"and a little more"
                assert eventually(lambda: not session.send_queue_bytes)
            for _ in range(400):  # nobody reads
                session.send(data)
            assert session.closed.wait(DEADLINE_S)
    assert isinstance(session.error, SendQueueOverflowError)


def test_session_that_was_never_connected_takes_nothing(
    port: CompletionPort, tmp_path: Any
) -> None:
    """C40: refused; send and send_file say False, the file is closed, broadcast serves others."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with socket.socket() as nobody:
        nobody.bind(LOCAL)  # and does not listen
        session = Journal()
        other = Made(Journal)
        listener = port.listen(LOCAL, other)
        with served(port), connect(listener) as peer:
            port.connect(nobody.getsockname(), lambda: session)
            assert session.closed.wait(DEADLINE_S)
            with path.open("rb") as file:
                assert session.send_file(file) is False
                assert not file.closed
                assert session.send_file(file, close=True) is False
                assert file.closed
            with pytest.raises(TypeError):
                session.send_file("no file")
            assert session.send(b"x") is False
            session.send_eof()
            session.pause_receiving()
            session.resume_receiving()
            session.close()
            session.abort()
            assert eventually(lambda: bool(other) and other[0].connected.is_set())
            port.broadcast([session, other[0]], b"news")
            assert receive_all(peer, 4) == b"news"


@pytest.mark.parametrize("tls", [False, True])
def test_largest_queues_go_first(port: CompletionPort, tls: bool) -> None:
    """C77: all together are over the limit: who reads keeps its session, the largest loses it."""

    class Talking(Journal):
        receive_when_full = True

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            for _ in range(int(bytes(data))):
                self.send(bytes(1 << 16))

    sessions = Made(Talking)
    limits = Limits(send_queue_bytes=16 << 20)
    context = server_context() if tls else None
    listener = port.listen(LOCAL, sessions, limits=limits, tls=context)
    peers: list[Any] = []
    with served(port), contextlib.ExitStack() as stack:
        for megabytes in (6, 40, 6):  # the second one is too much, and the largest
            raw: Any = stack.enter_context(connect(listener))
            if tls:
                raw = client_context().wrap_socket(raw, server_hostname="localhost")
                stack.enter_context(raw)
            peers.append(raw)
            raw.sendall(b"%d" % (16 * megabytes))
            index = len(peers) - 1
            assert eventually(lambda n=index: len(sessions) > n and sessions[n].hooks[-1:] != [])
            assert eventually(
                lambda n=index: sessions[n].closed.is_set() or len(sessions[n].received) > 0
            )
        assert sessions[1].closed.wait(DEADLINE_S)
        error = sessions[1].error
        assert type(error) is SendQueueOverflowError
        assert "send_queue_bytes" in str(error)
        for number, megabytes in ((0, 6), (2, 6)):
            assert len(receive_all(peers[number], megabytes << 20)) >= megabytes << 20
            assert not sessions[number].closed.is_set()
        queues = listener._send_queues
        assert queues is not None
        assert eventually(lambda: queues.bytes == 0)
        # What has gone counts no more: as much again is possible.
        peers[0].sendall(b"96")
        assert len(receive_all(peers[0], 6 << 20)) >= 6 << 20
        assert not sessions[0].closed.is_set()
    assert queues._bytes_of == {}
    assert eventually(lambda: not queues._crowded_out)


def test_limit_of_all_queues_is_a_number_of_bytes() -> None:
    """Bad values are refused when the limits are made."""
    for value in (0, -1):
        with pytest.raises(ValueError, match="send_queue_bytes"):
            Limits(send_queue_bytes=value)


def test_what_waits_behind_a_file_counts_too(port: CompletionPort, tmp_path: Any) -> None:
    """Over TLS it is not encrypted yet: 3 MB of it are over a limit of 2."""
    path = tmp_path / "file"
    path.write_bytes(bytes(32 << 20))

    class Talking(Journal):
        high_water = 1 << 16  # so little of the file waits

        def on_connect(self) -> None:
            super().on_connect()
            self.send_file(path.open("rb"), close=True)
            for _ in range(48):
                self.send(bytes(1 << 16))

    sessions = Made(Talking)
    limits = Limits(send_queue_bytes=2 << 20)
    listener = port.listen(LOCAL, sessions, limits=limits, tls=server_context())
    with (
        served(port),
        connect(listener) as raw,
        client_context().wrap_socket(raw, server_hostname="localhost"),
    ):
        assert sessions[0].closed.wait(DEADLINE_S)
    assert type(sessions[0].error) is SendQueueOverflowError


def test_session_that_refills_in_on_writable_is_paused_again(port: CompletionPort) -> None:
    """The usual producer: on_writable sends until `send` says False; that pauses like the first."""

    class Producer(Journal):
        stall_timeout = 0.3

        def on_connect(self) -> None:
            super().on_connect()
            self.on_writable()

        def on_writable(self) -> None:
            super().on_writable()
            while self.send(bytes(1 << 16)):
                pass

    sessions = Made(Producer)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        while session.hooks.count("writable") < 3:
            peer.recv(1 << 20)
        # From here on nobody reads: the session is full, receives nothing, and stalls.
        assert session.closed.wait(DEADLINE_S)
        assert "receive" not in session.hooks
    assert isinstance(session.error, SendStalledError)


def test_room_is_told_though_no_send_is_under_way(port: CompletionPort) -> None:
    """More than a turn may send, all taken on the spot, and small ones behind it."""

    class Sending(Journal):
        low_water = 1 << 18

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.send(bytes(3 << 20))
            self.send(b"a")
            self.send(b"b")

    sessions = Made(Sending)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        for _ in range(3):
            peer.sendall(b"?")
            assert len(receive_all(peer, (3 << 20) + 2)) == (3 << 20) + 2
            assert eventually(lambda: sessions[0].send(b""))
    assert sessions[0].hooks.count("receive") == 3


@pytest.mark.parametrize("tls", [False, True])
def test_full_session_that_closes_reads_on(port: CompletionPort, tls: bool) -> None:
    """The peer sends 24 MB before it reads its answer: what it sends is dropped, meanwhile."""

    class Refusing(Journal):
        high_water = 1 << 18

        def on_receive(self, data: memoryview) -> None:
            if not self.hooks.count("receive"):
                super().on_receive(data)
                self.send(bytes(8 << 20))
                self.close()

    listener = port.listen(LOCAL, sessions := Made(Refusing), tls=server_context() if tls else None)
    with served(port):
        raw: Any = connect(listener)
        peer = client_context().wrap_socket(raw, server_hostname="localhost") if tls else raw
        with peer:
            peer.sendall(bytes(24 << 20))
            assert len(receive_all(peer, 8 << 20)) == 8 << 20
        assert sessions[0].closed.wait(DEADLINE_S)


def test_high_water_of_nothing_does_not_stop_it(port: CompletionPort) -> None:
    """`send` always says False; what was taken at once is nothing that waits."""

    class Low(Echo):
        high_water = low_water = 0
        stall_timeout = 0.2

    listener = port.listen(LOCAL, sessions := Made(Low))
    with served(port), connect(listener) as peer:
        for n in range(20):
            peer.sendall(b"%02d" % n)
            assert receive_all(peer, 2) == b"%02d" % n
        assert not sessions[0].closed.wait(0.5)


def test_sums_of_all_queues() -> None:
    """The largest go until the others fit; who has gone is counted no more, whatever it reports."""
    gone: list[tuple[Queue, int, int]] = []

    class Queue:
        def crowded_out(self, mine: int, all_bytes: int, limit: int) -> None:
            assert limit == 100
            gone.append((self, mine, all_bytes))

    queues = SendQueues(100)
    small, middle, large = Queue(), Queue(), Queue()
    queues.waits(small, 20)
    queues.waits(middle, 30)
    queues.waits(large, 50)
    assert (queues.bytes, gone) == (100, [])
    queues.waits(small, 21)
    assert (queues.bytes, gone) == (51, [(large, 50, 101)])
    queues.waits(large, 90)
    queues.waits(middle, 0)
    queues.waits(small, 101)
    assert gone[1:] == [(small, 101, 101)]
    for queue in (small, middle, large):
        queues.leave(queue)
    assert queues.bytes == 0
    queues.waits(large, 10)  # another session, perhaps
    assert queues.bytes == 10


def test_stall_that_lets_it_receive_is_no_silence(port: CompletionPort) -> None:
    """`receive_when_stalled` beside an `idle_timeout` that is shorter: it is not idle at once."""

    class Patient(Echo):
        high_water, low_water = 1 << 16, 1 << 15
        stall_timeout = 1.5
        idle_timeout = 1.0
        receive_when_stalled = True

    listener = port.listen(LOCAL, sessions := Made(Patient))
    with served(port), connect(listener) as peer:
        count = fill(peer)
        [session] = sessions
        peer.settimeout(DEADLINE_S)
        peer.sendall(bytes(1 << 22))  # taken only because it receives again
        assert session.received_bytes > 1 << 17
        assert not session.closed.is_set()
        assert count


def test_eight_clients_that_never_read_take_little(
    port: CompletionPort, record_property: pytest.RecordProperty
) -> None:
    """C77: the README's Echo took 573 MB for them; an honest client is served meanwhile."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    with served(port), contextlib.ExitStack() as stack:
        honest = stack.enter_context(HonestClient(listener.address, b"question"))
        alone = honest.rounds_in(0.5)
        before = Footprint.now()
        for _ in range(8):
            fill(stack.enter_context(connect(listener)))
        beside = honest.rounds_in(0.5)
        waiting = sum(session.send_queue_bytes for session in sessions)
        grown = Footprint.now().private_bytes - before.private_bytes
    record_property("round trips alone, and beside them", (alone, beside))
    record_property("bytes that wait, and private bytes more", (waiting, grown))
    assert waiting < 8 * (Echo.high_water + 2 * Echo.receive_size)
    assert grown < 1 << 26
    assert beside > alone / 4
