"""What a session sends without an operation: whole, in order, and only if nothing waits."""

from __future__ import annotations

import hashlib
import random
import socket
import statistics
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faulty_kernel import Calls, FaultyKernel, Refusal
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort
from pyiocp.winapi import SOCKET_ERROR, WSAECONNRESET, WSAENOTSOCK, WSAEWOULDBLOCK

LOCAL = ("127.0.0.1", 0)


class Partial:
    """Has the system take the sizes of a list at most, by turns; 0 is none, for now."""

    def __init__(self, kernel: FaultyKernel, sizes: list[int]) -> None:
        self.taken: list[int] = []
        self._sizes = sizes
        self._refuse = Refusal(WSAEWOULDBLOCK, SOCKET_ERROR)
        kernel.wrap("send", self._send)

    def _send(self, real: Callable[..., int], number: Any, data: Any, size: int, flags: int) -> int:
        most = self._sizes[len(self.taken) % len(self._sizes)]
        self.taken.append(min(most, size))
        if not most:
            return int(self._refuse(real))
        return real(number, data, min(most, size), flags)


def begun(port: CompletionPort, kind: Callable[[], Any] = Journal) -> tuple[Any, socket.socket]:
    """Return a session that has sent its first message, and its peer, while nobody waits."""
    sessions = Made(kind)
    listener = port.listen(LOCAL, sessions)
    with served(port):
        peer = connect(listener)
        assert eventually(lambda: bool(sessions))
        assert sessions[0].connected.wait(10)
        assert sessions[0].send(b"first") is True
        assert receive_all(peer, 5) == b"first"
        assert eventually(lambda: sessions[0].send_queue_bytes == 0)
    listener.close()
    return sessions[0], peer


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    """Sockets that are closed when the test ends."""
    kept: list[socket.socket] = []
    yield kept
    for peer in kept:
        peer.close()


def test_what_is_taken_at_once_has_no_operation(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peers: list[socket.socket]
) -> None:
    """100 messages, while nobody waits for packets: none is needed; and one FIONBIO in all."""
    calls = Calls(kernel, "send", "WSASend", "ioctlsocket")
    port = open_port()
    session, peer = begun(port)
    peers.append(peer)
    assert calls == {"WSASend": 1}  # the first message
    for n in range(100):
        assert session.send(b"%d" % n) is True
        assert peer.recv(10) == b"%d" % n
    assert calls == {"WSASend": 1, "send": 100, "ioctlsocket": 1}
    assert "send" not in port.in_flight_by_kind()
    figures = session.statistics()
    assert (figures.messages_sent, figures.bytes_sent) == (101, 5 + 190)
    assert figures.send_queue_bytes == 0


@pytest.mark.parametrize("sizes", [[1], [7, 0], [0], [100, 3000, 1 << 20], [1 << 20]])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_rest_follows_whatever_was_taken(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    peers: list[socket.socket],
    sizes: list[int],
    kind: Callable[[Any], Any],
) -> None:
    """Messages of 1 to 100,000 bytes come whole and in order; each is the caller's at once."""
    partial = Partial(kernel, sizes)
    session, peer = begun(open_port())
    peers.append(peer)
    random.seed(1)
    expected, counted = hashlib.sha256(), 0
    with served(session._pyiocp.stream.port):
        for size in [1, 2, 64, 2048, 2049, 8192, 8193, 20_000, 65_536, 100_000] * 2:
            message = bytearray(random.randbytes(size))
            expected.update(message)
            counted += size
            session.send(kind(message))
            message[:] = bytes(size)
        got = receive_all(peer, counted)
        assert hashlib.sha256(got).digest() == expected.digest()
        assert eventually(lambda: session.statistics().bytes_sent == counted + 5)
        assert session.send_queue_bytes == 0
    assert partial.taken
    assert session.statistics().messages_sent == 21


def test_nothing_overtakes_what_waits(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peers: list[socket.socket]
) -> None:
    """The first of 100 is taken in part: the others wait for its end, although they need not."""
    partial = Partial(kernel, [1, 1 << 20])
    session, peer = begun(open_port())
    peers.append(peer)
    for n in range(100):
        session.send(b"%4d" % n)
    with served(session._pyiocp.stream.port):
        assert receive_all(peer, 400) == b"".join(b"%4d" % n for n in range(100))
    assert partial.taken[0] == 1


