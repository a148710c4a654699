"""Zero-byte mode: idle sessions without a buffer, and nothing lost by it."""

from __future__ import annotations

import gc
import socket
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, connect, eventually, receive_all, reset, served

from pyiocp import CompletionPort, PeerResetError, SendQueueOverflowError
from pyiocp.winapi import ERROR_INVALID_PARAMETER

LOCAL = ("127.0.0.1", 0)


class Frugal(Journal):
    """Sends everything back, and never waits with a buffer."""

    zero_byte_after = 0.0

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


class Resting(Frugal):
    """Waits with a buffer, but not for long."""

    zero_byte_after = 0.05


def pending_buffers(port: CompletionPort) -> list[int]:
    """The sizes of the buffers that pending receives have; 0 for one without."""
    return [
        sum(len(buffer) for buffer in packet.buffers)
        for packet in list(port.in_flight.values())
        if packet.kind == "receive" and not packet.internal
    ]


@pytest.mark.parametrize("receive_size", [1000, 65536])
@pytest.mark.parametrize("threads", [1, 4])
def test_everything_comes_in_order(
    port: CompletionPort, no_errors_logged: None, receive_size: int, threads: int
) -> None:
    """Half a megabyte in odd pieces, and back; and no buffer is waited with."""

    class Sized(Frugal):
        pass

    Sized.receive_size = receive_size
    data = bytes(range(256)) * 2048
    sessions = Made(Sized)
    listener = port.listen(LOCAL, sessions)
    with served(port, threads), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and pending_buffers(port) == [0])
        sender = threading.Thread(target=_send_in_pieces, args=(peer, data))
        sender.start()
        assert receive_all(peer, len(data)) == data
        sender.join()
        assert eventually(lambda: pending_buffers(port) == [0])
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
        assert sessions[0].closed.wait(10)
    assert sessions[0].received == data
    assert sessions[0].hooks[-2:] == ["eof", "close"]
    assert sessions[0].error is None


def _send_in_pieces(peer: socket.socket, data: bytes) -> None:
    for at in range(0, len(data), 7777):
        peer.sendall(data[at : at + 7777])


def test_each_listener_chooses_for_its_sessions(port: CompletionPort) -> None:
    """One class, two listeners of one port: the factory of one of them sets zero-byte mode."""

    def frugal() -> Journal:
        session = Journal()
        session.zero_byte_after = 0
        return session

    with_buffer, without = Made(Journal), Made(frugal)
    with served(port):
        for sessions in (with_buffer, without):
            with connect(port.listen(LOCAL, sessions)) as peer:
                peer.sendall(b"x")
                assert eventually(lambda made=sessions: bool(made))
                assert sessions[0].wait_received(1) == b"x"
                expected = [sessions[0].receive_size if sessions is with_buffer else 0]
                assert eventually(lambda wanted=expected: pending_buffers(port) == wanted)
            assert sessions[0].closed.wait(10)


def test_idle_session_gives_its_buffer_back(port: CompletionPort, no_errors_logged: None) -> None:
    """After the idle time the receive pending has no buffer; what comes then is delivered.

    With the message the session has a buffer again, until the next silence.
    """
    sessions = Made(Resting)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        for n in range(3):
            assert eventually(lambda: pending_buffers(port) == [0])
            peer.sendall(b"%d" % n)
            assert receive_all(peer, 1) == b"%d" % n
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
    assert sessions[0].received == b"012"


def test_message_wakes_a_resting_session_up(port: CompletionPort) -> None:
    """Idle, the session waits without a buffer; after a message, with one."""

    class Slow(Resting):
        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            type(self).zero_byte_after = 60.0

    sessions = Made(Slow)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: pending_buffers(port) == [0])
        [session] = sessions
        session._pyiocp.watch.stop()
        peer.sendall(b"x")
        assert receive_all(peer, 1) == b"x"
        assert eventually(lambda: pending_buffers(port) == [session.receive_size])


def test_message_that_beats_the_cancel_is_delivered() -> None:
    """C06: the idle session asks for its receive back, and the peer was faster.

    Just before the real CancelIoEx the message is sent, and the receive seen to complete.
    """
    kernel = FaultyKernel()
    beaten: list[bool] = []

    def cancel(real: Callable[..., int], number: int, overlapped: Any) -> int:
        if overlapped is not None and not beaten:
            peer.sendall(b"faster")
            structure = overlapped._obj
            beaten.append(eventually(lambda: structure.Internal != 0x103))
        return real(number, overlapped)

    kernel.wrap("CancelIoEx", cancel)
    with CompletionPort(kernel=kernel) as port:
        sessions = Made(Resting)
        listener = port.listen(LOCAL, sessions)
        with connect(listener) as peer, served(port):
            assert receive_all(peer, 6) == b"faster"
            assert eventually(lambda: pending_buffers(port) == [0])
            peer.sendall(b"and on")
            assert receive_all(peer, 6) == b"and on"
    assert beaten == [True]


