"""One contract for all models: what a `Session` promises holds under each of them."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from journal import Journal, Made, eventually, receive_all, reset
from model_servers import VARIANTS, dial, every_variant, is_reset, serving

from pyiocp import (
    ConnectionLostError,
    FramedSession,
    LengthPrefixed,
    NetworkTimeoutError,
    SendQueueOverflowError,
    Session,
    SessionState,
)

pytestmark = every_variant


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


def only(sessions: Made) -> Any:
    """Return the one session that there is, as soon as there is one."""
    assert eventually(lambda: bool(sessions))
    [session] = sessions
    assert session.connected.wait(60)
    return session


def test_echoes_of_random_sizes_come_back_whole_and_in_order(
    variant: str, no_errors_logged: None
) -> None:
    """300 messages of 1 to 30,000 bytes, each different, sent while the echoes are read."""
    numbers = random.Random(7)
    messages = [numbers.randbytes(numbers.randint(1, 30_000)) for _ in range(300)]
    with serving(variant, Echo) as server, dial(server) as peer:
        sender = threading.Thread(target=lambda: [peer.sendall(m) for m in messages])
        sender.start()
        expected = b"".join(messages)
        assert receive_all(peer, len(expected)) == expected
        sender.join(60)


def test_hooks_come_in_order_and_once(variant: str, no_errors_logged: None) -> None:
    """One connection, one message, one end, both ways: connect, receive, eof, close."""
    sessions = Made(Echo)
    with serving(variant, sessions) as server:
        with dial(server) as peer:
            peer.sendall(b"hello")
            assert receive_all(peer, 5) == b"hello"
            session = only(sessions)
            assert session.peer_address == peer.getsockname()
            assert session.local_address == server.address
            assert [session] == list(server.sessions)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""
        assert session.closed.wait(60)
        assert eventually(lambda: server.sessions == set())
        assert server.accepted == 1
    assert session.hooks == ["connect", "receive", "eof", "close"]
    assert session.error is None
    assert session.state is SessionState.CLOSED
    statistics = session.statistics()
    assert (statistics.bytes_received, statistics.bytes_sent) == (5, 5)


def test_after_its_end_a_peer_still_gets_what_is_sent(variant: str) -> None:
    """A half-close: the session answers in on_eof, and closes then."""

    class Last(Journal):
        def on_eof(self) -> None:
            self.send(b"and that was all: ")
            self.send(bytes(self.received))
            super().on_eof()

    with serving(variant, Last) as server, dial(server) as peer:
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == b"and that was all: question"


def test_the_last_words_arrive_before_the_end(variant: str) -> None:
    """close() after a send of 3 MB: the peer gets all of it, and then the end."""
    words = bytes(range(256)) * 12_000

    class Goodbye(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(words)
            self.close()

    sessions = Made(Goodbye)
    with serving(variant, sessions) as server:
        with dial(server) as peer:
            assert receive_all(peer) == words
        assert only(sessions).closed.wait(60)
    assert sessions[0].error is None
    assert sessions[0].hooks == ["connect", "close"]


def test_abort_resets_and_is_told(variant: str) -> None:
    """From another thread, while the session waits: an RST there, ConnectionLostError here."""
    sessions = Made(Journal)
    with serving(variant, sessions) as server, dial(server) as peer:
        session = only(sessions)
        session.abort()
        assert is_reset(peer)
        assert session.closed.wait(60)
    assert isinstance(session.error, ConnectionLostError)
    assert session.hooks == ["connect", "close"]


def test_a_reset_by_the_peer_ends_the_session(variant: str) -> None:
    """An RST: on_close(ConnectionResetError) without on_eof.

    Under Wine a receive after select() or an event may tell it as an end (see CONTRIBUTING):
    then on_eof comes and the session closes in order.
    """
    sessions = Made(Journal)
    with serving(variant, sessions) as server:
        peer = dial(server)
        session = only(sessions)
        reset(peer)
        assert session.closed.wait(60)
    if "eof" not in session.hooks:
        assert isinstance(session.error, ConnectionResetError)
        assert session.hooks == ["connect", "close"]


@pytest.mark.parametrize("hook", ["on_connect", "on_receive", "on_eof"])
def test_a_hook_that_raises_ends_its_session_only(
    variant: str, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The other session, which was there before, echoes on; the error is logged and told."""
    raising = False

    class Raising(Echo):
        def raise_if_told(self, which: str) -> None:
            if raising and which == hook:
                raise LookupError("a bug of the user's")

        def on_connect(self) -> None:
            super().on_connect()
            self.raise_if_told("on_connect")

        def on_receive(self, data: memoryview) -> None:
            self.raise_if_told("on_receive")
            super().on_receive(data)

        def on_eof(self) -> None:
            self.raise_if_told("on_eof")
            super().on_eof()

    sessions = Made(Raising)
    caplog.set_level(logging.CRITICAL, logger="pyiocp")
    with serving(variant, sessions) as server, dial(server) as other:
        other.sendall(b"one")
        assert receive_all(other, 3) == b"one"
        raising = True
        with dial(server) as peer:
            assert eventually(lambda: len(sessions) == 2)
            with contextlib.suppress(ConnectionError):  # it may have been reset by now
                peer.sendall(b"now")
                peer.shutdown(socket.SHUT_WR)
            assert sessions[1].closed.wait(60)
        raising = False
        other.sendall(b"two")
        assert receive_all(other, 3) == b"two"
    assert isinstance(sessions[1].error, ConnectionAbortedError)
    assert isinstance(sessions[1].error.__cause__, LookupError)


