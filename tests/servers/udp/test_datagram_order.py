"""Datagrams on several workers: in order for each peer, and one hook at a time (C38)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from datagram_journal import LOCAL, DatagramJournal, answer, peer_of
from journal import Made, eventually, served

from pyiocp import CompletionPort


class Careful(DatagramJournal):
    """Counts what overlaps and what comes out of order; echoes, so that the peer goes on."""

    receive_limit = 100_000
    inside = False
    expected = 0
    overlaps = 0
    out_of_order = 0

    def enter(self) -> None:
        self.overlaps += self.inside
        self.inside = True
        time.sleep(0)  # lets another thread in, if one can get in
        self.inside = False

    def on_connect(self) -> None:
        self.enter()

    def on_receive(self, data: memoryview) -> None:
        self.enter()
        self.out_of_order += int(bytes(data)) != self.expected
        self.expected += 1
        self.send(data)

    def on_close(self, error: OSError | None) -> None:
        self.enter()
        super().on_close(error)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_many_peers_on_several_workers(port: CompletionPort, threads: int) -> None:
    """C38: 20 peers, 100 datagrams each, 10 of each under way at a time, from four threads.

    Each comes once, in order, is echoed in order, and no two hooks of a session overlap.
    """
    sessions = Made(Careful)
    server = port.serve_datagrams(LOCAL, sessions)
    echoes: dict[int, list[bytes]] = {}
    per_peer, window = 100, 10

    def play(numbers: range) -> None:
        peers = {n: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for n in numbers}
        for peer in peers.values():
            peer.settimeout(20)
            peer.connect(server.address)
        try:
            for n in peers:
                echoes[n] = []
            for begun in range(0, per_peer, window):
                for peer in peers.values():
                    for k in range(begun, begun + window):
                        peer.send(b"%d" % k)
                for n, peer in peers.items():
                    echoes[n] += [peer.recv(100) for _ in range(window)]
        finally:
            for peer in peers.values():
                peer.close()

    with served(port, threads):
        players = [threading.Thread(target=play, args=(range(k, 20, 4),)) for k in range(4)]
        for player in players:
            player.start()
        for player in players:
            player.join(60)
            assert not player.is_alive()
        assert len(sessions) == 20
        for session in list(server.sessions):
            session.close()
        assert all(session.closed.wait(10) for session in sessions)
        figures = server.statistics()
    assert [session.overlaps for session in sessions] == [0] * 20
    assert [session.out_of_order for session in sessions] == [0] * 20
    assert [session.hooks.count("close") for session in sessions] == [1] * 20
    assert echoes == {n: [b"%d" % k for k in range(per_peer)] for n in range(20)}
    assert figures.messages_received == figures.messages_sent == 20 * per_peer
    assert (figures.receives_dropped, figures.sends_dropped) == (0, 0)


def test_one_end_whoever_asks_for_it(port: CompletionPort) -> None:
    """C38: sends, closes and aborts of one session from four threads, while datagrams come.

    100 sessions, one after the other: each has one on_close, as its last hook, and nothing of it
    is left under way.
    """
    sessions = Made(Careful)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port, threads=3):
        for n in range(100):
            with peer_of(server) as peer:
                assert answer(peer, b"0") == b"0"
                session = sessions[n]
                go = threading.Barrier(4)

                def act(method: Callable[[], Any], go: threading.Barrier = go) -> None:
                    go.wait(10)
                    method()

                methods: list[Callable[[], Any]] = [
                    session.close,
                    session.abort,
                    lambda session=session: [session.send(b"x") for _ in range(20)],
                    lambda peer=peer: [peer.send(b"1") for _ in range(5)],
                ]
                threads = [threading.Thread(target=act, args=(method,)) for method in methods]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(10)
                assert session.closed.wait(10)
        assert eventually(lambda: server.statistics().sends_pending == 0)
        assert eventually(lambda: port.in_flight_by_kind().get("receive_from") == 1)
        server.close()  # with the sessions of datagrams that came after the end
        assert eventually(lambda: not server.sessions)
    assert all(session.hooks.count("close") == 1 for session in sessions)
    assert all(session.hooks[-1] == "close" for session in sessions)
    assert [session.overlaps for session in sessions] == [0] * len(sessions)


def test_hook_that_blocks_holds_up_nothing_of_its_burst(port: CompletionPort) -> None:
    """C38: a worker finds three datagrams in one burst; the hook of the second blocks.

    It is in `admit` until all three are there. The peer of the third is answered meanwhile.
    """

    class Blocking(DatagramJournal):
        def on_receive(self, data: memoryview) -> None:
            if data == b"block":
                inside.set()
                assert go_on.wait(10)
            self.send(data)

    def admit(_address: Any, data: memoryview) -> bool:
        if data == b"let me in":
            asked.set()
            assert sent.wait(10)
        return True

    asked, sent, inside, go_on = (threading.Event() for _ in range(4))
    server = port.serve_datagrams(LOCAL, Blocking, admit=admit)
    with (
        served(port, threads=2),
        peer_of(server) as slow,
        peer_of(server) as other,
        peer_of(server) as late,
    ):
        try:
            for peer in (slow, other):
                assert answer(peer, b"hello") == b"hello"
            late.send(b"let me in")
            assert asked.wait(10)
            slow.send(b"block")
            other.send(b"question")
            sent.set()
            assert inside.wait(10)
            assert other.recv(10) == b"question"
        finally:
            go_on.set()
        assert slow.recv(10) == b"block"
        assert late.recv(10) == b"let me in"


def test_workers_work_at_the_same_time(port: CompletionPort) -> None:
    """Two sessions' hooks that wait for each other: both are in there at once."""
    both = threading.Barrier(2)

    class Together(DatagramJournal):
        def on_receive(self, data: memoryview) -> None:
            both.wait(10)
            self.send(data)

    server = port.serve_datagrams(LOCAL, Together)
    with served(port, threads=2), peer_of(server) as one, peer_of(server) as two:
        for n in range(20):
            for peer in (one, two):
                peer.send(b"%d" % n)
            assert [peer.recv(10) for peer in (one, two)] == [b"%d" % n] * 2
