"""Statistics: what is in flight, the pages under it, and what has been."""

from __future__ import annotations

import ctypes
import mmap
import socket
import threading

import pytest

from pyiocp import CompletionPort, IocpError, Session, Stream
from pyiocp.memory.pages import PAGE_SIZE
from pyiocp.observing.statistics import Batches, Locked

Pair = tuple[Stream, socket.socket]


def cancel_all(port: CompletionPort, stream: Stream, count: int) -> None:
    """Cancel what is in flight on the stream, and dequeue it."""
    stream.cancel()
    seen = 0
    while seen < count:
        seen += len(port.wait(5))


def test_nothing_in_flight_is_nothing_locked(port: CompletionPort) -> None:
    """Zeros; and nothing of what has not been followed."""
    statistics = port.statistics()
    assert (statistics.in_flight, statistics.in_flight_by_kind) == (Locked(0, 0, 0), {})
    assert (statistics.peak, statistics.batches, statistics.completions) == (None, None, {})
    assert str(statistics) == "in flight: 0 operations, 0 bytes, 0 pages"


def test_pages_are_those_under_the_buffers_each_once(port: CompletionPort, pair: Pair) -> None:
    """Two buffers on one page, one across a boundary, two operations on the same page."""
    stream, _ = pair
    memory = mmap.mmap(-1, 4 * PAGE_SIZE)
    view = memoryview(memory)
    stream.receive(view[:100], view[200:300])
    assert port.statistics().in_flight == Locked(1, 200, 1)
    stream.receive(view[300:400])
    assert port.statistics().in_flight == Locked(2, 300, 1)
    stream.receive(view[2 * PAGE_SIZE - 1 : 2 * PAGE_SIZE + 1])
    assert port.statistics().in_flight == Locked(3, 302, 3)
    stream.receive()
    assert port.statistics().in_flight_by_kind == {"receive": Locked(4, 302, 3)}
    cancel_all(port, stream, 4)
    assert port.statistics().in_flight == Locked(0, 0, 0)
    view.release()


def test_every_kind_counts_for_itself_and_a_shared_page_once(
    port: CompletionPort, pair: Pair
) -> None:
    """A receive and a pending send on one page: one page in all, one for each of them."""
    stream, _ = pair
    memory = mmap.mmap(-1, 4096 * PAGE_SIZE)
    view = memoryview(memory)
    stream.receive(view[:10])
    stream.send(view)  # more than the system takes at once
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.accept()
    statistics = port.statistics()
    size = 4096 * PAGE_SIZE
    accepts = statistics.in_flight_by_kind.pop("accept")
    assert statistics.in_flight_by_kind == {
        "receive": Locked(1, 10, 1),
        "send": Locked(1, size, 4096),
    }
    assert accepts[0] == 1
    assert accepts.bytes >= 2 * ctypes.sizeof(ctypes.c_char * 144)
    assert statistics.in_flight == (3, 10 + size + accepts.bytes, 4096 + accepts.pages)
    listening.close()
    stream.close()
    seen = 0
    while seen < 3:
        seen += len(port.wait(5))
    view.release()


def test_watching_counts_completions_batches_and_peaks(port: CompletionPort, pair: Pair) -> None:
    """Three receives of 100 bytes at most at a time, seven in all, two of them cancelled."""
    stream, peer = pair
    memory = mmap.mmap(-1, PAGE_SIZE)
    view = memoryview(memory)
    operation = stream.receive(view[:100])  # in flight already
    port.watch()
    port.watch()
    peer.sendall(b"x")
    [_] = port.wait(5)
    for _ in range(4):
        operation.post()
        peer.sendall(b"x")
        [_] = port.wait(5)
    operations = [stream.receive(view[:100]) for _ in range(3)]
    peer.sendall(b"x")
    assert len(port.wait(5)) == 1
    cancel_all(port, stream, 2)
    with pytest.raises(IocpError):
        port.stream().receive(view)
    port.post("own")
    [_] = port.wait(5)
    statistics = port.statistics()
    assert statistics.completions == {"receive": 8, "post": 1}
    assert statistics.peak == Locked(3, PAGE_SIZE, 1)
    assert statistics.peak_by_kind == {"receive": Locked(3, PAGE_SIZE, 1), "post": Locked(1, 0, 0)}
    assert statistics.in_flight == Locked(0, 0, 0)
    assert isinstance(statistics.batches, Batches)
    assert statistics.batches.packets >= 4  # some may have finished on the spot
    assert 1 <= statistics.batches.largest <= statistics.batches.packets
    assert "completed: 8 receive, 1 post" in str(statistics)
    del operation, operations, _
    view.release()


