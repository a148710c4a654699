"""Streams: each operation's ends, against the real kernel functions."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from completions import one
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    CompletionPort,
    ConnectRefusedError,
    HandleClosedError,
    IocpError,
    NotConnectedError,
    OperationCancelledError,
    PeerResetError,
    ResourceLimitError,
    Stream,
)
from pyiocp.winapi import ERROR_NOT_SUPPORTED, SD_SEND, WSAEISCONN, WSAENOBUFS

Pair = tuple[Stream, socket.socket]


def test_receive_completes_once_with_bytes_and_key(port: CompletionPort, pair: Pair) -> None:
    """Posted before the data is there, so that it is pending: one completion, and no second."""
    stream, peer = pair
    operation = stream.receive(bytearray(100))
    assert port.in_flight_by_kind() == {"receive": 1}
    peer.sendall(b"hello")
    [completion] = port.wait(60)
    assert completion.operation is operation
    assert completion.key == "ours"
    assert bytes(completion.data) == b"hello"
    assert completion.error is None
    assert port.in_flight_by_kind() == {}
    assert port.wait(0.05) == []


def test_receive_done_on_the_spot_completes_once_too(port: CompletionPort, pair: Pair) -> None:
    """The data is there before the call, which a first receive has shown."""
    stream, peer = pair
    peer.sendall(b"ab")
    stream.receive(bytearray(1))
    port.wait(60)
    operation = stream.receive(bytearray(10))
    [completion] = port.wait(60)
    assert completion.operation is operation
    assert bytes(completion.data) == b"b"
    assert port.wait(0.05) == []


def test_operation_can_be_posted_again(port: CompletionPort, pair: Pair) -> None:
    stream, peer = pair
    operation = stream.receive(bytearray(10))
    seen = []
    for data in (b"one", b"two", b"three"):
        peer.sendall(data)
        [completion] = port.wait(60)
        seen.append(bytes(completion.data))
        operation.post()
    assert seen == [b"one", b"two", b"three"]
    with pytest.raises(RuntimeError, match="still pending"):
        operation.post()


def test_buffers_are_filled_and_sent_in_order(port: CompletionPort, pair: Pair) -> None:
    stream, peer = pair
    stream.send(b"ab", b"", bytearray(b"cd"), memoryview(b"ef"))
    [completion] = port.wait(60)
    assert completion.bytes == 6
    assert peer.recv(10) == b"abcdef"
    peer.sendall(b"123456")
    first, second = bytearray(2), bytearray(10)
    stream.receive(first, second)
    [completion] = port.wait(60)
    assert (bytes(first), bytes(second[:4]), completion.bytes) == (b"12", b"3456", 6)


def test_peer_close_is_zero_bytes_and_no_error(port: CompletionPort, pair: Pair) -> None:
    stream, peer = pair
    stream.receive(bytearray(10))
    peer.close()
    [completion] = port.wait(60)
    assert (completion.bytes, completion.error) == (0, None)


def test_zero_byte_receive_announces_data_without_taking_it(
    port: CompletionPort, pair: Pair
) -> None:
    stream, peer = pair
    stream.receive()
    peer.sendall(b"x")
    [completion] = port.wait(60)
    assert (completion.bytes, completion.error) == (0, None)
    stream.receive(bytearray(10))
    [completion] = port.wait(60)
    assert bytes(completion.data) == b"x"


def test_peek_leaves_the_bytes(port: CompletionPort, pair: Pair) -> None:
    stream, peer = pair
    peer.sendall(b"abc")
    for peek in (True, False):
        stream.receive(bytearray(10), peek=peek)
        [completion] = port.wait(60)
        assert bytes(completion.data) == b"abc"


def test_reset_by_peer_is_a_connection_reset_error(port: CompletionPort, pair: Pair) -> None:
    """An RST (linger 0) under a pending receive."""
    stream, peer = pair
    stream.receive(bytearray(10))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00")
    peer.close()
    [completion] = port.wait(60)
    assert isinstance(completion.error, ConnectionResetError)
    assert isinstance(completion.error, PeerResetError)
    assert completion.error.winerror == 10054
    with pytest.raises(ConnectionResetError):
        raise completion.error


def test_failed_call_raises_and_completes_nothing(port: CompletionPort) -> None:
    stream = port.stream()
    with pytest.raises(NotConnectedError, match="WSARecv failed with WSAENOTCONN"):
        stream.receive(bytearray(10))
    assert port.in_flight == {} or port.in_flight_by_kind() == {}
    assert port.wait(0.05) == []


def test_connect_and_accept_meet(port: CompletionPort) -> None:
    """Both ends on one port; each side sees the other's address, and bytes pass."""
    listening = port.stream(key="listening")
    listening.bind(("127.0.0.1", 0), exclusive=True)
    listening.listen()
    accept = listening.accept()
    client = port.stream(key="client")
    client.connect(listening.local_address())
    seen = {}
    while len(seen) < 2:
        for completion in port.wait(60):
            assert completion.error is None
            seen[completion.key] = completion
    server = accept.accepted
    assert server is not None
    assert server.peer_address() == client.local_address()
    assert client.peer_address() == server.local_address() == listening.local_address()
    client.send(b"ping")
    server.receive(bytearray(10))
    kinds = {}
    while len(kinds) < 2:
        kinds.update({c.operation.kind: c.bytes for c in port.wait(60)})
    assert kinds == {"send": 4, "receive": 4}