def test_other_threads_may_send_and_their_bytes_do_not_mix(variant: str) -> None:
    """Four threads send 200 messages each, of one letter each, and none is torn."""
    size = 500
    letters = (b"a", b"b", b"c", b"d")
    sessions = Made(Journal)
    with serving(variant, sessions) as server, dial(server) as peer:
        session = only(sessions)

        def send(letter: bytes) -> None:
            for _ in range(200):
                session.send(letter * size)

        threads = [threading.Thread(target=send, args=(letter,)) for letter in letters]
        for thread in threads:
            thread.start()
        data = receive_all(peer, 4 * 200 * size)
        for thread in threads:
            thread.join(60)
    messages = [data[at : at + size] for at in range(0, len(data), size)]
    assert sorted(messages) == [letter * size for letter in letters for _ in range(200)]


def test_a_slow_reader_is_noticed_and_on_writable_comes(variant: str) -> None:
    """send() says False at high_water, on_writable comes below low_water, nothing is lost."""

    class Flood(Journal):
        high_water = 1 << 18
        low_water = 1 << 16
        sent = 0

        def on_connect(self) -> None:
            self.fill()
            super().on_connect()

        def on_writable(self) -> None:
            super().on_writable()
            assert self.send_queue_bytes <= self.low_water
            self.fill()

        def fill(self) -> None:
            while self.sent < total:
                self.sent += 10_000
                if not self.send(bytes(10_000)):
                    return
            self.close()

    total = 20_000_000
    sessions = Made(Flood)
    with serving(variant, sessions) as server:
        with dial(server) as peer:
            session = only(sessions)
            assert 0 < session.sent < total
            assert len(receive_all(peer)) == total
        assert session.closed.wait(60)
    assert session.error is None
    assert session.hooks.count("writable") >= 1


def test_who_sends_on_regardless_is_aborted_at_the_limit(variant: str) -> None:
    """Over send_limit: SendQueueOverflowError, from a hook and from another thread."""

    class Endless(Journal):
        send_limit = 1 << 22
        at_once = True

        def on_connect(self) -> None:
            super().on_connect()
            while self.at_once and (self.send(bytes(1 << 18)) or self.send_queue_bytes < 1 << 23):
                if self.send_queue_bytes > self.send_limit:
                    break

    class EndlessElsewhere(Endless):
        at_once = False

    for kind in (Endless, EndlessElsewhere):
        sessions = Made(kind)
        with serving(variant, sessions) as server, dial(server):
            session = only(sessions)
            while not kind.at_once and session.send_queue_bytes <= session.send_limit:
                if not session.send(bytes(1 << 18)) and session.state is not SessionState.OPEN:
                    break
            assert session.closed.wait(60)
        assert isinstance(session.error, SendQueueOverflowError)


def test_a_paused_session_receives_after_it_was_resumed(variant: str) -> None:
    """What comes in the pause waits, and comes when another thread has it resumed."""

    class Paused(Journal):
        def on_connect(self) -> None:
            self.pause_receiving()
            super().on_connect()

    sessions = Made(Paused)
    with serving(variant, sessions) as server, dial(server) as peer:
        session = only(sessions)
        peer.sendall(b"early")
        # A second connection that is served to its end: time enough to be wrong.
        with dial(server) as other:
            other.shutdown(socket.SHUT_WR)
            assert eventually(lambda: len(sessions) == 2)
            assert sessions[1].connected.wait(60)
            sessions[1].resume_receiving()
            assert other.recv(1) == b""
        assert session.received == b""
        session.resume_receiving()
        assert session.wait_received(5) == b"early"
        session.pause_receiving()
        peer.sendall(b" and later")
        session.resume_receiving()
        assert session.wait_received(15) == b"early and later"


def test_a_peer_that_does_not_close_is_reset_after_a_while(variant: str) -> None:
    """close_timeout: the peer keeps its side open, and on_close gets NetworkTimeoutError."""

    class Closing(Journal):
        close_timeout = 0.2

    sessions = Made(Closing)
    with serving(variant, sessions) as server, dial(server) as peer:
        session = only(sessions)
        session.close()
        assert peer.recv(1) == b""
        assert session.closed.wait(60)
    assert isinstance(session.error, NetworkTimeoutError)


