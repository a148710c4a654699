"""Sessions: the promises about hooks, sending, receiving and closing."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel
from journal import Journal, Made, connect, eventually, receive_all, reset, served

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    DatagramSession,
    Listener,
    NetworkTimeoutError,
    PeerResetError,
    SendQueueOverflowError,
    Session,
    SessionState,
)

LOCAL = ("127.0.0.1", 0)


class Echo(Journal):
    """Sends everything back."""

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


def greet_and_leave(listener: Listener) -> None:
    """Have a message echoed, end this side, and see the other one end."""
    with connect(listener) as peer:
        peer.sendall(b"hello")
        assert receive_all(peer, 5) == b"hello"
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""


# Hooks


def test_hooks_come_in_order_and_once(port: CompletionPort, no_errors_logged: None) -> None:
    """One connection, one message, one end, both ways: connect, receive, eof, close."""
    sessions = Made(Echo)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        greet_and_leave(listener)
        [session] = sessions
        assert session.closed.wait(10)
    assert session.hooks == ["connect", "receive", "eof", "close"]
    assert session.error is None
    assert session.state is SessionState.CLOSED
    assert port.sessions == set()


def test_bytes_come_in_order_whatever_the_parts(port: CompletionPort) -> None:
    """A megabyte in odd pieces, received 1,000 bytes at a time."""

    class Small(Journal):
        receive_size = 1000

    data = bytes(range(256)) * 4096
    sessions = Made(Small)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        for at in range(0, len(data), 7777):
            peer.sendall(data[at : at + 7777])
        assert eventually(lambda: bool(sessions))
        assert sessions[0].wait_received(len(data), 30) == data


def test_reset_by_peer_is_told(port: CompletionPort, no_errors_logged: None) -> None:
    """C16 in ring 3: an RST ends in on_close(ConnectionResetError), without on_eof."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        peer = connect(listener)
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        reset(peer)
        assert sessions[0].closed.wait(10)
    assert sessions[0].hooks == ["connect", "close"]
    assert type(sessions[0].error) is PeerResetError