def test_connect_to_nobody_is_refused(port: CompletionPort) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    stream = port.stream()
    stream.connect(address)
    [completion] = port.wait(60)
    assert isinstance(completion.error, ConnectRefusedError)
    assert isinstance(completion.error, ConnectionRefusedError)


def test_connect_sends_first_data(port: CompletionPort) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = port.stream()
        stream.connect(server.getsockname(), b"first")
        [completion] = port.wait(60)
        assert (completion.error, completion.bytes) == (None, 5)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(10) == b"first"


def test_accept_with_first_data(port: CompletionPort) -> None:
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    accept = listening.accept(receive=100)
    with socket.create_connection(listening.local_address()) as client:
        assert port.wait(0.05) == []
        client.sendall(b"hello")
        [completion] = port.wait(60)
        assert bytes(completion.data) == b"hello"
        assert accept.accepted is not None
        assert accept.accepted.peer_address() == client.getsockname()


def test_ipv6(port: CompletionPort) -> None:
    listening = port.stream(family=socket.AF_INET6)
    listening.bind(("::1", 0))
    listening.listen()
    accept = listening.accept()
    client = port.stream(family=socket.AF_INET6)
    client.connect(listening.local_address())
    done = 0
    while done < 2:
        for completion in port.wait(60):
            assert completion.error is None
            done += 1
    assert accept.accepted is not None
    assert accept.accepted.peer_address() == client.local_address()


def test_disconnect_ends_the_peer_and_completes_once(port: CompletionPort, pair: Pair) -> None:
    stream, peer = pair
    stream.disconnect()
    assert peer.recv(10) == b""
    peer.close()
    [completion] = port.wait(60)
    assert completion.error is None
    assert port.wait(0.05) == []


def test_disconnected_socket_connects_again(port: CompletionPort, pair: Pair) -> None:
    stream, peer = pair
    stream.disconnect(reuse=True)
    peer.close()
    [completion] = port.wait(60)
    assert completion.error is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            stream.connect(server.getsockname())
        except IocpError as error:
            if error.winerror == WSAEISCONN:
                pytest.skip("this system says that it reuses sockets, and does not: Wine 8")
            raise
        [completion] = port.wait(60)
        assert completion.error is None


def test_shutdown_lets_the_peer_see_the_end(pair: Pair) -> None:
    stream, peer = pair
    stream.shutdown(SD_SEND)
    assert peer.recv(1) == b""


def test_cancel_completes_as_cancelled(port: CompletionPort, pair: Pair) -> None:
    stream, _ = pair
    operation = stream.receive(bytearray(10))
    assert operation.cancel() is True
    [completion] = port.wait(60)
    assert isinstance(completion.error, OperationCancelledError)
    assert operation.cancel() is False


def test_closed_stream_takes_nothing(port: CompletionPort, pair: Pair) -> None:
    stream, _ = pair
    stream.close()
    with pytest.raises(HandleClosedError, match="takes no receive"):
        stream.receive(bytearray(1))
    with pytest.raises(HandleClosedError):
        stream.shutdown()
    assert stream.close() is None


def test_close_completes_what_is_pending(port: CompletionPort, pair: Pair) -> None:
    stream, _ = pair
    operation = stream.receive(bytearray(10))
    stream.close()
    [completion] = port.wait(60)
    assert completion.operation is operation
    assert completion.error is not None


@pytest.mark.parametrize("bad", [b"bytes", memoryview(b"abc"), "text", None, 3])
def test_bad_receive_buffer_is_refused_before_the_kernel(
    port: CompletionPort, pair: Pair, bad: object
) -> None:
    with pytest.raises(TypeError):
        pair[0].receive(bad)  # type: ignore[arg-type]
    assert port.in_flight_by_kind() == {}