def test_an_idle_session_is_aborted(variant: str) -> None:
    """idle_timeout: after a message, which takes no machine that long, and a second of silence."""

    class Impatient(Echo):
        idle_timeout = 1.0

    sessions = Made(Impatient)
    with serving(variant, sessions) as server, dial(server) as peer:
        peer.sendall(b"here I am")
        assert receive_all(peer, 9) == b"here I am"
        assert only(sessions).closed.wait(60)
    assert isinstance(sessions[0].error, NetworkTimeoutError)


@pytest.mark.parametrize("after", [0, 0.1])
def test_a_session_without_a_buffer_receives_all_the_same(variant: str, after: float) -> None:
    """zero_byte_after: messages before, while and after the session waits without a buffer."""

    class Frugal(Echo):
        zero_byte_after = after

    with serving(variant, Frugal) as server, dial(server) as peer:
        idle = threading.Event()
        for message in (b"one", b"two", b"three"):
            peer.sendall(message)
            assert receive_all(peer, len(message)) == message
            idle.wait(2.5 * after)  # until it waits without one: nothing announces that


def test_frames_come_whole(variant: str) -> None:
    """A FramedSession, which stands on the same hooks, runs as well."""

    class Framed(FramedSession):
        framing = LengthPrefixed(2)

        def on_frame(self, frame: memoryview) -> None:
            self.send_frame(bytes(frame)[::-1])

    with serving(variant, Framed) as server, dial(server) as peer:
        wire = LengthPrefixed(2).wrap(b"drawer") + LengthPrefixed(2).wrap(b"")
        for at in range(len(wire)):
            peer.sendall(wire[at : at + 1])
        assert receive_all(peer, len(wire)) == LengthPrefixed(2).wrap(b"reward") + b"\0\0"


def test_two_sessions_talk_to_each_other(variant: str) -> None:
    """A hook of one sends on the other: a chat of two."""
    here: list[Session] = []

    class Talker(Journal):
        def on_connect(self) -> None:
            here.append(self)
            super().on_connect()

        def on_receive(self, data: memoryview) -> None:
            for other in here:
                if other is not self:
                    other.send(data)

    with serving(variant, Talker) as server, dial(server) as first, dial(server) as second:
        assert eventually(lambda: len(here) == 2)
        for message in (b"hello", b"you"):
            first.sendall(message)
            assert receive_all(second, len(message)) == message
            second.sendall(message)
            assert receive_all(first, len(message)) == message


@pytest.fixture
def room(variant: str) -> Iterator[int]:
    """How many connections to try: as many as the model lets, and 60 at most."""
    return 31 if variant == "overlapped-events" else 60


def test_many_connections_are_served_at_once(
    variant: str, room: int, no_errors_logged: None
) -> None:
    """Each sends 5 messages of its own, in turns, and gets its own back."""
    sessions = Made(Echo)
    with contextlib.ExitStack() as stack, serving(variant, sessions) as server:
        peers = [stack.enter_context(dial(server)) for _ in range(room)]
        for turn in range(5):
            messages = [f"{turn} of {number};".encode() for number in range(room)]
            for peer, message in zip(peers, messages, strict=True):
                peer.sendall(message)
            for peer, message in zip(peers, messages, strict=True):
                assert receive_all(peer, len(message)) == message
        for peer in peers:
            peer.close()
        assert eventually(lambda: server.sessions == set(), 30)
        assert [s.hooks.count("close") for s in sessions] == [1] * room
        assert [s.hooks[-1] for s in sessions] == ["close"] * room


def test_closing_ends_every_session(variant: str) -> None:
    """Idle, paused, and with a send that nobody reads: each on_close comes, once and last."""

    class Various(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            if len(sessions) == 2:
                self.pause_receiving()
            if len(sessions) == 3:
                self.send(bytes(1 << 23))

    sessions = Made(Various)
    with contextlib.ExitStack() as peers, serving(variant, sessions) as server:
        for count in range(1, 4):
            peers.enter_context(dial(server))
            assert eventually(lambda count=count: len(sessions) == count)
            assert sessions[-1].connected.wait(60)
        server.close()
        for session in sessions:
            assert session.closed.is_set()
            assert session.hooks == ["connect", "close"]
            assert isinstance(session.error, ConnectionLostError)


def test_send_file_says_that_there_is_none(variant: str) -> None:
    """Only a completion port has it: the others name themselves, and what has it."""
    said: list[str] = []

    class Reader(Journal):
        def on_connect(self) -> None:
            try:
                with open(__file__, "rb") as file:  # noqa: PTH123, a file object is what it takes
                    self.send_file(file)
            except NotImplementedError as error:
                said.append(str(error))
            super().on_connect()

    sessions = Made(Reader)
    with serving(variant, sessions) as server, dial(server):
        only(sessions)
    if VARIANTS[variant][0] == "completion-port":
        assert said == []
    else:
        [text] = said
        assert VARIANTS[variant][0] in text
        assert "CompletionPort.listen" in text