def test_slow_peer_is_asked_for_once(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], peers: list[socket.socket]
) -> None:
    """It does not read: what it is sent waits, with one operation under way, and no more calls."""
    calls = Calls(kernel, "send", "WSASend")
    port = open_port()
    session, peer = begun(port)
    peers.append(peer)
    session.high_water = 1 << 30
    session.send_limit = 1 << 30
    while not session.send_queue_bytes:
        session.send(bytes(1 << 16))
    before = dict(calls)
    for _ in range(50):
        session.send(bytes(1000))
    assert calls == before
    assert port.in_flight_by_kind()["send"] == 1
    sent = session.statistics().bytes_sent + session.send_queue_bytes
    with served(port):
        assert len(receive_all(peer, sent - 5)) == sent - 5
        assert eventually(lambda: session.send_queue_bytes == 0)
        assert session.send(b"again") is True
        assert receive_all(peer, 5) == b"again"


def test_high_water_of_nothing_is_never_fewer(
    port: CompletionPort, peers: list[socket.socket]
) -> None:
    """`send` says True while fewer bytes wait than that: also of what was taken at once."""
    session, peer = begun(port)
    peers.append(peer)
    session.high_water = 0
    assert session.send(b"second") is False
    assert receive_all(peer, 6) == b"second"


@pytest.mark.parametrize(("size", "at_once"), [(1 << 16, 1), ((1 << 16) + 1, 0)])
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_large_message_is_not_copied_into_the_system(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    peers: list[socket.socket],
    kind: Callable[[Any], Any],
    size: int,
    at_once: int,
) -> None:
    """What is over 64 KB goes by an operation, which has its pages locked."""
    calls = Calls(kernel, "send")
    port = open_port()
    session, peer = begun(port)
    peers.append(peer)
    data = bytearray(random.randbytes(size))
    with served(port):
        assert session.send(kind(data)) is True
        assert receive_all(peer, size) == data
    assert calls["send"] == at_once


def test_large_view_is_not_copied(port: CompletionPort, peers: list[socket.socket]) -> None:
    """An echo of 64 KB out of the receive buffer takes no memory of its own."""

    class Echo(Journal):
        def on_receive(self, data: memoryview) -> None:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            self.send(data)
            _, peak = tracemalloc.get_traced_memory()
            took.append((len(data), peak - before))
            data.release()  # nothing exports it any more

    took: list[tuple[int, int]] = []
    tracemalloc.start()
    try:
        _, peer = begun(port, Echo)
        peers.append(peer)
        with served(port):
            for _ in range(10):
                peer.sendall(bytes(60_000))
                assert receive_all(peer, 60_000) == bytes(60_000)
    finally:
        tracemalloc.stop()
    large = [taken for size, taken in took if size > 8192]
    assert statistics.median(large) < 16_384, took  # of some, the system may not take all at once


@pytest.mark.parametrize("view", ["read-only", "with gaps", "of words", "empty"])
def test_views_of_all_kinds_are_sent(
    port: CompletionPort, peers: list[socket.socket], view: str
) -> None:
    """Large ones that cannot be pointed to, and some that can: as their bytes are."""
    data = bytearray(range(256)) * 100
    views = {
        "read-only": memoryview(bytes(data)),
        "with gaps": memoryview(data)[::2],
        "of words": memoryview(data).cast("I"),
        "empty": memoryview(data)[:0],
    }
    session, peer = begun(port)
    peers.append(peer)
    with served(port):
        assert session.send(views[view]) is True
        assert session.send(b"end") is True
        expected = views[view].tobytes() + b"end"
        assert receive_all(peer, len(expected)) == expected


@pytest.mark.parametrize("function", ["send", "ioctlsocket"])
def test_what_cannot_be_sent_at_once_goes_by_an_operation(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    peers: list[socket.socket],
    function: str,
) -> None:
    """The call fails, or the socket stays blocking: the operation has the last word."""
    code = WSAECONNRESET if function == "send" else WSAENOTSOCK
    refusal = Refusal(code, SOCKET_ERROR)
    kernel.wrap(function, refusal)
    calls = Calls(kernel, "send", "WSASend")
    port = open_port()
    session, peer = begun(port)
    peers.append(peer)
    with served(port):
        for n in range(10):
            assert session.send(b"%d" % n) is True
            assert peer.recv(10) == b"%d" % n
    assert refusal.refused == 10
    assert calls["WSASend"] == 11
    assert calls["send"] == (10 if function == "send" else 0)