def test_bad_arguments_are_refused_with_words(port: CompletionPort, pair: Pair) -> None:
    stream, _ = pair
    with pytest.raises(ValueError, match="at least one buffer"):
        stream.send()
    with pytest.raises(ValueError, match="receive must be"):
        stream.accept(receive=-1)
    with pytest.raises(ValueError, match="timeout"):
        port.wait(-1)
    with pytest.raises(ValueError, match="timeout"):
        port.wait(float("nan"))
    with pytest.raises(ValueError, match="limit"):
        port.wait(0, limit=0)
    with pytest.raises(TypeError, match="socket"):
        port.stream("socket")  # type: ignore[arg-type]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        pytest.raises(ValueError, match="a stream socket"),
    ):
        port.stream(udp)
    with pytest.raises(ValueError, match=r"numeric|address"):
        port.stream().connect(("example.org", 80))


def test_accept_that_is_refused_takes_no_socket() -> None:
    """The socket to accept into is made under the lock, when nothing speaks against the accept."""
    kernel = FaultyKernel()
    made: list[int] = []

    def make(real: Callable[..., int], *arguments: Any) -> int:
        made.append(real(*arguments))
        return made[-1]

    kernel.wrap("WSASocketW", make)
    with CompletionPort(kernel=kernel) as port:
        listening = port.stream(socket.create_server(("127.0.0.1", 0)))
        operation = listening.accept()
        with pytest.raises(RuntimeError, match="still pending"):
            operation.post()
        with socket.create_connection(listening.local_address()):
            [completion] = port.wait(60)
        assert completion.error is None
        operation.accepted.close()
        listening.close()
        with pytest.raises(HandleClosedError):
            operation.post()
    assert len(made) == 1


def test_a_socket_may_be_given_by_its_number(port: CompletionPort) -> None:
    """Of IPv4 if nothing else is said; the number belongs to the stream from then on."""
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours.detach(), key="by number")
        stream.receive(bytearray(9))
        peer.send(b"hello")
        assert (one(port).data, stream.family) == (b"hello", socket.AF_INET)
    six = port.datagram(
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).detach(), family=socket.AF_INET6
    )
    six.bind(("::1", 0))
    four = port.datagram(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach())
    four.bind(("127.0.0.1", 0))
    assert (six.local_address()[0], four.local_address()[0]) == ("::1", "127.0.0.1")


def test_a_connect_that_cannot_be_bound_says_so(kernel: FaultyKernel, port: CompletionPort) -> None:
    """Bound already is fine; any other refusal is raised before ConnectEx is called."""
    stream = port.stream()
    kernel.wrap("bind", Refusal(WSAENOBUFS, -1, times=1))
    with pytest.raises(ResourceLimitError, match="bind failed with WSAENOBUFS"):
        stream.connect(("127.0.0.1", 9))
    assert port.in_flight_by_kind() == {}


def test_an_accept_that_is_posted_again_tells_each_client_from_the_other(
    port: CompletionPort,
) -> None:
    """Both have come to the same address, each from its own."""
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    operation = listening.accept_operation()
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            operation.post()
            client = clients.enter_context(socket.create_connection(listening.local_address()))
            assert one(port).operation is operation
            assert operation.accepted is not None
            assert operation.accepted.local_address() == client.getpeername()
            assert operation.accepted.peer_address() == client.getsockname()


def test_a_stream_that_is_closed_while_an_accept_begins_accepts_nothing(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """As by a signal handler, once the socket to accept into has been made: it is closed, too."""
    made: list[int] = []
    closed: list[int] = []
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()

    def make(real: Callable[..., int], *arguments: Any) -> int:
        made.append(real(*arguments))
        listening.close()
        return made[-1]

    def close(real: Callable[..., int], number: int) -> int:
        closed.append(number)
        return real(number)

    operation = listening.accept()
    with socket.create_connection(listening.local_address()):
        assert one(port).operation is operation
    number = listening.number
    kernel.wrap("closesocket", close)
    kernel.wrap("WSASocketW", make)
    with pytest.raises(HandleClosedError, match="takes no accept"):
        operation.post()
    assert (len(made), closed) == (1, [number, *made])
    assert port.in_flight_by_kind() == {}


def test_a_disconnect_completes_once_where_no_packet_is_left_out(kernel: FaultyKernel) -> None:
    """As with a provider that is not Windows' own: the packet tells, and the settling does not."""
    kernel.wrap("SetFileCompletionNotificationModes", Refusal(ERROR_NOT_SUPPORTED, 0))
    ours, peer = socket.socketpair()
    with CompletionPort(kernel=kernel) as port, peer:
        stream = port.stream(ours)
        assert not stream.skips_on_success
        operation = stream.disconnect()
        assert peer.recv(10) == b""
        peer.close()
        completion = one(port)
        assert (completion.operation, completion.error) == (operation, None)
        assert port.wait(0.05) == []