def test_peak_is_exact_on_several_threads(port: CompletionPort) -> None:
    """Four threads post 200 receives each: all of them in flight, and counted once each."""
    port.watch()
    streams = []
    peers = []
    for _ in range(4):
        ours, peer = socket.socketpair()
        streams.append(port.stream(ours))
        peers.append(peer)

    def post(stream: Stream) -> None:
        for _ in range(200):
            stream.receive(bytearray(10))

    threads = [threading.Thread(target=post, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert port.statistics().in_flight[:2] == (800, 8000)
    for stream in streams:
        stream.cancel()
    seen = 0
    while seen < 800:
        seen += len(port.wait(10))
    statistics = port.statistics()
    assert statistics.peak is not None
    assert statistics.peak[:2] == (800, 8000)
    assert statistics.completions == {"receive": 800}
    assert statistics.in_flight == Locked(0, 0, 0)
    for peer in peers:
        peer.close()


def test_pools_of_the_port_are_counted_while_they_are_open(port: CompletionPort) -> None:
    """With their use; a pool that is closed or gone is not."""
    pool = port.buffer_pool(1000, slices=4)
    other = port.buffer_pool(2000)
    view = pool.take()
    by_size = {p.slice_size: (p.in_use, p.slices) for p in port.statistics().pools}
    assert by_size == {1000: (1, 4), 2000: (0, 32)}
    assert "pool of 1,000 bytes: 1 of 4 slices in use, 1 at most" in str(port.statistics())
    other.close()
    assert [p.slice_size for p in port.statistics().pools] == [1000]
    del view, pool
    assert port.statistics().pools == ()


def test_watching_a_port_at_work_loses_nothing(port: CompletionPort, pair: Pair) -> None:
    """The table's class changes under 400 receives of another thread: each completes once."""
    stream, peer = pair
    started = threading.Event()
    posted: list[int] = []

    def post() -> None:
        for n in range(400):
            stream.receive(bytearray(1))
            posted.append(n)
            if n == 100:
                started.set()

    thread = threading.Thread(target=post)
    thread.start()
    assert started.wait(10)
    port.watch()
    thread.join(30)
    assert len(posted) == 400
    peer.sendall(bytes(400))
    seen = 0
    while seen < 400:
        seen += len(port.wait(10))
    assert seen == 400
    assert port.statistics().completions == {"receive": 400}
    assert port.statistics().peak_by_kind["receive"][:2] == (400, 400)


def test_what_a_session_sends_is_counted(port: CompletionPort) -> None:
    """A large message is under way a piece at a time: its bytes, and the pages under them."""

    class Sender(Session):
        def on_connect(self) -> None:
            self.send(bytes(1 << 24))

    listener = port.listen(("127.0.0.1", 0), Sender)
    with socket.create_connection(listener.address):
        while "send" not in port.in_flight_by_kind():
            assert port.wait(0.01) == []
        sends = port.statistics().in_flight_by_kind["send"]
        assert sends.operations == 1
        assert 1 << 12 <= sends.bytes <= 1 << 18
        assert sends.bytes >> 12 <= sends.pages <= (sends.bytes >> 12) + 2
        port.close()
