"""Sessions of datagrams: a peer each, in order, one hook at a time, and one end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from datagram_journal import LOCAL, DatagramJournal, Echo, answer, peer_of
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal
from journal import Made, eventually, served

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    DatagramSession,
    NetworkTimeoutError,
    SessionState,
)
from pyiocp.winapi import SOCKET_ERROR, WSAEWOULDBLOCK


def test_each_peer_has_a_session_of_its_own(port: CompletionPort, no_errors_logged: None) -> None:
    """Three peers by turns: each gets its own echoes, and its session what it has sent."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as a, peer_of(server) as b, peer_of(server) as c:
        peers = [a, b, c]
        for n in range(5):
            for peer in peers:
                text = b"%d %d" % (peer.getsockname()[1], n)
                assert answer(peer, text) == text
        assert len(sessions) == 3
        assert server.sessions == port.sessions == set(sessions)
        for session, peer in zip(sessions, peers, strict=True):
            assert session.peer_address == peer.getsockname()
            assert session.local_address == server.address
            assert session.received == [b"%d %d" % (peer.getsockname()[1], n) for n in range(5)]
            assert session.hooks == ["connect", *["receive"] * 5]
    assert server.accepted == 3


def test_empty_datagram_is_one_like_any_other(port: CompletionPort) -> None:
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"") == b""
        assert answer(peer, b"full") == b"full"
    assert sessions[0].received == [b"", b"full"]


def test_what_is_kept_of_a_view_stays_as_it_was(port: CompletionPort) -> None:
    """The buffer that all datagrams come into is used again at once; slices of each are kept."""

    class Keeper(Echo):
        def on_receive(self, data: memoryview) -> None:
            kept.append(data[1:])
            super().on_receive(data)

    kept: list[memoryview] = []
    server = port.serve_datagrams(LOCAL, Keeper)
    with served(port), peer_of(server) as peer:
        for n in range(20):
            assert answer(peer, b"x%d" % n) == b"x%d" % n
    assert [bytes(view) for view in kept] == [b"%d" % n for n in range(20)]


def test_silent_peer_ends_although_it_is_sent_to(port: CompletionPort) -> None:
    """One peer says something every now and then, one nothing; both are sent to all the time."""

    class Impatient(Echo):
        idle_timeout = 1.0

    sessions = Made(Impatient)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as lively, peer_of(server) as silent:
        for peer in (lively, silent):
            assert answer(peer, b"hello") == b"hello"
        until = time.monotonic() + DEADLINE_S
        while not sessions[1].closed.is_set() and time.monotonic() < until:
            lively.send(b"here")
            for session in list(server.sessions):
                session.send(b"the world")
            time.sleep(0.02)  # a peer's own pace
        assert sessions[1].closed.is_set()
        assert not sessions[0].closed.is_set()
        assert isinstance(sessions[1].error, NetworkTimeoutError)
        assert "idle_timeout" in str(sessions[1].error)
        assert sessions[1].hooks.count("close") == 1
        assert server.sessions == {sessions[0]}


