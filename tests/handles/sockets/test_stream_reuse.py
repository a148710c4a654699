"""A stream that has been disconnected is used again: not before, and with its options."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from completions import one
from faulty_kernel import FaultyKernel, Refusal
from wine import WINE

from pyiocp import CompletionPort, HandleClosedError, IocpError, OperationCancelledError, Stream
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    IPPROTO_TCP,
    SO_RCVBUF,
    SO_UPDATE_ACCEPT_CONTEXT,
    SOCKET_ERROR,
    SOL_SOCKET,
    STATUS_PENDING,
    TCP_NODELAY,
    WSAENOBUFS,
)

half_reused = pytest.mark.skipif(
    WINE,
    reason="Wine 8 reuses a socket only to receive, Wine 10 not even for that",
)


@pytest.fixture
def listening(port: CompletionPort) -> Stream:
    stream = port.stream(key="listening")
    stream.bind(("127.0.0.1", 0))
    stream.listen()
    return stream


def accepted(listening: Stream, into: Stream | None = None) -> tuple[Stream, socket.socket]:
    """Return a stream with a client, and the client."""
    operation = listening.accept(into=into)
    client = socket.create_connection(listening.local_address(), timeout=60)
    completion = one(listening.port)  # type: ignore[arg-type]
    assert (completion.operation, completion.error) == (operation, None)
    assert operation.accepted is not None
    return operation.accepted, client


def disconnected(stream: Stream, client: socket.socket) -> None:
    """End the connection, the client first, so that the pair of addresses is the client's."""
    client.close()
    stream.receive(bytearray(1))
    assert one(stream.port).bytes == 0  # type: ignore[arg-type]
    stream.disconnect(reuse=True)
    assert one(stream.port).error is None  # type: ignore[arg-type]


def test_stream_is_accepted_into_again(port: CompletionPort, listening: Stream) -> None:
    """C29: the same stream, key and socket, for three clients, with each one's address."""
    stream, client = accepted(listening)
    with contextlib.ExitStack() as clients:
        stream.key = "reused"
        number = stream.number
        for _ in range(3):
            disconnected(stream, client)
            again, client = accepted(listening, stream)
            clients.enter_context(client)
            assert again is stream
            assert (stream.number, stream.key) == (number, "reused")
            assert stream.peer_address() == client.getsockname()
            assert stream.local_address() == listening.local_address()


def test_reused_stream_receives(port: CompletionPort, listening: Stream) -> None:
    """C29: what each of three clients sends, and nothing of the one before."""
    stream, client = accepted(listening)
    stream.key = "reused"
    for n in range(3):
        disconnected(stream, client)
        stream, client = accepted(listening, stream)
        with client:
            client.sendall(b"hello %d" % n)
            stream.receive(bytearray(10))
            completion = one(port)
            assert (completion.key, completion.error) == ("reused", None)
            if WINE and completion.bytes == 0:
                pytest.skip("this Wine receives from the socket's last connection: Wine 10")
            assert bytes(completion.data) == b"hello %d" % n


@half_reused
def test_reused_stream_sends(port: CompletionPort, listening: Stream) -> None:
    """C29: the shutdown of the last connection is not the next one's."""
    stream, client = accepted(listening)
    disconnected(stream, client)
    stream, client = accepted(listening, stream)
    with client:
        stream.send(b"hello")
        assert one(port).error is None
        assert client.recv(10) == b"hello"


def test_new_stream_can_be_accepted_into(port: CompletionPort, listening: Stream) -> None:
    mine = port.stream(key="mine")
    stream, client = accepted(listening, mine)
    with client:
        assert stream is mine
        assert stream.peer_address() == client.getsockname()


@half_reused
def test_first_data_comes_into_a_reused_stream(port: CompletionPort, listening: Stream) -> None:
    """C29: it is the new client's, and nothing of the one before."""
    stream, client = accepted(listening)
    client.sendall(b"old")
    stream.receive(bytearray(3))
    assert one(port).bytes == 3
    disconnected(stream, client)
    listening.accept(receive=100, into=stream)
    with socket.create_connection(listening.local_address()) as client:
        client.sendall(b"new")
        completion = one(port)
        assert bytes(completion.data) == b"new"


def test_stream_is_not_reused_before_its_disconnect_has_completed(
    port: CompletionPort, listening: Stream
) -> None:
    """C29: the completion has been queued, but nobody has dequeued it."""
    stream, client = accepted(listening)
    client.close()
    stream.receive(bytearray(1))
    assert one(port).bytes == 0
    stream.disconnect(reuse=True)
    with pytest.raises(RuntimeError, match="still disconnecting: it takes no connect"):
        stream.connect(listening.local_address())
    with pytest.raises(RuntimeError, match="still disconnecting: it takes no accept"):
        listening.accept(into=stream)
    assert one(port).error is None
    again, client = accepted(listening, stream)
    client.close()
    assert again is stream


