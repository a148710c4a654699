"""Turns: a client whose every receive brings thousands of messages leaves others their share (C67).

Each attack runs beside an honest client, whose round trips are counted alone and beside it.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel
from footprint import Footprint
from honest import HonestClient
from journal import Journal, Made, connect, eventually, receive_all, served
from tls_context import client_context, server_context

from pyiocp import CompletionPort, Delimited, FixedSize, FramedSession, Framing, LengthPrefixed

LOCAL = ("127.0.0.1", 0)


class Answering(FramedSession):
    """Sends each frame back."""

    framing: Framing = LengthPrefixed(2)

    def on_frame(self, frame: memoryview) -> None:
        self.send_frame(frame)


@contextlib.contextmanager
def attacked(peer: socket.socket, blob: bytes, reads: bool = True) -> Iterator[None]:
    """Send the bytes over and over, and take what comes back, until the end."""
    ended = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set():
                peer.sendall(blob)

    def read() -> None:
        with contextlib.suppress(OSError):
            while peer.recv(1 << 20):
                pass

    threads = [threading.Thread(target=run) for run in ([send, read] if reads else [send])]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(30)
        peer.close()
        assert not any(thread.is_alive() for thread in threads)


def comes_back(port: CompletionPort, listeners: int = 1) -> None:
    """Assert that all accepts are posted, and that nobody but the honest client is left."""
    assert eventually(lambda: len(port.sessions) == 1)
    accepts = 32 * listeners
    assert eventually(lambda: port.in_flight_by_kind().get("accept") == accepts)


DURATIONS = [
    pytest.param(1.0, id="short"),
    pytest.param(20.0, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
]


@pytest.mark.parametrize("seconds", DURATIONS)
@pytest.mark.parametrize(
    ("framing", "frame"),
    [
        (LengthPrefixed(2), b""),
        (Delimited(b"\n"), b""),
        (FixedSize(1), b"x"),
    ],
    ids=["length prefix", "delimiter", "fixed size"],
)
def test_tiny_frames_do_not_starve_others(
    port: CompletionPort,
    record_property: pytest.RecordProperty,
    framing: Framing,
    frame: bytes,
    seconds: float,
) -> None:
    """64 KB of the smallest frames there are, again and again; a hundredth would be an outage."""

    class Attacked(Answering):
        pass

    Attacked.framing = framing
    listener = port.listen(LOCAL, Attacked)
    question = framing.wrap(b"q" if isinstance(framing, FixedSize) else b"question")
    wrapped = framing.wrap(frame)
    with served(port), HonestClient(listener.address, question) as honest:
        alone = honest.rounds_in(seconds)
        before = Footprint.now()
        with attacked(connect(listener), wrapped * ((1 << 16) // len(wrapped))):
            beside = honest.rounds_in(seconds)
            grown = Footprint.now().private_bytes - before.private_bytes
        comes_back(port)
    record_property("round trips alone, and beside the attacker", (alone, beside))
    record_property("private bytes more, beside it", grown)
    assert beside > alone / 50
    assert grown < 1 << 25


@pytest.mark.parametrize("seconds", DURATIONS)
def test_tiny_records_do_not_starve_others(
    port: CompletionPort, record_property: pytest.RecordProperty, seconds: float
) -> None:
    """TLS: records of one byte each, thousands in a receive; a session without frames."""

    class Echo(Journal):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    listener = port.listen(LOCAL, Echo, tls=server_context())
    plain = port.listen(LOCAL, Echo)
    with served(port), HonestClient(plain.address, b"question") as honest:
        alone = honest.rounds_in(seconds)
        raw = connect(listener)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        _shake_hands(raw, tls, incoming, outgoing)
        for _ in range(20_000):
            tls.write(b"x")
        with attacked(raw, outgoing.read()):
            beside = honest.rounds_in(seconds)
        comes_back(port, listeners=2)
    record_property("round trips alone, and beside the attacker", (alone, beside))
    assert beside > alone / 50


def _shake_hands(
    raw: socket.socket, tls: Any, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read())
            incoming.write(raw.recv(1 << 16))
        else:
            raw.sendall(outgoing.read())
            return


def test_port_stops_in_the_middle_of_a_receive(port: CompletionPort) -> None:
    """30,000 frames have come at once; after the first, stop() has its effect within a turn."""

    class Stopping(FramedSession):
        framing = LengthPrefixed(2)
        count = 0

        def on_frame(self, frame: memoryview) -> None:
            self.count += 1
            port.stop()

    sessions = Made(Stopping)
    listener = port.listen(LOCAL, sessions)
    with connect(listener) as peer:
        peer.sendall(bytes(60_000))
        port.run(threads=1)
        [session] = sessions
        assert 1 <= session.count <= 64
        while session.count < 30_000:  # nothing is lost: each run goes on by a turn
            before = session.count
            port.run(threads=1)
            assert before < session.count <= before + 64


def test_answers_of_a_turn_go_in_one_call() -> None:
    """64 frames at once are answered by two sends: the first one's at once, then the rest."""
    kernel = FaultyKernel()
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        def call(real: Callable[..., Any], *arguments: Any) -> Any:
            calls.append(name)
            return real(*arguments)

        return call

    kernel.send = functools.partial(noted("send"), kernel.send)  # type: ignore[method-assign]
    kernel.WSASend = functools.partial(noted("WSASend"), kernel.WSASend)  # type: ignore[method-assign]
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, Answering)
        with served(port), connect(listener) as peer:
            for _ in range(2):
                peer.sendall(b"\0\1x")
                assert receive_all(peer, 3) == b"\0\1x"
            calls.clear()
            peer.sendall(b"\0\1x" * 64)
            assert receive_all(peer, 3 * 64) == b"\0\1x" * 64
    assert calls == ["send", "WSASend"]