def test_peer_that_comes_back_has_a_new_session(port: CompletionPort) -> None:
    """`close` ends it without an error, after all hooks; the same address begins again."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        sessions[0].close()
        sessions[0].close()
        assert sessions[0].closed.wait(DEADLINE_S)
        assert (sessions[0].error, sessions[0].state) == (None, SessionState.CLOSED)
        assert sessions[0].send(b"too late") is False
        assert answer(peer, b"two") == b"two"
    assert [session.received for session in sessions] == [[b"one"], [b"two"]]
    assert sessions[0].hooks == ["connect", "receive", "close"]


def test_what_was_sent_before_the_close_goes_out(port: CompletionPort) -> None:
    class Last(DatagramJournal):
        def on_connect(self) -> None:
            super().on_connect()
            for n in range(10):
                assert self.send(b"%d" % n) is True
            self.close()
            assert self.state is SessionState.CLOSING
            assert self.send(b"too late") is False

    sessions = Made(Last)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        peer.send(b"hello")
        assert [peer.recv(10) for _ in range(10)] == [b"%d" % n for n in range(10)]
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].hooks == ["connect", "close"]  # the first datagram came too late
    assert server.statistics().receives_dropped == 1
    assert server.statistics().messages_sent == 10


def test_abort_tells_why(port: CompletionPort) -> None:
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        sessions[0].abort()
        sessions[0].abort()
        assert sessions[0].closed.wait(DEADLINE_S)
    assert isinstance(sessions[0].error, ConnectionLostError)
    assert sessions[0].hooks == ["connect", "receive", "close"]


@pytest.mark.parametrize("hook", ["on_connect", "on_receive", "on_truncated", "on_close"])
def test_hook_that_raises_ends_its_session_only(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    """C03: another peer is served on, before and after; each hook is followed by on_close."""

    class Failing(Echo):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            if data == b"fail" and hook == "on_receive":
                raise ZeroDivisionError
            if data == b"fail" and hook == "on_close":
                self.close()

        def on_connect(self) -> None:
            super().on_connect()
            if len(sessions) == 2 and hook == "on_connect":
                raise ZeroDivisionError

        def on_truncated(self, data: memoryview) -> None:
            raise ZeroDivisionError

        def on_close(self, error: OSError | None) -> None:
            super().on_close(error)
            if hook == "on_close":
                raise ZeroDivisionError

    sessions = Made(Failing)
    server = port.serve_datagrams(LOCAL, sessions, datagram_size=100)
    with served(port), peer_of(server) as good, peer_of(server) as bad:
        assert answer(good, b"one") == b"one"
        bad.send(b"fail")
        if hook == "on_truncated":
            bad.send(bytes(101))
        assert eventually(lambda: len(sessions) == 2)
        assert sessions[1].closed.wait(DEADLINE_S)
        for _ in range(5):
            assert answer(good, b"two") == b"two"
        if hook != "on_close":
            assert isinstance(sessions[1].error.__cause__, ZeroDivisionError)
        assert eventually(lambda: server.sessions == {sessions[0]})
        assert eventually(lambda: server.statistics().receives_pending == 1)
    assert sessions[1].hooks.count("close") == 1
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()


def test_busy_hook_holds_up_neither_the_receives_nor_other_sessions(port: CompletionPort) -> None:
    """C38: two workers; one session's hook blocks while 100 datagrams come for it.

    Ten of them wait, in order; 89 are dropped, and counted. The other session is served.
    """

    class Slow(Echo):
        receive_limit = 10

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            if data == b"block":
                inside.set()
                assert go_on.wait(DEADLINE_S)

    inside, go_on = threading.Event(), threading.Event()
    sessions = Made(Slow)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port, threads=2), peer_of(server) as slow, peer_of(server) as other:
        try:
            slow.send(b"block")
            assert inside.wait(DEADLINE_S)
            for n in range(1, 100):
                slow.send(b"%d" % n)
                assert answer(other, b"%d" % n) == b"%d" % n
        finally:
            go_on.set()
        received = sessions[0].wait_received(11)
        assert received == [b"block", *(b"%d" % n for n in range(1, 11))]
        assert sessions[0].statistics().receives_dropped == 89
        assert sessions[1].statistics().receives_dropped == 0
        assert answer(other, b"again") == b"again"


def test_burst_of_datagrams_waits_for_no_hook(port: CompletionPort) -> None:
    """50 come at once for a session that may have 5 waiting: nobody is in a hook, none is lost."""

    class Small(Echo):
        receive_limit = 5

    sessions = Made(Small)
    server = port.serve_datagrams(LOCAL, sessions)
    with peer_of(server) as peer:
        for n in range(50):
            peer.send(b"%d" % n)
        with served(port):
            assert [peer.recv(10) for _ in range(50)] == [b"%d" % n for n in range(50)]
    assert sessions[0].statistics().receives_dropped == 0


def test_sending_asks_for_what_a_datagram_can_be(port: CompletionPort) -> None:
    """What is refused reaches nobody, and ends nothing; 65,507 bytes are the most."""
    sessions = Made(Echo)
    with pytest.raises(RuntimeError, match=r"port.serve_datagrams\(\) and port.connect_datagram"):
        Echo().send(b"too early")
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        [session] = sessions
        with pytest.raises(ValueError, match="at most 65507 bytes, not 65508"):
            session.send(bytes(65508))
        for bad in ("text", 5, None):
            with pytest.raises(TypeError):
                session.send(bad)
        data = bytearray(b"mine")
        assert session.send(data) is True
        data[:] = b"XXXX"
        assert peer.recv(10) == b"mine"
        assert session.send(memoryview(b"a view")[2:]) is True
        assert peer.recv(10) == b"view"
        assert session.send(bytes(65507)) is True
        assert len(peer.recv(65535)) == 65507


def test_what_is_over_the_limit_is_dropped_and_counted(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """A limit of 10 bytes, and nothing is taken at once: 11 are dropped, 10 go out."""
    kernel.wrap("sendto", Refusal(WSAEWOULDBLOCK, SOCKET_ERROR))
    port = open_port()

    class Small(Echo):
        send_limit = 10

    sessions = Made(Small)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        assert eventually(lambda: sessions[0].send_queue_bytes == 0)
        assert sessions[0].send(bytes(11)) is False
        assert sessions[0].send(bytes(10)) is True
        assert peer.recv(100) == bytes(10)
        assert sessions[0].statistics().sends_dropped == 1


def test_statistics_count_datagrams_and_bytes(port: CompletionPort) -> None:
    """Of a session, and the sums of the server, also after the session has ended."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        for size in (10, 20, 30):
            assert answer(peer, bytes(size)) == bytes(size)
        assert eventually(lambda: sessions[0].statistics().bytes_sent == 60)
        one = sessions[0].statistics()
        assert (one.bytes_received, one.messages_received, one.messages_sent) == (60, 3, 3)
        assert (one.send_queue_bytes, one.truncated) == (0, 0)
        assert (one.receives_dropped, one.sends_dropped) == (0, 0)
        assert eventually(lambda: sessions[0].statistics().age_s > 0)
        for _ in range(2):
            total = server.statistics()
            assert (total.bytes_received, total.bytes_sent) == (60, 60)
            assert (total.messages_received, total.messages_sent) == (3, 3)
            sessions[0].close()
            assert eventually(lambda: not server.sessions)
        assert (total.sessions, total.accepted) == (0, 1)