@pytest.mark.parametrize("hook", ["on_connect", "on_receive", "on_eof", "on_writable"])
def test_exception_in_a_hook_ends_that_session_only(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    """Logged with its traceback and the session; on_close gets what wraps it; others live."""

    class Failing(Echo):
        high_water = low_water = 1

        def __getattribute__(self, name: str) -> Any:
            if name == hook:
                return self.fail
            return super().__getattribute__(name)

        def fail(self, *_: object) -> None:
            raise ZeroDivisionError("in the hook")

        def on_receive(self, data: memoryview) -> None:
            self.send(bytes(1 << 24))  # more than the system takes on the spot

    sessions = Made(Failing)
    listener = port.listen(LOCAL, sessions)
    good_sessions = Made(Echo)
    good_listener = port.listen(LOCAL, good_sessions)
    with served(port), connect(good_listener) as good:
        with connect(listener) as peer:
            with contextlib.suppress(ConnectionError):
                peer.sendall(b"x")
                if hook == "on_eof":
                    peer.shutdown(socket.SHUT_WR)
            _take_what_comes(peer)
            assert eventually(lambda: bool(sessions))
            assert sessions[0].closed.wait(10)
        good.sendall(b"alive")
        assert receive_all(good, 5) == b"alive"
    error = sessions[0].error
    assert isinstance(error, ConnectionAbortedError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert sessions[0].hooks.count("close") == 1
    records = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(records) == 1
    assert "Failing" in records[0].getMessage()
    assert records[0].exc_info is not None
    records.clear()
    caplog.clear()  # whose tracebacks would keep the port, and the handles of its locks


def test_exception_in_on_close_is_logged_and_the_port_goes_on(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Echo):
        def on_close(self, error: OSError | None) -> None:
            super().on_close(error)
            raise ZeroDivisionError

    listener = port.listen(LOCAL, Made(Failing))
    with served(port):
        for _ in range(2):
            with connect(listener) as peer:
                peer.sendall(b"x")
                assert receive_all(peer, 1) == b"x"
        assert eventually(lambda: not port.sessions)
    assert caplog.text.count("on_close of") == 2
    caplog.clear()


def test_hooks_of_one_session_never_overlap(port: CompletionPort) -> None:
    """C38: four workers, echo of many messages, and calls from outside: never two at once.

    Each hook tries a lock that must be free; and the bytes come back in order.
    """
    overlaps: list[str] = []

    class Guarded(Echo):
        receive_size = 512
        high_water, low_water = 4096, 1024

        def __init__(self) -> None:
            super().__init__()
            self.inside = threading.Lock()

        def guarded(self, hook: str, *arguments: Any) -> None:
            if not self.inside.acquire(False):
                overlaps.append(hook)
                return
            try:
                getattr(Echo, hook)(self, *arguments)
            finally:
                self.inside.release()

        def on_connect(self) -> None:
            self.guarded("on_connect")

        def on_receive(self, data: memoryview) -> None:
            self.guarded("on_receive", data)

        def on_writable(self) -> None:
            self.guarded("on_writable")

        def on_eof(self) -> None:
            self.guarded("on_eof")

        def on_close(self, error: OSError | None) -> None:
            self.guarded("on_close", error)

    sessions = Made(Guarded)
    listener = port.listen(LOCAL, sessions)
    data = bytes(range(256)) * 1024
    with served(port, threads=4):
        peers = [connect(listener) for _ in range(4)]
        senders = [threading.Thread(target=_send_and_end, args=(p, data)) for p in peers]
        for sender in senders:
            sender.start()
        back = [receive_all(peer) for peer in peers]
        for sender, peer in zip(senders, peers, strict=True):
            sender.join(10)
            peer.close()
        assert all(session.closed.wait(10) for session in sessions)
    assert back == [data] * 4
    assert overlaps == []
    for session in sessions:
        assert session.hooks[0] == "connect"
        assert session.hooks[-2:] == ["eof", "close"]


def _send_and_end(peer: socket.socket, data: bytes) -> None:
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


# Receiving


def test_view_is_released_after_the_hook(port: CompletionPort) -> None:
    """A view kept as it is raises ValueError afterwards: no stale bytes by mistake."""
    views: list[memoryview] = []

    class Keeping(Echo):
        def on_receive(self, data: memoryview) -> None:
            views.append(data)
            super().on_receive(data)

    listener = port.listen(LOCAL, Keeping)
    with served(port), connect(listener) as peer:
        for data in (b"one", b"two"):
            peer.sendall(data)
            assert receive_all(peer, 3) == data
    assert len(views) == 2
    for view in views:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


@pytest.mark.parametrize(
    "derive",
    [
        lambda data: data[1:],
        lambda data: data.cast("b"),
        lambda data: memoryview(data),
    ],
    ids=["slice", "cast", "memoryview"],
)
def test_kept_piece_of_the_view_keeps_its_bytes(port: CompletionPort, derive: Any) -> None:
    """What was made of the view lives on, so the session gets another buffer."""
    kept: list[Any] = []

    class Keeping(Echo):
        def on_receive(self, data: memoryview) -> None:
            kept.append(derive(data))
            super().on_receive(data)

    listener = port.listen(LOCAL, Keeping)
    with served(port), connect(listener) as peer:
        for data in (b"one", b"two", b"six"):
            peer.sendall(data)
            assert receive_all(peer, 3) == data
    assert [bytes(piece)[-2:] for piece in kept] == [b"ne", b"wo", b"ix"]


def test_paused_session_receives_nothing_until_resumed(port: CompletionPort) -> None:
    """Paused in on_connect; the bytes wait in the socket, and come after resuming, in order.

    That nothing came is seen after another session has been served twice meanwhile.
    """

    class Pausing(Journal):
        def on_connect(self) -> None:
            self.pause_receiving()
            super().on_connect()

    sessions = Made(Pausing)
    listener = port.listen(LOCAL, sessions)
    others = port.listen(LOCAL, Echo)
    with served(port), connect(listener) as peer, connect(others) as other:
        peer.sendall(b"waiting")
        for _ in range(2):
            other.sendall(b"x")
            assert receive_all(other, 1) == b"x"
        [session] = sessions
        assert session.connected.wait(10)
        assert session.received == b""
        session.resume_receiving()
        assert session.wait_received(7) == b"waiting"
        peer.sendall(b", more")
        assert session.wait_received(13) == b"waiting, more"


def test_pausing_in_a_hook_lets_nothing_more_in(port: CompletionPort) -> None:
    """Paused while handling the first byte of many: that one, until resumed for all of them."""

    class OneByOne(Journal):
        receive_size = 1

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.pause_receiving()

    sessions = Made(OneByOne)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"abc")
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        for expected in (b"a", b"ab", b"abc"):
            assert session.wait_received(len(expected)) == expected
            assert eventually(lambda: not session._pyiocp._receives.receiving)
            assert bytes(session.received) == expected
            session.resume_receiving()


# Sending


def test_sends_from_several_threads_stay_whole_and_in_order(port: CompletionPort) -> None:
    """Four threads send 100 lines each: every line whole, and each thread's in its order."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions

        def send(name: int) -> None:
            for n in range(100):
                session.send(f"{name} {n} {'x' * (n * 13 % 300)}\n".encode())

        threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        session.close()
        lines = receive_all(peer).decode().splitlines()
    assert len(lines) == 400
    for name in range(4):
        mine = [line.split(" ")[1:] for line in lines if line.startswith(f"{name} ")]
        assert mine == [[str(n), "x" * (n * 13 % 300)] for n in range(100)]


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda b: memoryview(bytearray(b))])
def test_sent_buffer_may_be_used_again_at_once(port: CompletionPort, kind: Any) -> None:
    """The session is made to queue by 8 MB first; then the sender overwrites what it sent."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        session.send(bytes(1 << 23))
        data = kind(b"keep me")
        session.send(data)
        if not isinstance(data, bytes):
            data[:] = b"XXXXXXX"
        assert receive_all(peer, (1 << 23) + 7)[-7:] == b"keep me"


@pytest.mark.parametrize("bad", ["text", 5, None, [1, 2], 3.0])
def test_send_refuses_what_is_no_buffer(port: CompletionPort, bad: Any) -> None:
    """A number is no buffer either: ``bytes(5)`` would send five zeros."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        with pytest.raises(TypeError):
            sessions[0].send(bad)
        sessions[0].send(b"only this")
        sessions[0].close()
        assert receive_all(peer) == b"only this"


def test_session_without_a_connection_says_so(port: CompletionPort) -> None:
    """Made by hand, or connecting still: words, not an AttributeError."""
    session = Session()
    assert (session.peer_address, session.local_address) == (None, None)
    assert session.send_queue_bytes == 0
    for call in (
        lambda: session.send(b"x"),
        lambda: session.send_file(b"x"),
        session.send_eof,
        session.close,
        session.abort,
        session.pause_receiving,
        session.resume_receiving,
        session.statistics,
        lambda: DatagramSession().check_length(1),
    ):
        with pytest.raises(RuntimeError, match="has no connection"):
            call()
    with socket.create_server(LOCAL) as server:
        connecting = port.connect(server.getsockname(), Journal)
        with pytest.raises(RuntimeError, match="before on_connect"):
            connecting.send(b"x")


def test_high_water_and_on_writable(port: CompletionPort) -> None:
    """C36: a peer that does not read: False at high_water, on_writable once when it reads."""
    writable = threading.Event()

    class Filling(Journal):
        high_water, low_water = 1 << 20, 1 << 18

        def on_writable(self) -> None:
            super().on_writable()
            self.low = self.send_queue_bytes
            writable.set()

    sessions = Made(Filling)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        sent = 0
        while session.send(bytes(1 << 18)):
            sent += 1 << 18
            assert sent < 1 << 28, "the system takes everything: the test shows nothing"
        sent += 1 << 18
        assert session.send_queue_bytes >= session.high_water
        assert session.send(b"x") is False
        assert not writable.is_set()
        assert len(receive_all(peer, sent + 1)) == sent + 1
        assert writable.wait(10)
        assert session.low <= session.low_water
        assert session.send(b"y") is True
        assert receive_all(peer, 1) == b"y"
    assert session.hooks.count("writable") == 1


def test_send_queue_overflow_ends_the_session(port: CompletionPort) -> None:
    """C36: over send_limit the session is aborted; what its owner still sends is not kept."""

    class Flooding(Journal):
        high_water, low_water, send_limit = 1 << 16, 1 << 15, 1 << 20

        def on_connect(self) -> None:
            super().on_connect()
            self.answers = [self.send(bytes(1 << 20)) for _ in range(64)]
            self.queued = self.send_queue_bytes

    sessions = Made(Flooding)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        assert session.closed.wait(10)
        assert session.send(b"x") is False
    assert type(session.error) is SendQueueOverflowError
    assert isinstance(session.error, ConnectionError)
    assert session.answers[-1] is False
    assert session.queued <= session.send_limit + (1 << 20)
    assert session.hooks == ["connect", "close"]


def test_what_is_sent_in_the_midst_of_a_send_comes_after_it(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """As a signal handler does, or what a collection ends: its thread has the lock already."""

    class Interrupted(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(b"first, ")

    sessions = Made(Interrupted)
    sends: list[bool] = []

    def send(real: Callable[..., int], *arguments: Any) -> int:
        if not sends:
            sends.append(True)
            assert sessions[0].send(b"second")
        return real(*arguments)

    kernel.wrap("WSASend", send)
    port = open_port()
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert receive_all(peer, len(b"first, second")) == b"first, second"
        assert eventually(lambda: sessions[0].send_queue_bytes == 0)


# Closing


def test_end_of_a_connection_costs_no_call_too_many(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """Nothing is pending: nothing to cancel. And closing a socket says that no more will come."""
    calls: list[str] = []
    for name in ("CancelIoEx", "shutdown"):

        def note(real: Callable[..., int], *arguments: Any, name: str = name) -> int:
            calls.append(name)
            return real(*arguments)

        kernel.wrap(name, note)
    sessions = Made(Echo)
    port = open_port()
    listener = port.listen(LOCAL, sessions)
    with served(port):
        greet_and_leave(listener)
        assert sessions[0].closed.wait(10)
        assert calls == []
        with connect(listener):
            assert eventually(lambda: len(sessions) == 2 and sessions[1].connected.is_set())
            sessions[1].abort()
            assert sessions[1].closed.wait(10)
        assert calls == ["CancelIoEx"]


def test_close_sends_everything_then_ends(port: CompletionPort, no_errors_logged: None) -> None:
    """8 MB queued, then close(): the peer gets all of it, then the end, and may take its time."""
    data = bytes(range(256)) * (1 << 15)

    class Pushing(Journal):
        close_timeout = 30.0

        def on_connect(self) -> None:
            super().on_connect()
            self.send(data)
            self.close()
            self.close()
            self.sent_after = self.send(b"late")

    sessions = Made(Pushing)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        with connect(listener) as peer:
            assert receive_all(peer) == data
            assert not sessions[0].closed.is_set(), "the peer has not closed yet"
        assert sessions[0].closed.wait(10)
    [session] = sessions
    assert session.error is None
    assert session.sent_after is False
    assert session.hooks == ["connect", "close"]


def test_closing_session_drops_what_still_comes(port: CompletionPort) -> None:
    """After close() no on_receive and no on_eof; the bytes are read away until the end."""

    class Closing(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.close()

    sessions = Made(Closing)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        with connect(listener) as peer:
            assert peer.recv(1) == b""
            peer.sendall(bytes(1 << 20))
        assert sessions[0].closed.wait(10)
    assert sessions[0].hooks == ["connect", "close"]
    assert sessions[0].error is None


def test_peer_that_never_ends_is_aborted_at_the_deadline(port: CompletionPort) -> None:
    class Impatient(Journal):
        close_timeout = 0.2

        def on_connect(self) -> None:
            super().on_connect()
            self.close()

    sessions = Made(Impatient)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert peer.recv(1) == b""
        assert sessions[0].closed.wait(10)
        assert type(sessions[0].error) is NetworkTimeoutError
        assert isinstance(sessions[0].error, TimeoutError)


def test_half_open_session_goes_on_sending(port: CompletionPort) -> None:
    """on_eof overridden: the peer has ended its side, and is answered afterwards."""

    class HalfOpen(Journal):
        def on_eof(self) -> None:
            self.hooks.append("eof")
            self.has_eof.set()

    sessions = Made(HalfOpen)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        assert eventually(lambda: bool(sessions))
        [session] = sessions
        assert session.has_eof.wait(10)
        assert session.state is SessionState.OPEN
        assert session.send(b"answer") is True
        session.close()
        assert receive_all(peer) == b"answer"
        assert session.closed.wait(10)
    assert session.hooks == ["connect", "receive", "eof", "close"]
    assert session.error is None


def test_abort_resets_the_connection(port: CompletionPort) -> None:
    """The peer, a pending receive, sees an RST and no end; on_close says aborted."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), CompletionPort() as other:
        stream = other.stream(connect(listener))
        stream.receive(bytearray(1))
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        session.abort()
        session.abort()
        assert session.closed.wait(10)
        [completion] = other.wait(10)
        assert isinstance(completion.error, ConnectionResetError)
    assert type(session.error) is ConnectionLostError
    assert isinstance(session.error, ConnectionAbortedError)
    assert session.hooks == ["connect", "close"]


def test_abort_drops_what_waits_to_be_sent(port: CompletionPort) -> None:
    """The peer reads nothing: the send under way ends with the session all the same."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        session.send(bytes(1 << 25))
        session.abort()
        assert session.closed.wait(10)
        assert port.in_flight_by_kind().get("send", 0) == 0
        assert len(_take_what_comes(peer)) < 1 << 25


def _take_what_comes(peer: socket.socket) -> bytes:
    data = bytearray()
    try:
        while part := peer.recv(1 << 20):
            data += part
    except ConnectionError:
        pass
    return bytes(data)


def test_abort_in_a_hook_and_then_nothing_but_on_close(port: CompletionPort) -> None:
    class Aborting(Journal):
        receive_size = 1

        def on_receive(self, data: memoryview) -> None:
            super().on_receive(data)
            self.abort()

    sessions = Made(Aborting)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        peer.sendall(b"many bytes")
        assert eventually(lambda: bool(sessions))
        assert sessions[0].closed.wait(10)
    assert sessions[0].hooks == ["connect", "receive", "close"]


def test_addresses_are_there_in_every_hook(port: CompletionPort) -> None:
    """Also in on_close, where they belong into a log, on both sides of a connection."""
    seen: dict[str, set[Any]] = {"server": set(), "client": set()}

    class Telling(Session):
        data = "server"

        def tell(self) -> None:
            seen[self.data].add((self.local_address, self.peer_address))

        def on_connect(self) -> None:
            self.tell()
            self.close()

        def on_close(self, error: OSError | None) -> None:
            self.tell()
            done.release()

    class Client(Telling):
        data = "client"

    done = threading.Semaphore(0)
    listener = port.listen(LOCAL, Telling)
    with served(port):
        port.connect(listener.address, Client)
        assert done.acquire(timeout=10)
        assert done.acquire(timeout=10)
    [(server_local, server_peer)] = seen["server"]
    assert server_local == listener.address
    assert seen["client"] == {(server_peer, server_local)}


def test_ended_sessions_give_their_buffers_back_at_once(port: CompletionPort) -> None:
    """Without a collection, and although somebody has the sessions still.

    Ten of them with a receive buffer of 4 MB each leave less than one such buffer behind.
    """

    class Large(Journal):
        receive_size = 1 << 22

    sessions = Made(Large)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        connect(listener).close()
        assert eventually(lambda: bool(sessions) and not port.sessions)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(10):
                connect(listener).close()
            assert eventually(lambda: len(sessions) == 11 and not port.sessions)
            assert eventually(lambda: tracemalloc.get_traced_memory()[0] - before < 1 << 22)
        finally:
            tracemalloc.stop()
            gc.enable()


def test_traffic_under_constant_garbage_collection(port: CompletionPort) -> None:
    """C13 in ring 3: collections at nearly every allocation, in all threads."""
    listener = port.listen(LOCAL, Echo)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with served(port, threads=2), connect(listener) as peer:
            for n in range(100):
                data = n.to_bytes(2, "big") * (1 + n)
                peer.sendall(data)
                assert receive_all(peer, len(data)) == data
    finally:
        gc.set_threshold(*threshold)