def test_frames_stay_in_order_through_pauses_and_turns(port: CompletionPort) -> None:
    """10,000 numbered frames; the session pauses and another thread resumes, over and over."""

    class Numbers(FramedSession):
        framing = LengthPrefixed(2)

        def __init__(self) -> None:
            self.numbers: list[int] = []
            self.paused = False

        def on_frame(self, frame: memoryview) -> None:
            assert not self.paused
            self.numbers.append(int.from_bytes(frame, "big"))
            if len(self.numbers) % 37 == 0:
                self.paused = True
                self.pause_receiving()

    sessions = Made(Numbers)
    listener = port.listen(LOCAL, sessions)
    data = b"".join(LengthPrefixed(2).wrap(n.to_bytes(4, "big")) for n in range(10_000))
    with served(port, threads=2), connect(listener) as peer:
        peer.sendall(data)
        assert eventually(lambda: bool(sessions))
        [session] = sessions

        def done() -> bool:
            if session.paused:
                session.paused = False
                session.resume_receiving()
            return len(session.numbers) == 10_000

        assert eventually(done)
    assert session.numbers == list(range(10_000))


def test_framing_that_changes_in_the_middle_of_a_turn(port: CompletionPort) -> None:
    """The 100th frame says that lines follow: each byte is looked at in the right way."""

    class Changing(FramedSession):
        framing: Framing = LengthPrefixed(1)

        def __init__(self) -> None:
            self.frames: list[bytes] = []

        def on_frame(self, frame: memoryview) -> None:
            self.frames.append(bytes(frame))
            if frame == b"lines":
                self.framing = Delimited(b"\n")

    sessions = Made(Changing)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"\1x" * 99 + b"\5lines" + b"".join(b"%d\n" % n for n in range(300)))
        assert eventually(lambda: bool(sessions) and len(sessions[0].frames) == 400)
    assert sessions[0].frames == [b"x"] * 99 + [b"lines"] + [b"%d" % n for n in range(300)]


def test_end_of_the_stream_comes_after_all_frames(port: CompletionPort) -> None:
    """3,000 frames and the end at once: on_eof is the last."""

    class Counting(Journal, FramedSession):
        framing = LengthPrefixed(2)

        def on_frame(self, frame: memoryview) -> None:
            self.hooks.append("frame")

    sessions = Made(Counting)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(bytes(6000))
        peer.shutdown(socket.SHUT_WR)
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert sessions[0].error is None
    assert sessions[0].hooks == ["connect", *["frame"] * 3000, "eof", "close"]


def test_session_closed_between_two_turns_drops_the_rest(port: CompletionPort) -> None:
    """Aborted by another thread's call that runs between two turns."""

    class Aborting(Journal, FramedSession):
        framing = LengthPrefixed(2)

        def on_frame(self, frame: memoryview) -> None:
            self.hooks.append("frame")
            if len(self.hooks) == 3:
                port.call_soon(self.abort)

    sessions = Made(Aborting)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(bytes(60_000))
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert len(sessions[0].hooks) < 1000
    assert sessions[0].hooks[-1] == "close"


@pytest.mark.parametrize("tls", [False, True])
def test_abort_ends_a_turn_at_once(port: CompletionPort, tls: bool) -> None:
    """100 frames at once; after abort() in the second there is no further on_frame."""

    class Aborting(Journal, FramedSession):
        framing = LengthPrefixed(2)

        def on_frame(self, frame: memoryview) -> None:
            self.hooks.append("frame")
            if self.hooks.count("frame") == 2:
                self.abort()
                self.resume_receiving()

    sessions = Made(Aborting)
    listener = port.listen(LOCAL, sessions, tls=server_context() if tls else None)
    with served(port):
        raw: Any = connect(listener)
        peer = client_context().wrap_socket(raw, server_hostname="localhost") if tls else raw
        with peer:
            peer.sendall(bytes(200))
            assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert sessions[0].hooks == ["connect", "frame", "frame", "close"]


def test_header_and_body_by_turns_fill_a_turn(port: CompletionPort) -> None:
    """The framing changes with each frame; a turn still hands over dozens, and all come."""

    class Alternating(FramedSession):
        framing: Framing = FixedSize(2)

        def __init__(self) -> None:
            self.frames: list[bytes] = []

        def on_frame(self, frame: memoryview) -> None:
            self.frames.append(bytes(frame))
            self.framing = FixedSize(3) if len(frame) == 2 else FixedSize(2)

    sessions = Made(Alternating)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"hhbbb" * 500)
        assert eventually(lambda: bool(sessions) and len(sessions[0].frames) == 1000)
    assert sessions[0].frames == [b"hh", b"bbb"] * 500


def test_other_threads_sends_are_not_held(port: CompletionPort) -> None:
    """A hook that is slow, in the middle of a turn: what another thread sends goes at once."""
    got = threading.Event()

    class Slow(FramedSession):
        framing = LengthPrefixed(1)
        count = 0
        waited: bool | None = None

        def on_frame(self, frame: memoryview) -> None:
            self.count += 1
            if self.count == 3:
                threading.Thread(target=self.send_frame, args=(b"now",)).start()
                self.waited = got.wait(DEADLINE_S)

    sessions = Made(Slow)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"\1x" * 10)
        assert receive_all(peer, 4) == b"\3now"
        got.set()
        assert eventually(lambda: sessions[0].count == 10)
    assert sessions[0].waited
