"""Streams between two answers: a cancelled receive, a client that never sends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from completions import one
from faulty_kernel import FaultyKernel, Refusal, entries_of

from pyiocp import (
    CompletionPort,
    IocpError,
    NotConnectedError,
    OperationCancelledError,
    Session,
    Stream,
)
from pyiocp.winapi import (
    SO_CONNECT_TIME,
    SOCKET_ERROR,
    SOL_SOCKET,
    STATUS_CANCELLED,
    WSAENOBUFS,
)


@pytest.fixture
def listening(port: CompletionPort) -> Stream:
    stream = port.stream(key="listening")
    stream.bind(("127.0.0.1", 0))
    stream.listen()
    return stream


Pair = tuple[Stream, socket.socket]


# C28: a receive that was cancelled


def test_stream_goes_on_after_a_cancelled_receive(port: CompletionPort, pair: Pair) -> None:
    """C28: pyiocp neither closes the stream nor hides anything: the next receive tells.

    What the peer sends comes whole and in order, or the receive fails; never other bytes.
    """
    stream, peer = pair
    received = b""
    for n in range(20):
        stream.receive(bytearray(10)).cancel()
        completion = one(port)
        assert isinstance(completion.error, OperationCancelledError)
        peer.sendall(b"%02d" % n)
        stream.receive(bytearray(2))
        completion = one(port)
        if completion.error is not None:  # which Windows allows itself
            assert isinstance(completion.error, ConnectionError)
            return
        received += completion.data
    assert received == b"".join(b"%02d" % n for n in range(20))


def test_bytes_of_a_cancelled_receive_are_told(kernel: FaultyKernel) -> None:
    """C28: a receive of several packets may be cancelled with a part of them in its buffer.

    The packet then says cancelled and a number of bytes: so does the completion.
    """

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        if result:
            for entry in entries_of(arguments):
                if entry.lpOverlapped and entry.Internal == STATUS_CANCELLED:
                    entry.dwNumberOfBytesTransferred = 3
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    with CompletionPort(kernel=kernel) as other:
        ours, peer = socket.socketpair()
        with peer:
            operation = other.stream(ours).receive(bytearray(b"abcdef"))
            operation.cancel()
            completion = one(other)
    assert isinstance(completion.error, OperationCancelledError)
    assert (completion.bytes, bytes(completion.data)) == (3, b"abc")


def test_session_closes_after_a_cancelled_receive() -> None:
    """C28: whoever cancels under a session ends it: it does not guess what was lost."""
    closed: list[Any] = []
    sessions: list[Session] = []
    connected, done = threading.Event(), threading.Event()

    class Cancelled(Session):
        def on_connect(self) -> None:
            sessions.append(self)
            connected.set()

        def on_close(self, error: OSError | None) -> None:
            closed.append(error)
            done.set()

    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), Cancelled)
        thread = threading.Thread(target=port.run)
        thread.start()
        try:
            with socket.create_connection(listener.address) as client:
                client.settimeout(60)
                assert connected.wait(60)
                client.sendall(b"x")
                [stream] = [h for h in port.handles if getattr(h, "_peer", None) is not None]
                stream.cancel()
                while not done.wait(0.05):  # the receive may just have been between two posts
                    stream.cancel()
                assert client.recv(1) == b""
        finally:
            port.stop()
            thread.join(60)
    assert [type(error) for error in closed] == [OperationCancelledError]


# C34: a client that never sends


def test_silent_client_is_seen_and_disconnected(port: CompletionPort, listening: Stream) -> None:
    """C34: None before it is there, then a number; cancelling the accept closes it."""
    accept = listening.accept(receive=100)
    assert accept.connected_seconds() is None
    with socket.create_connection(listening.local_address()) as client:
        client.settimeout(60)
        until = time.monotonic() + 60
        while (seconds := accept.connected_seconds()) is None and time.monotonic() < until:
            time.sleep(0.01)  # for the system to take the connection; bounded above
        assert seconds in (0, 1, 2)
        assert port.wait(0) == []
        assert accept.cancel() is True
        completion = one(port)
        assert completion.operation is accept
        assert isinstance(completion.error, OperationCancelledError)
        assert accept.accepted is None
        with contextlib.suppress(ConnectionResetError):  # what Windows makes of it
            assert client.recv(1) == b""
    assert accept.connected_seconds() is None


def test_address_of_a_client_is_not_that_of_the_one_before(
    port: CompletionPort, listening: Stream
) -> None:
    """Wine writes no addresses for one that has gone without a byte of first data."""
    accept = listening.accept(receive=100)
    with socket.create_connection(listening.local_address()) as client:
        client.sendall(b"hello")
        assert one(port).data == b"hello"
        assert accept.accepted is not None
        assert accept.accepted.peer_address() == client.getsockname()
    accept.post()
    client = socket.create_connection(listening.local_address())
    second = client.getsockname()
    client.close()
    if one(port).error is None:
        assert accept.accepted is not None
        with contextlib.suppress(NotConnectedError):  # what Wine says: it is gone
            assert accept.accepted.peer_address() == second


def test_listener_of_ones_own_closes_silent_clients_only(
    kernel: FaultyKernel, port: CompletionPort, listening: Stream
) -> None:
    """C34: three clients, one of which sends; of the two others one has been silent too long.

    SO_CONNECT_TIME counts seconds: what it says here is 61 for the first accept, 5 for the
    others, and not connected for the fourth.
    """
    seconds: dict[int, int] = {}

    def getsockopt(
        real: Callable[..., int], number: int, level: int, option: int, value: Any, size: Any
    ) -> int:
        if (level, option) != (SOL_SOCKET, SO_CONNECT_TIME):
            return real(number, level, option, value, size)
        value._obj.value = seconds.get(number, 0xFFFFFFFF)
        return 0

    kernel.wrap("getsockopt", getsockopt)
    accepts = [listening.accept(receive=10) for _ in range(4)]
    for accept, time_s in zip(accepts, (61, 5, 5), strict=False):
        seconds[accept._accept_number] = time_s
    assert [accept.connected_seconds() for accept in accepts] == [61, 5, 5, None]
    for accept in accepts:
        if (accept.connected_seconds() or 0) > 60:
            accept.cancel()
    completion = one(port)
    assert completion.operation is accepts[0]
    assert [accept.connected_seconds() for accept in accepts] == [None, 5, 5, None]
    with socket.create_connection(listening.local_address()) as client:
        client.sendall(b"hello")
        completion = one(port)
        assert bytes(completion.data) == b"hello"
        assert completion.operation in accepts[1:]
        assert completion.operation.connected_seconds() is None


def test_refused_question_is_raised(
    kernel: FaultyKernel, port: CompletionPort, listening: Stream
) -> None:
    accept = listening.accept(receive=10)
    kernel.wrap("getsockopt", Refusal(WSAENOBUFS, SOCKET_ERROR))
    with pytest.raises(IocpError, match="getsockopt failed with WSAENOBUFS"):
        accept.connected_seconds()
    accept.cancel()
    one(port)