def test_receive_that_cannot_be_cancelled_goes_on() -> None:
    """CancelIoEx is refused: the session waits on with its buffer, and loses nothing."""
    kernel = FaultyKernel()
    refusal = Refusal(ERROR_INVALID_PARAMETER, 0, times=1)
    kernel.wrap("CancelIoEx", refusal)
    with CompletionPort(kernel=kernel) as port:
        sessions = Made(Resting)
        listener = port.listen(LOCAL, sessions)
        with served(port), connect(listener) as peer:
            assert eventually(lambda: refusal.refused == 1)
            peer.sendall(b"here")
            assert receive_all(peer, 4) == b"here"


@pytest.mark.parametrize("kind", [Frugal, Resting])
def test_reset_of_an_idle_session_is_told(
    port: CompletionPort, no_errors_logged: None, kind: type[Frugal]
) -> None:
    sessions = Made(kind)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        peer = connect(listener)
        assert eventually(lambda: pending_buffers(port) == [0])
        reset(peer)
        assert sessions[0].closed.wait(10)
    assert sessions[0].hooks == ["connect", "close"]
    assert type(sessions[0].error) is PeerResetError


@pytest.mark.parametrize("kind", [Frugal, Resting])
def test_pausing_and_resuming_an_idle_session(port: CompletionPort, kind: type[Frugal]) -> None:
    """Paused in on_connect, idle by the time it is resumed: what waits in the socket comes."""

    class Pausing(kind):  # type: ignore[misc, valid-type]
        def on_connect(self) -> None:
            self.pause_receiving()
            super().on_connect()

    sessions = Made(Pausing)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"waiting")
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        rested = threading.Event()
        port.call_later(0.15, rested.set)
        assert rested.wait(10)
        assert sessions[0].received == b""
        assert pending_buffers(port) == []
        sessions[0].resume_receiving()
        assert receive_all(peer, 7) == b"waiting"


def test_kept_piece_of_a_borrowed_buffer_keeps_its_bytes(port: CompletionPort) -> None:
    """Two sessions take turns with the port's spare buffer, and one keeps what it was given."""
    kept: list[memoryview] = []

    class Keeping(Frugal):
        def on_receive(self, data: memoryview) -> None:
            kept.append(data[:])
            super().on_receive(data)

    keeping, others = port.listen(LOCAL, Keeping), port.listen(LOCAL, Frugal)
    with served(port), connect(keeping) as one, connect(others) as two:
        for data in (b"one", b"two", b"six"):
            one.sendall(data)
            assert receive_all(one, 3) == data
            two.sendall(b"???")
            assert receive_all(two, 3) == b"???"
    assert [bytes(piece) for piece in kept] == [b"one", b"two", b"six"]


def test_piece_kept_by_a_hook_that_raises_keeps_its_bytes(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """The session ends, and its buffer is not lent on: another one's bytes go elsewhere."""
    kept: list[memoryview] = []

    class Failing(Frugal):
        def on_receive(self, data: memoryview) -> None:
            kept.append(data[:])
            raise ZeroDivisionError

    sessions = Made(Failing)
    failing, others = port.listen(LOCAL, sessions), port.listen(LOCAL, Frugal)
    with served(port), connect(others) as other:
        with connect(failing) as peer:
            peer.sendall(b"one")
            assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
        for _ in range(3):
            other.sendall(b"???")
            assert receive_all(other, 3) == b"???"
    sessions.clear()
    caplog.clear()  # whose tracebacks would keep the port, and the handles of its locks
    assert [bytes(piece) for piece in kept] == [b"one"]


def test_slow_reader_of_an_idle_session_is_stopped(port: CompletionPort) -> None:
    """C36 in zero-byte mode: what sends is lent on only when nothing waits."""

    class Flooding(Frugal):
        high_water, low_water, send_limit = 1 << 16, 1 << 15, 1 << 20

        def on_connect(self) -> None:
            super().on_connect()
            for _ in range(64):
                self.send(bytes(1 << 20))

    sessions = Made(Flooding)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert type(sessions[0].error) is SendQueueOverflowError


def test_idle_connections_take_less_than_4_kb(port: CompletionPort) -> None:
    """Of what Python allocates, all told, per connection that has echoed once and is idle.

    The private bytes of the process, which count the system's part too, are measured by
    benchmarks/idle.py.
    """

    class Small(Frugal):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

        def on_connect(self) -> None:
            pass

        def __init__(self) -> None:
            pass

        def on_close(self, error: OSError | None) -> None:
            pass

    listener = port.listen(LOCAL, Small)
    peers: list[socket.socket] = []

    def grow(count: int) -> None:
        new = [connect(listener) for _ in range(count)]
        peers.extend(new)
        for peer in new:
            peer.sendall(b"x")
        for peer in new:
            assert receive_all(peer, 1) == b"x"

    try:
        with served(port):
            grow(70)
            gc.collect()
            tracemalloc.start()
            try:
                grow(400)
                gc.collect()
                snapshot = tracemalloc.take_snapshot()
            finally:
                tracemalloc.stop()
    finally:
        for peer in peers:
            peer.close()
    ours = [s.size for s in snapshot.statistics("filename") if _is_ours(s.traceback[0].filename)]
    assert 1000 < sum(ours) / 400 < 4096


def _is_ours(filename: str) -> bool:
    return "pyiocp" in filename.replace("\\", "/").split("/")
