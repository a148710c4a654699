"""Who begins a session of datagrams: an address costs nothing, so a server need not believe it."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from typing import Any

import pytest
from datagram_journal import LOCAL, DatagramJournal, Echo, answer, peer_of, silent
from deadline import DEADLINE_S
from journal import Made, eventually, served

from pyiocp import CompletionPort, Limits
from pyiocp.servers.admission import Admission


def test_sessions_over_the_limit_are_dropped(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Two may come in, and talk; ten more datagrams are dropped, which is logged once; one leaves.

    Who has sent one datagram only would have to go: see `test_newcomers`.
    """
    server = port.serve_datagrams(LOCAL, Echo, limits=Limits(sessions=2))
    with served(port), peer_of(server) as a, peer_of(server) as b, peer_of(server) as c:
        for peer, text in ((a, b"one"), (b, b"one"), (a, b"two"), (b, b"two")):
            assert answer(peer, text) == text
        for _ in range(10):
            c.send(b"let me in")
        assert silent(c)
        assert (server.accepted, server.refused) == (2, 10)
        assert answer(a, b"still here") == b"still here"
        next(iter(server.sessions)).close()
        assert eventually(lambda: len(server.sessions) == 1)
        assert answer(c, b"now?") == b"now?"
    assert caplog.text.count("refused by now") == 1
    assert "sessions=2" in caplog.text
    caplog.clear()


def test_sessions_of_one_address_are_limited(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """All peers are of 127.0.0.1, but the ::1 of a dual-stack server is another address."""
    limits = Limits(sessions_per_address=1)
    server = port.serve_datagrams(("", 0), Echo, dual_stack=True, limits=limits)
    with served(port):
        socks = [socket.socket(f, socket.SOCK_DGRAM) for f in (socket.AF_INET, socket.AF_INET6)]
        try:
            for sock, host in zip(socks, ("127.0.0.1", "::1"), strict=True):
                sock.settimeout(10)
                sock.connect((host, server.address[1]))
                assert answer(sock, b"hello") == b"hello"
                assert answer(sock, b"more") == b"more"
                with socket.socket(sock.family, socket.SOCK_DGRAM) as second:
                    second.connect((host, server.address[1]))
                    second.send(b"me too")
                    assert silent(second)
        finally:
            for sock in socks:
                sock.close()
    assert (server.accepted, server.refused) == (2, 2)
    caplog.clear()


@pytest.mark.parametrize(
    "limits", [Limits(per_second=3), Limits(per_second_per_address=3)], ids=["all", "address"]
)
def test_new_sessions_a_second_are_limited(
    port: CompletionPort, limits: Limits, caplog: pytest.LogCaptureFixture
) -> None:
    """Three at once, the others are dropped; and when they ask again later, they come in."""
    server = port.serve_datagrams(LOCAL, Echo, limits=limits)
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
    try:
        with served(port):
            for peer in peers:
                peer.settimeout(0.1)
                peer.connect(server.address)
                peer.send(b"hello")
            assert eventually(lambda: server.accepted + server.refused == 5)
            assert server.accepted == 3
            for peer in peers:
                assert eventually(lambda peer=peer: not silent_to(peer))
        assert server.accepted == 5
    finally:
        for peer in peers:
            peer.close()
    caplog.clear()


def silent_to(peer: socket.socket) -> bool:
    """Ask once more, and tell whether no answer comes."""
    peer.send(b"hello?")
    return silent(peer, 0.2)


def test_admission_that_cannot_wait_refuses() -> None:
    """`per_second` with a clock that stands: a second's worth, and none more until it goes on.

    What another limit keeps out is not counted.
    """

    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    limits = Limits(per_second=2, sessions_per_address=1)
    admission = Admission(limits, clock, waits=False)
    hosts = [(f"192.0.2.{n}", 1) for n in range(5)]
    assert [admission.enter(host) for host in hosts[:1] * 3] == [
        None,
        *["sessions_per_address"] * 2,
    ]
    assert [admission.enter(host) for host in hosts[1:4]] == [None, "per_second", "per_second"]
    clock.now += 0.5
    assert [admission.enter(host) for host in hosts[2:4]] == [None, "per_second"]


def test_cookie_handshake(port: CompletionPort) -> None:
    """Who does not bring back what was sent to its address has no session, and costs none."""
    secret = b"a secret of the server"

    def cookie_of(address: Any) -> bytes:
        return hmac.new(secret, repr(address).encode(), hashlib.sha256).digest()[:16]

    def admit(address: Any, data: memoryview) -> bool | bytes:
        asked.append(address)
        if len(data) < 32:
            return False  # an answer is never longer than what it answers
        cookie = cookie_of(address)
        return True if hmac.compare_digest(data[:16], cookie) else cookie

    asked: list[Any] = []
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, admit=admit)
    with served(port), peer_of(server) as peer, peer_of(server) as liar:
        peer.send(b"short")
        assert silent(peer)
        cookie = answer(peer, bytes(32))
        assert cookie == cookie_of(peer.getsockname())
        assert answer(liar, cookie + bytes(16)) != cookie
        assert sessions == []
        assert answer(peer, cookie + b"I am real, let me in") == cookie + b"I am real, let me in"
        assert answer(peer, b"and now short") == b"and now short"
        assert server.sessions == {sessions[0]}
        assert sessions[0].received == [cookie + b"I am real, let me in", b"and now short"]
    assert len(asked) == 4
    assert (server.accepted, server.not_admitted) == (1, 3)


