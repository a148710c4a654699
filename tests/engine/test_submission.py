"""Submitting: three outcomes (done on the spot, pending, failed), and one completion or none."""

from __future__ import annotations

import ctypes
import gc
import socket
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import CompletionPort, IocpError, NotConnectedError, ResourceLimitError, Stream
from pyiocp.winapi import (
    ERROR_NOT_ENOUGH_MEMORY,
    INVALID_SOCKET,
    SOCKET_ERROR,
    WSAEMFILE,
    WSAENOBUFS,
    WSAENOTCONN,
    WSAPROTOCOL_INFOW,
    XP1_IFS_HANDLES,
    CancelIoEx,
)


def test_packet_dequeued_before_the_call_returns(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C07: WSARecv returns only after another thread has had its completion.

    The wrapper lets the peer send when the real call is pending, and waits for the other
    thread, so the order is certain.
    """
    ours, peer = socket.socketpair()
    seen = []
    done = threading.Event()

    def receive(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        code = ctypes.get_last_error()
        peer.sendall(b"quick")
        assert done.wait(10)
        ctypes.set_last_error(code)
        return result

    kernel.wrap("WSARecv", receive)
    port = open_port()

    def wait() -> None:
        seen.extend(port.wait(10))
        done.set()

    with peer:
        stream = port.stream(ours)
        thread = threading.Thread(target=wait)
        thread.start()
        operation = stream.receive(bytearray(10))
        thread.join(10)
        assert [(c.operation, bytes(c.data), c.error) for c in seen] == [
            (operation, b"quick", None)
        ]
        assert operation.state.value == "completed"
        assert port.in_flight_by_kind() == {}
        assert port.wait(0.05) == []


def test_registration_is_rolled_back_when_the_call_fails(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C07: registered when the system is called, not any more when that has failed.

    The same operation, posted again, then works: the failure left it idle.
    """
    refusal = Refusal(WSAENOBUFS, SOCKET_ERROR, times=1)
    registered = []

    def receive(real: Callable[..., int], *arguments: Any) -> int:
        registered.append(port.in_flight_by_kind())
        return refusal(real, *arguments)

    kernel.wrap("WSARecv", receive)
    port = open_port()
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive_operation(bytearray(10))
        with pytest.raises(ResourceLimitError, match="WSARecv failed with WSAENOBUFS"):
            operation.post()
        assert port.in_flight_by_kind() == {}
        assert operation.state.value == "idle"
        operation.post()
        assert registered == [{"receive": 1}, {"receive": 1}]
        peer.sendall(b"x")
        [completion] = port.wait(5)
        assert (completion.operation, bytes(completion.data)) == (operation, b"x")


def _skip_works(kernel: FaultyKernel) -> None:
    """Leave everything as it is."""


def _skip_fails(kernel: FaultyKernel) -> None:
    """Have the system refuse to skip packets."""
    kernel.wrap("SetFileCompletionNotificationModes", Refusal(87, 0))


def _skip_is_not_for_this_provider(kernel: FaultyKernel) -> None:
    """Have the sockets belong to a layered provider, for which the setting lies."""

    def getsockopt(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        information = getattr(arguments[3], "_obj", None)
        if isinstance(information, WSAPROTOCOL_INFOW):
            information.dwServiceFlags1 &= ~XP1_IFS_HANDLES
        return result

    kernel.wrap("getsockopt", getsockopt)


@pytest.mark.parametrize(
    ("fault", "skips"),
    [(_skip_works, True), (_skip_fails, False), (_skip_is_not_for_this_provider, False)],
)
def test_every_completion_comes_once_whatever_the_skip_flag(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    fault: Callable[[FaultyKernel], None],
    skips: bool,
) -> None:
    """C08: with packets skipped on success, refused, and not trusted: nothing twice or never.

    Each round has a send, which ends on the spot, a receive that waits, and one whose
    byte is there already. 50 rounds end in 150 completions of 150 operations.
    """
    fault(kernel)
    port = open_port()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(10)
        stream = port.stream(ours)
        assert stream.skips_on_success is skips
        posted: list[object] = []
        seen: list[object] = []

        def collect() -> None:
            while len(seen) < len(posted):
                completions = port.wait(10)
                assert completions, "a completion never came"
                assert [c.error for c in completions] == [None] * len(completions)
                seen.extend(c.operation for c in completions)

        for _ in range(50):
            posted.append(stream.receive(bytearray(1)))
            posted.append(stream.send(b"ping"))
            assert theirs.recv(4) == b"ping"
            theirs.sendall(b"ab")
            collect()
            posted.append(stream.receive(bytearray(1)))
            collect()
        assert port.wait(0.05) == []
        assert len(seen) == len(set(seen)) == 150
        assert set(seen) == set(posted)


def _private_bytes_of(run: Callable[[], None]) -> int:
    """Return how much Python memory `run` leaves behind."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_ten_thousand_failed_submissions_leave_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C14: receives and sends on a stream that is not connected, refused by the system.

    Nothing is in flight, no handle is left, and less than 32 KB of Python memory; 10,000
    forgotten buffers would be 160 KB at the least.
    """
    from pyiocp.observing.handle_count import handle_count

    port = open_port()
    stream = port.stream()
    buffer = bytearray(16)

    def fail() -> None:
        for _ in range(5000):
            with pytest.raises(NotConnectedError):
                stream.receive(buffer)
            with pytest.raises(IocpError):  # WSAENOTCONN; Wine says WSAECONNRESET
                stream.send(b"x")

    with pytest.raises(NotConnectedError):
        stream.receive(buffer)
    gc.collect()
    handles = handle_count()
    assert _private_bytes_of(fail) < 32768
    assert handle_count() <= handles
    assert port.in_flight == {}
    buffer.append(0)
    assert port.wait(0) == []


def test_failed_accepts_close_their_sockets(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C14: AcceptEx takes a new socket each; 200 times the system refuses."""
    from pyiocp.observing.handle_count import handle_count

    refusal = Refusal(WSAENOBUFS, 0)
    kernel.wrap("AcceptEx", refusal)
    port = open_port()
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    gc.collect()
    handles = handle_count()
    for _ in range(200):
        with pytest.raises(ResourceLimitError, match="AcceptEx failed with WSAENOBUFS"):
            listening.accept()
    assert refusal.refused == 200
    assert handle_count() <= handles
    assert port.in_flight == {}


def test_no_socket_to_accept_into_is_said(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C14: WSASocketW fails with WSAEMFILE, before there is anything to give back."""
    port = open_port()
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    kernel.wrap("WSASocketW", Refusal(WSAEMFILE, int(INVALID_SOCKET)))
    with pytest.raises(ResourceLimitError, match="WSASocketW failed with WSAEMFILE"):
        listening.accept()
    assert port.in_flight == {}


def test_failed_connect_leaves_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C14: ConnectEx refused 200 times, with data to send: the data is free again."""
    kernel.wrap("ConnectEx", Refusal(WSAENOBUFS, 0))
    port = open_port()
    stream = port.stream()
    data = bytearray(b"hello")
    for _ in range(200):
        with pytest.raises(ResourceLimitError):
            stream.connect(("127.0.0.1", 9), data)
    gc.collect()
    data.append(0)
    assert port.in_flight == {}


def test_failed_post_raises_and_leaves_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C19: PostQueuedCompletionStatus fails; the next post, which works, comes alone."""
    refusal = Refusal(ERROR_NOT_ENOUGH_MEMORY, 0, times=3)
    kernel.wrap("PostQueuedCompletionStatus", refusal)
    port = open_port()
    for _ in range(3):
        with pytest.raises(ResourceLimitError, match="PostQueuedCompletionStatus failed"):
            port.post("lost")
    assert refusal.refused == 3
    assert port.in_flight == {}
    packet = port.post("kept", 7)
    [completion] = port.wait(5)
    assert (completion.operation, completion.key, completion.bytes) == (packet, "kept", 7)
    assert port.wait(0.05) == []


def test_error_is_the_calls_own_whatever_is_called_next(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C26: other code resets the thread's error code right after the call.

    The system's own slot, which GetLastError and WSAGetLastError read, says 0 when
    pyiocp gets to look; the code was captured with the call. Pending and failed alike.
    """
    set_last_error = ctypes.WinDLL("kernel32").SetLastError  # not captured: the real slot

    def receive(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        set_last_error(0)
        return result

    kernel.wrap("WSARecv", receive)
    port = open_port()
    with pytest.raises(NotConnectedError) as caught:
        port.stream().receive(bytearray(1))
    assert caught.value.winerror == WSAENOTCONN
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        peer.sendall(b"x")
        [completion] = port.wait(5)
        assert (completion.operation, completion.error) == (operation, None)


def test_extension_functions_are_each_sockets_own(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C27: the functions used on an IPv4 and on an IPv6 socket were asked of that socket.

    The seam notes which socket each function was looked up on, and with which socket as
    first argument it was called: they are the same ones, and both connections stand.
    """
    for name in ("AcceptEx", "ConnectEx"):
        real = getattr(kernel, name)
        used: list[tuple[int, int]] = []

        def look_up(socket: int, real: Any = real, used: Any = used) -> Callable[..., int]:
            function = real(socket)

            def call(*arguments: Any) -> int:
                used.append((socket, arguments[0].value))
                return int(function(*arguments))

            return call

        look_up.__name__ = name
        setattr(kernel, name, look_up)
        setattr(kernel, f"used_{name}", used)
    port = open_port()
    listening: list[Stream] = []
    clients: list[Stream] = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        server = port.stream(family=family)
        server.bind((host, 0))
        server.listen()
        server.accept()
        client = port.stream(family=family)
        client.connect(server.local_address())
        listening.append(server)
        clients.append(client)
    seen = []
    while len(seen) < 4:
        seen += port.wait(5)
    assert [c.error for c in seen] == [None] * 4
    assert kernel.used_AcceptEx == [(s.number, s.number) for s in listening]
    assert kernel.used_ConnectEx == [(c.number, c.number) for c in clients]


def test_a_failed_call_does_not_take_the_handle_with_it(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """C14: association fails: the socket is still the caller's, and open."""
    port = open_port()
    kernel.wrap("CreateIoCompletionPort", Refusal(ERROR_NOT_ENOUGH_MEMORY, None))
    ours, peer = socket.socketpair()
    with ours, peer:
        with pytest.raises(IocpError, match="CreateIoCompletionPort failed"):
            port.stream(ours)
        assert port.handles == set() or all(h.internal for h in port.handles)
        ours.sendall(b"still mine")
        assert peer.recv(20) == b"still mine"


def test_error_code_survives_a_finalizer_that_calls_windows(
    port: CompletionPort, pair: tuple[Stream, socket.socket]
) -> None:
    """C26: a collection at every chance, whose finalizers make failing calls of their own.

    A receive that the kernel has pending, taken for a failed one, would raise here.
    """
    stream, peer = pair

    class Trash:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            CancelIoEx(0xDEAD0, None)  # fails, and says why

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Trash()
            stream.receive(bytearray(8))
            peer.sendall(b"x")
            while not (completions := port.wait(5)):
                pass
            assert [c.bytes for c in completions] == [1]
    finally:
        gc.set_threshold(*threshold)
        gc.collect()