def test_options_are_set_again(
    kernel: FaultyKernel, port: CompletionPort, listening: Stream
) -> None:
    """C29: each with its last value, after the disconnect has completed and not before."""
    seen: list[tuple[int, int, bytes]] = []

    def setsockopt(
        real: Callable[..., int], number: int, level: int, option: int, value: Any, size: int
    ) -> int:
        if option != SO_UPDATE_ACCEPT_CONTEXT:
            seen.append((level, option, bytes(value._obj)))
        return real(number, level, option, value, size)

    kernel.wrap("setsockopt", setsockopt)
    stream, client = accepted(listening)
    stream.set_option(SOL_SOCKET, SO_RCVBUF, 4096)
    stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
    stream.set_option(SOL_SOCKET, SO_RCVBUF, (8192).to_bytes(4, "little"))
    client.close()
    stream.receive(bytearray(1))
    assert one(port).bytes == 0
    seen.clear()
    stream.disconnect(reuse=True)
    assert seen == []
    assert one(port).error is None
    expected = [
        (SOL_SOCKET, SO_RCVBUF, (8192).to_bytes(4, "little")),
        (IPPROTO_TCP, TCP_NODELAY, (1).to_bytes(4, "little")),
    ]
    assert seen == expected


def test_option_that_cannot_be_set_again_fails_the_disconnect(
    kernel: FaultyKernel, port: CompletionPort, listening: Stream
) -> None:
    """C29: the completion says so; the socket is not as its user thinks."""
    stream, client = accepted(listening)
    stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
    client.close()
    kernel.wrap("setsockopt", Refusal(WSAENOBUFS, SOCKET_ERROR))
    stream.disconnect(reuse=True)
    completion = one(port)
    assert isinstance(completion.error, IocpError)
    assert (completion.error.function, completion.error.winerror) == ("setsockopt", WSAENOBUFS)


def test_disconnect_without_reuse_leaves_the_options_alone(
    kernel: FaultyKernel, port: CompletionPort, listening: Stream
) -> None:
    stream, client = accepted(listening)
    stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
    refusal = Refusal(WSAENOBUFS, SOCKET_ERROR)
    kernel.wrap("setsockopt", refusal)
    with client:
        stream.disconnect()
        assert one(port).error is None
    assert refusal.calls == 0


@half_reused
def test_reused_stream_connects_and_sends_nothing_stale(
    port: CompletionPort, listening: Stream
) -> None:
    """C29: what the last connection received is not sent to the next one's peer."""
    stream, client = accepted(listening)
    client.sendall(b"secret")
    stream.receive(bytearray(100))
    assert one(port).bytes == 6
    disconnected(stream, client)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream.connect(server.getsockname())
        assert one(port).error is None
        peer, _ = server.accept()
        with peer:
            stream.send(b"hello")
            assert one(port).error is None
            assert peer.recv(100) == b"hello"


def test_failed_accept_leaves_the_stream_open(
    kernel: FaultyKernel, port: CompletionPort, listening: Stream
) -> None:
    """Refused, cancelled, and then accepted: the stream is the caller's all the time."""
    refusal = Refusal(WSAENOBUFS, 0, times=1)
    kernel.wrap("AcceptEx", refusal)
    mine = port.stream()
    with pytest.raises(IocpError, match="AcceptEx failed with WSAENOBUFS"):
        listening.accept(into=mine)
    operation = listening.accept(into=mine)
    assert operation.cancel() is True
    completion = one(port)
    assert isinstance(completion.error, OperationCancelledError)
    assert operation.accepted is None
    assert mine.closed is False
    fresh, client = accepted(listening)
    with client:
        assert fresh is not mine


def test_stream_closed_under_an_accept(port: CompletionPort, listening: Stream) -> None:
    """Its number may be another's by the time of the completion, which says aborted."""
    mine = port.stream()
    operation = listening.accept(into=mine)
    mine.close()
    completions = port.wait(0.05)  # the system may notice, or take the client first
    if not completions:
        with socket.create_connection(listening.local_address()):
            completions = port.wait(60)
    [completion] = completions
    assert completion.error is not None
    assert operation.accepted is None
    with pytest.raises(HandleClosedError, match="takes no accept"):
        listening.accept(into=mine)


def test_stream_closed_when_the_client_is_there_already(
    port: CompletionPort, listening: Stream
) -> None:
    """The accept has ended well, which nobody has dequeued; then its stream is closed."""
    mine = port.stream()
    operation = listening.accept(into=mine)
    with socket.create_connection(listening.local_address()):
        until = time.monotonic() + 60
        while operation.status == STATUS_PENDING and time.monotonic() < until:
            time.sleep(0.001)  # for the system to take the connection; bounded above
        mine.close()
        completion = one(port)
        assert isinstance(completion.error, OperationCancelledError)
        assert operation.accepted is None


def test_stream_of_another_family_is_refused(port: CompletionPort, listening: Stream) -> None:
    six = port.stream(family=socket.AF_INET6)
    with pytest.raises(ValueError, match="another address family"):
        listening.accept(into=six)


def rounds(port: CompletionPort, listening: Stream, count: int) -> None:
    """Reuse one stream `count` times."""
    stream, client = accepted(listening)
    for _ in range(count):
        disconnected(stream, client)
        stream, client = accepted(listening, stream)
    client.close()
    stream.close()


def test_rounds_of_reuse_leave_no_handle(port: CompletionPort, listening: Stream) -> None:
    rounds(port, listening, 5)
    gc.collect()
    before = handle_count()
    rounds(port, listening, 100)
    gc.collect()
    assert handle_count() <= before


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_ten_thousand_rounds_of_reuse_leave_no_handle(
    port: CompletionPort, listening: Stream
) -> None:
    rounds(port, listening, 5)
    gc.collect()
    before = handle_count()
    rounds(port, listening, 10_000)
    gc.collect()
    assert handle_count() <= before