def test_limits_count_only_who_is_admitted(port: CompletionPort) -> None:
    """A flood of made-up addresses takes none of the places, nor of the second's worth."""
    limits = Limits(sessions=1, per_second=1)
    server = port.serve_datagrams(LOCAL, Echo, limits=limits, admit=lambda _, data: data == b"real")
    with served(port):
        for _ in range(20):
            with peer_of(server) as made_up:
                made_up.send(b"made up")
        assert eventually(lambda: server.not_admitted == 20)
        with peer_of(server) as peer:
            assert answer(peer, b"real") == b"real"
    assert (server.accepted, server.refused) == (1, 0)


@pytest.mark.parametrize("fault", ["raises", "no answer", "too long"])
def test_admit_that_fails_lets_nobody_in(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """It is logged, and counted; the receives go on, and the next one may come in."""

    def admit(_address: Any, data: memoryview) -> Any:
        if data == b"good":
            return True
        if fault == "raises":
            raise ZeroDivisionError
        return None if fault == "no answer" else bytes(70000)

    server = port.serve_datagrams(LOCAL, Echo, admit=admit)
    with served(port), peer_of(server) as bad, peer_of(server) as good:
        for _ in range(5):
            bad.send(b"bad")
        assert eventually(lambda: server.statistics().failed == 5)
        assert answer(good, b"good") == b"good"
        assert server.statistics().receives_pending == 1
    assert caplog.text.count("no session could be made") == 5
    caplog.clear()


@pytest.mark.parametrize("made", ["error", "nothing", "a stream's", "the same again"])
def test_factory_that_makes_no_session(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, made: str
) -> None:
    """C03: that datagram is dropped; the place that it had taken is free again."""
    only = Echo()

    def factory() -> Any:
        made_up.append(made)
        if len(made_up) == 1 and made != "the same again":
            if made == "error":
                raise ZeroDivisionError
            return None if made == "nothing" else object()
        return only

    made_up: list[str] = []
    limits = Limits(sessions=2 if made == "the same again" else 1)
    server = port.serve_datagrams(LOCAL, factory, limits=limits)
    with served(port), peer_of(server) as one, peer_of(server) as two:
        if made == "the same again":
            assert answer(one, b"one") == b"one"
            two.send(b"two")
            assert eventually(lambda: server.failed == 1)
            assert answer(one, b"three") == b"three"
        else:
            one.send(b"one")
            assert eventually(lambda: server.failed == 1)
            assert answer(one, b"two") == b"two"
        assert server.statistics().receives_pending == 1
        assert len(server.sessions) == 1
    assert (server.accepted, server.refused) == (1, 0)
    caplog.clear()


def test_server_that_shuts_down_begins_no_session(port: CompletionPort) -> None:
    """While the last session has yet to end, which its hook delays."""

    class Slow(DatagramJournal):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            server.shutdown(timeout=10)
            inside.set()
            assert eventually(lambda: server.refused > 0)

    inside = threading.Event()
    server = port.serve_datagrams(LOCAL, Slow)
    with served(port, threads=2), peer_of(server) as last, peer_of(server) as late:
        last.send(b"hello")
        assert inside.wait(DEADLINE_S)
        late.send(b"let me in")
        assert eventually(lambda: server.closed)
    assert server.accepted == 1
