"""Who owns memory while the kernel may write to it: the port, whatever the user drops."""

from __future__ import annotations

import array
import gc
import io
import mmap
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from pyiocp import CompletionPort, OperationCancelledError, Stream

Pair = tuple[Stream, socket.socket]


def test_dropped_operation_lives_until_its_completion(port: CompletionPort, pair: Pair) -> None:
    """C13: nobody but the port has the operation and its buffer, and garbage is collected.

    The completion brings both, with the data; after it both are free to go.
    """
    stream, peer = pair
    operation = weakref.ref(stream.receive(bytearray(8)))
    for _ in range(3):
        gc.collect()
    assert operation() is not None
    peer.sendall(b"x")
    [completion] = port.wait(5)
    assert completion.operation is operation()
    assert bytes(completion.data) == b"x"
    del completion
    gc.collect()
    assert operation() is None


def test_traffic_under_constant_garbage_collection(port: CompletionPort, pair: Pair) -> None:
    """C13: a collection at nearly every allocation, and no name for any operation.

    200 messages of different lengths each way come whole and in order.
    """
    stream, peer = pair
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for n in range(200):
            data = n.to_bytes(2, "big") * (1 + n % 7)
            stream.receive(bytearray(64))
            stream.send(bytearray(data))
            assert peer.recv(64) == data
            peer.sendall(data)
            seen: dict[str, Any] = {}
            while len(seen) < 2:
                for completion in port.wait(10):
                    assert completion.error is None
                    assert completion.operation is not None
                    seen[completion.operation.kind] = completion
            assert seen["send"].bytes == len(data)
            assert bytes(seen["receive"].data) == data
    finally:
        gc.set_threshold(*threshold)
    assert port.in_flight_by_kind() == {}


def test_dropped_stream_lives_until_it_is_closed(port: CompletionPort) -> None:
    """C13: the user drops the stream: its socket and its operation go on."""
    ours, peer = socket.socketpair()
    with peer:
        port.stream(ours, key="dropped").receive(bytearray(8))
        gc.collect()
        peer.sendall(b"x")
        [completion] = port.wait(5)
        assert (completion.key, bytes(completion.data)) == ("dropped", b"x")


def _mmap() -> Any:
    return mmap.mmap(-1, 64)


@pytest.mark.parametrize(
    ("make", "resize"),
    [
        (lambda: bytearray(64), lambda b: b.extend(b"x")),
        (lambda: bytearray(64), lambda b: b.clear()),
        (lambda: array.array("b", bytes(64)), lambda b: b.append(1)),
        (lambda: io.BytesIO(bytes(64)), lambda b: b.truncate(0)),
        (lambda: io.BytesIO(bytes(64)), lambda b: b.close()),
        (_mmap, lambda b: b.close()),
    ],
    ids=["extend", "clear", "array", "truncate", "close", "mmap"],
)
def test_memory_cannot_be_moved_under_a_pending_operation(
    port: CompletionPort, pair: Pair, make: Callable[[], Any], resize: Callable[[Any], object]
) -> None:
    """C32: resizing or closing the owner of a pending receive's memory is refused.

    It works again after the completion. (``ctypes.resize`` asks nobody: no library can
    refuse it, and WSABUF's documentation says so.)
    """
    stream, peer = pair
    owner = make()
    stream.receive(owner.getbuffer() if isinstance(owner, io.BytesIO) else owner)
    with pytest.raises(BufferError):
        resize(owner)
    peer.sendall(b"x")
    [completion] = port.wait(5)
    assert completion.bytes == 1
    del completion
    gc.collect()
    resize(owner)


def test_memory_of_a_pending_send_cannot_be_moved_either(port: CompletionPort, pair: Pair) -> None:
    """C32: a send that the system cannot take at once holds its bytearray until it has."""
    stream, peer = pair
    data = bytearray(1 << 24)
    operation = stream.send(data)
    with pytest.raises(BufferError):
        data.append(0)
    received = threading.Thread(target=_take, args=(peer, len(data)))
    received.start()
    [completion] = port.wait(20)
    assert (completion.operation, completion.bytes) == (operation, len(data))
    received.join(20)
    del operation, completion
    gc.collect()
    data.append(0)


def _take(peer: socket.socket, count: int) -> None:
    while count:
        count -= len(peer.recv(min(count, 1 << 20)))


def test_closing_a_stream_does_not_free_its_operation(port: CompletionPort, pair: Pair) -> None:
    """C05: close() asks too, and only the packet releases."""
    stream, _ = pair
    buffer = bytearray(8)
    operation = weakref.ref(stream.receive(buffer))
    stream.close()
    gc.collect()
    assert operation() is not None
    with pytest.raises(BufferError):
        buffer.append(0)
    [completion] = port.wait(5)
    assert completion.operation is operation()
    del completion
    gc.collect()
    assert operation() is None
    buffer.append(0)


def test_stale_packet_is_not_taken_for_the_new_sockets(port: CompletionPort) -> None:
    """C25: a socket is closed with its packet still queued, and its number is given again.

    Both completions come, each with its own operation, key and outcome.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname())
        old = port.stream(first, key="old")
        number = old.number
        stale = old.receive(bytearray(8))
        old.close()
        others = []
        while (second := socket.create_connection(server.getsockname())).fileno() != number:
            others.append(second)
            assert len(others) < 100, "the system does not give the number again"
        for other in others:
            other.close()
        new = port.stream(second, key="new")
        assert new.number == number
        fresh = new.receive(bytearray(8))
        port.post("last")
        seen = {}
        while "last" not in seen:
            for completion in port.wait(5):
                seen[completion.key] = completion
        assert set(seen) == {"old", "last"}
        assert seen["old"].operation is stale
        assert isinstance(seen["old"].error, OperationCancelledError)
        assert port.in_flight_by_kind() == {"receive": 1}
        assert fresh.cancel() is True
        [completion] = port.wait(5)
        assert (completion.operation, completion.key) == (fresh, "new")