def test_representations_tell_who_and_where(port: CompletionPort) -> None:
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    where = f"127.0.0.1:{server.address[1]}"
    assert repr(server) == f"<DatagramServer at {where}: open, 0 accepted, 0 open>"
    assert repr(Echo()) == "<Echo of no port yet>"
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"one") == b"one"
        assert repr(sessions[0]) == f"<Echo with 127.0.0.1:{peer.getsockname()[1]}: open>"
        assert repr(server) == f"<DatagramServer at {where}: open, 1 accepted, 1 open>"
        server.pause()
        assert ": paused, " in repr(server)
        server.close()
        assert ": closed, " in repr(server)


def test_names_are_the_users(port: CompletionPort) -> None:
    """A subclass may use any name but those of the class; its __init__ need not call ours."""

    class Own(DatagramSession):
        def __init__(self) -> None:
            self.inbox = self.watch = self.peer = self.local = self.queue = "mine"

        def on_receive(self, data: memoryview) -> None:
            self.send(self.inbox.encode())

    server = port.serve_datagrams(LOCAL, Own)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"whose?") == b"mine"


@pytest.mark.parametrize("bad", [0, -1, "soon"])
def test_impossible_idle_timeout_ends_the_session_with_words(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, bad: Any
) -> None:
    class Bad(DatagramJournal):
        idle_timeout = bad

    sessions = Made(Bad)
    server = port.serve_datagrams(LOCAL, sessions)
    with served(port), peer_of(server) as peer:
        peer.send(b"hello")
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(DEADLINE_S)
    assert sessions[0].hooks == ["close"]
    assert isinstance(sessions[0].error.__cause__, ValueError | TypeError)
    caplog.clear()
