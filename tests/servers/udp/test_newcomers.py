"""C76: made-up addresses lock nobody out: who has sent one datagram only goes first."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
from datagram_journal import LOCAL, DatagramJournal, Echo, answer, peer_of, silent
from deadline import DEADLINE_S
from honest_peers import HonestPeers
from journal import Made, eventually, served

from pyiocp import AddressValidation, CompletionPort, ConnectionLostError, DatagramServer, Limits

FULL = "one datagram only"
"""What is logged when a peer had to go."""


@contextlib.contextmanager
def several(server: DatagramServer, count: int) -> Iterator[list[socket.socket]]:
    """So many peers, each with its own port."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(peer_of(server)) for _ in range(count)]


def test_who_has_sent_one_datagram_goes_first(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Three places: of the two that have said one thing the older one goes, and is told why."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, limits=Limits(sessions=3))
    with served(port), several(server, 4) as (talker, first, second, late):
        assert answer(talker, b"one") == b"one"
        assert answer(talker, b"two") == b"two"
        assert answer(first, b"one") == b"one"
        assert answer(second, b"one") == b"one"
        assert answer(late, b"let me in") == b"let me in"
        assert sessions[1].closed.wait(DEADLINE_S)
        assert isinstance(sessions[1].error, ConnectionLostError)
        assert "make_room" in str(sessions[1].error)
        assert server.sessions == {sessions[0], sessions[2], sessions[3]}
        assert answer(talker, b"still here") == b"still here"
        assert answer(second, b"still here") == b"still here"
    assert (server.accepted, server.evicted, server.refused) == (4, 1, 0)
    assert server.statistics().evicted == 1
    assert caplog.text.count(FULL) == 1
    caplog.clear()


def test_who_has_said_more_stays(port: CompletionPort, caplog: pytest.LogCaptureFixture) -> None:
    """Two that talk fill the server: the third is dropped, as before, until one has gone."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, limits=Limits(sessions=2))
    with served(port), several(server, 3) as (one, two, late):
        for peer in (one, two):
            for text in (b"a", b"b"):
                assert answer(peer, text) == text
        for _ in range(5):
            late.send(b"let me in")
        assert silent(late)
        assert (server.evicted, server.refused) == (0, 5)
        assert server.sessions == set(sessions)
        sessions[0].close()
        assert eventually(lambda: len(server.sessions) == 1)
        assert answer(late, b"now?") == b"now?"
    caplog.clear()


def test_second_datagram_that_waits_for_a_hook_counts(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """The hook is still busy with the first one: nobody has been handed the second."""

    class Busy(Echo):
        def on_receive(self, data: memoryview) -> None:
            if data == b"first":
                inside.set()
                assert go_on.wait(DEADLINE_S)
            super().on_receive(data)

    inside, go_on = threading.Event(), threading.Event()
    server = port.serve_datagrams(LOCAL, Busy, limits=Limits(sessions=1))
    with served(port, threads=2), several(server, 2) as (one, late):
        one.send(b"first")
        assert inside.wait(DEADLINE_S)
        one.send(b"second")
        late.send(b"let me in")
        assert eventually(lambda: server.refused + server.evicted == 1)
        assert server.evicted == 0
        go_on.set()
        assert [one.recv(10), one.recv(10)] == [b"first", b"second"]
    caplog.clear()


def test_place_of_ones_own_address_goes_first(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """An address that is over its limit makes room itself, and nobody else has to."""
    sessions = Made(Echo)
    limits = Limits(sessions=3, sessions_per_address=2)
    server = port.serve_datagrams(("", 0), sessions, dual_stack=True, limits=limits)
    with served(port), contextlib.ExitStack() as stack:

        def new(host: str) -> socket.socket:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            peer = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            peer.settimeout(10)
            peer.connect((host, server.address[1]))
            return peer

        other = new("::1")
        assert answer(other, b"one") == b"one"  # the oldest, and it has said one thing
        for text in (b"a", b"b", b"c", b"d"):
            assert answer(new("127.0.0.1"), text) == text
        assert eventually(lambda: sessions[2].closed.is_set())
        assert [session.closed.is_set() for session in sessions] == [
            False,
            True,
            True,
            False,
            False,
        ]
        assert answer(other, b"still here") == b"still here"
    assert (server.accepted, server.evicted) == (5, 2)
    caplog.clear()


@pytest.mark.parametrize(
    "limits",
    [Limits(sessions=2, per_second=2), Limits(sessions=2, per_second_per_address=2)],
    ids=["all", "address"],
)
def test_nobody_goes_for_one_that_is_not_let_in(
    port: CompletionPort, limits: Limits, caplog: pytest.LogCaptureFixture
) -> None:
    """Full, and too many begin in a second: the next one is dropped, and nobody has to go."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, limits=limits)
    with served(port), several(server, 3) as (one, two, late):
        for peer in (one, two, late):
            peer.send(b"hello")
        assert eventually(lambda: server.accepted + server.refused == 3)
        assert (server.accepted, server.evicted) == (2, 0)
        assert server.sessions == set(sessions)
    caplog.clear()


def test_evicted_address_may_come_again(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Two that take each other's place, again and again: each time it is a new session."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, limits=Limits(sessions=1))
    with served(port), several(server, 2) as peers:
        for n in range(50):
            text = b"%d" % n
            assert answer(peers[n % 2], text) == text
        assert eventually(lambda: sum(s.closed.is_set() for s in sessions) == 49)
        assert len(server.sessions) == len(port.sessions) == 1
    assert (server.accepted, server.evicted, server.refused) == (50, 49, 0)
    assert all(session.hooks.count("close") <= 1 for session in sessions)
    figures = server.statistics()
    assert (figures.messages_received, figures.messages_sent) == (50, 50)
    caplog.clear()


def test_closing_session_is_not_evicted(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends in order, with None: what it has sent still goes out."""

    class Once(DatagramJournal):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.send(b"goodbye")
            self.close()

    sessions = Made(Once)
    server = port.serve_datagrams(LOCAL, sessions, limits=Limits(sessions=1))
    with served(port), several(server, 20) as peers:
        for peer in peers:
            while True:
                peer.send(b"hello")  # until the one before it has gone
                peer.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    assert peer.recv(10) == b"goodbye"
                    break
    assert {type(session.error) for session in sessions if session.closed.is_set()} <= {type(None)}
    caplog.clear()


# The attack


class Twice(Echo):
    """Answers two datagrams, and ends."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        if len(self.received) == 2:
            self.close()


class Flood:
    """Sends one datagram of 16 bytes from port after port, as fast as it can, until it is told."""

    def __init__(self, address: Any, ports: int) -> None:
        self._address = address
        self._ports = ports
        self._ending = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, name="flood", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        socks: list[socket.socket] = []
        while not self._ending.is_set():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(LOCAL)  # another port than all that are open
            sock.sendto(b"sixteen bytes 16", self._address)
            socks.append(sock)
            self.sent += 1
            if len(socks) > self._ports:
                socks.pop(0).close()
        for sock in socks:
            sock.close()


SIZES = [
    pytest.param(100, 300, 1.0, id="short"),
    pytest.param(
        10_000, 1_000, 60.0, id="minute", marks=[pytest.mark.soak, pytest.mark.timeout(600)]
    ),
]
"""Places on the server, ports that the flood keeps open, and seconds."""


@pytest.mark.parametrize(("places", "ports", "seconds"), SIZES)
@pytest.mark.parametrize("validated", [False, True], ids=["no admit", "AddressValidation"])
def test_flood_of_made_up_addresses_locks_nobody_out(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    places: int,
    ports: int,
    seconds: float,
    validated: bool,
) -> None:
    """New peers are let in while it goes on, one after the other, each for two answers.

    At first the flood runs until it has filled the server: without eviction nobody would get
    in until `idle_timeout`. Afterwards all is as before.
    """
    validation = AddressValidation() if validated else None
    server = port.serve_datagrams(
        LOCAL, Twice, limits=Limits(sessions=places), admit=validation, receive_buffer=1 << 22
    )
    with served(port):
        with HonestPeers(server.address, validated=validated) as alone:
            before = alone.let_in_within(seconds)
        with Flood(server.address, ports) as flood:
            if validated:
                assert eventually(lambda: server.not_admitted > places, 120)
            else:
                assert eventually(lambda: server.evicted > 0, 120)
            sent = flood.sent
            with HonestPeers(server.address, validated=validated) as beside:
                during = beside.let_in_within(seconds)
                assert beside.error is None
            assert flood.sent > sent
        # The flood is a thread of the same process, and takes more than half of its time.
        assert during > before / 20, (before, during)
        assert len(server.sessions) <= places
        assert eventually(lambda: len(port.sessions) <= places)
        with HonestPeers(server.address, validated=validated) as after:
            assert after.let_in_within(seconds / 2) > 0
    caplog.clear()
