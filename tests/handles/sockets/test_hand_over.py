"""A connection that another process takes over."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    AlreadyAssociatedError,
    CompletionPort,
    FunctionUnavailableError,
    HandleClosedError,
    IocpError,
    PortClosedError,
    Stream,
)
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    INVALID_SOCKET,
    SOCKET_ERROR,
    STATUS_SUCCESS,
    WSAEINVAL,
    WSAEMFILE,
    WSAPROTOCOL_INFOW,
)

PASS_SIZE = ctypes.sizeof(WSAPROTOCOL_INFOW)

OTHER_PROCESS = """
import sys
from pyiocp import CompletionPort

with CompletionPort() as port:
    stream = port.stream_from_share(sys.stdin.buffer.read(int(sys.argv[1])), key="taken over")
    print("opened", flush=True)
    while True:
        stream.receive(bytearray(100))
        [completion] = port.wait(60)
        if not completion.bytes:
            break
        stream.send(bytes(completion.data).upper())
        assert port.wait(60)[0].key == "taken over"
    print("done", stream.peer_address()[1], flush=True)
"""


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that takes a connection over, and answers in capitals until its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(PASS_SIZE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def spoken_to(
    process: subprocess.Popen[bytes], shared: bytes, close: Callable[[], None], peer: socket.socket
) -> None:
    """Give the pass to the process, close this side, and talk to it as the peer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(shared)
    process.stdin.flush()
    opened = process.stdout.readline()
    assert opened.strip() == b"opened", process.communicate(timeout=60)
    close()
    with peer:
        port = peer.getsockname()[1]
        for word in (b"one", b"two"):
            peer.sendall(word)
            assert peer.recv(10) == word.upper()
        peer.shutdown(socket.SHUT_WR)
        assert process.stdout.readline().split() == [b"done", b"%d" % port]
    assert process.wait(DEADLINE_S) == 0


def test_other_process_takes_the_connection_of_a_python_socket_over(
    other_process: subprocess.Popen[bytes],
) -> None:
    """It goes on there after this side has closed its own; receives and sends on a port."""
    ours, peer = socket.socketpair()
    peer.settimeout(20)
    with ours:
        spoken_to(other_process, ours.share(other_process.pid), ours.close, peer)


def test_other_process_takes_the_connection_of_a_stream_over(
    port: CompletionPort, other_process: subprocess.Popen[bytes]
) -> None:
    ours, peer = socket.socketpair()
    peer.settimeout(20)
    with peer:
        stream = port.stream(ours)
        try:
            shared = stream.share(other_process.pid)
        except FunctionUnavailableError as error:
            pytest.skip(f"{error} (Wine 8 cannot)")
        spoken_to(other_process, shared, stream.close, peer)


@pytest.fixture
def leaves(kernel: FaultyKernel) -> None:
    """Have the system say that a socket has left its port."""
    kernel.wrap("NtSetInformationFile", Refusal(0, STATUS_SUCCESS))


@pytest.fixture
def pair(port: CompletionPort) -> Iterator[tuple[Stream, socket.socket]]:
    ours, peer = socket.socketpair()
    peer.settimeout(60)
    with peer:
        yield port.stream(ours), peer


Pair = tuple[Stream, socket.socket]


@pytest.mark.usefixtures("leaves")
def test_shared_stream_takes_nothing_and_stays_open_until_it_is_closed(
    port: CompletionPort, pair: Pair
) -> None:
    """The pass is one that Python's socket takes, here in the same process."""
    stream, peer = pair
    shared = stream.share(os.getpid())
    assert (type(shared), len(shared)) == (bytes, PASS_SIZE)
    with pytest.raises(HandleClosedError, match="takes no receive"):
        stream.receive(bytearray(1))
    with pytest.raises(HandleClosedError, match="takes no share"):
        stream.share(os.getpid())
    with socket.fromshare(shared) as taken:
        stream.close()
        stream.close()
        assert stream not in port.handles
        peer.sendall(b"hello")
        assert taken.recv(10) == b"hello"
    assert peer.recv(1) == b""


@pytest.mark.usefixtures("leaves")
def test_shared_stream_is_closed_with_its_port(port: CompletionPort) -> None:
    ours, peer = socket.socketpair()
    peer.settimeout(60)
    with peer:
        shared = port.stream(ours).share(os.getpid())
        with socket.fromshare(shared):
            port.close()
        assert peer.recv(1) == b""


def test_stream_that_cannot_leave_its_port_stays_as_it_was(
    kernel: FaultyKernel, port: CompletionPort, pair: Pair
) -> None:
    kernel.wrap("NtSetInformationFile", Refusal(0, -0x3FFFFFFE))
    stream, peer = pair
    with pytest.raises(FunctionUnavailableError, match=r"off its port, which came with.*8\.1"):
        stream.share(os.getpid())
    stream.receive(bytearray(10))
    peer.sendall(b"hello")
    [completion] = port.wait(60)
    assert bytes(completion.data) == b"hello"


@pytest.mark.usefixtures("leaves")
def test_stream_with_operations_in_flight_is_not_shared(port: CompletionPort, pair: Pair) -> None:
    stream, _ = pair
    operation = stream.receive(bytearray(10))
    with pytest.raises(RuntimeError, match="cannot be shared: in flight on it are receive"):
        stream.share(os.getpid())
    operation.cancel()
    assert len(port.wait(60)) == 1
    with socket.fromshare(stream.share(os.getpid())):
        pass


@pytest.mark.usefixtures("leaves")
def test_share_that_the_system_refuses_leaves_the_stream(
    kernel: FaultyKernel, port: CompletionPort, pair: Pair
) -> None:
    """It is put on the port again, which it had left, and works there as before."""
    stream, peer = pair
    again: list[Any] = []

    def associate(real: Callable[..., int], *arguments: Any) -> int:
        if arguments[0] != stream.number:
            return real(*arguments)
        again.append(arguments[:2])
        return port.handle  # in truth it never left: nothing is to be done

    kernel.wrap("CreateIoCompletionPort", associate)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="id of a process"):
            stream.share(bad)
    with pytest.raises(TypeError):
        stream.share("1")  # type: ignore[arg-type]
    kernel.wrap("WSADuplicateSocketW", Refusal(WSAEINVAL, SOCKET_ERROR))
    with pytest.raises(IocpError, match="WSADuplicateSocketW failed with WSAEINVAL"):
        stream.share(4)
    assert again == [(stream.number, port.handle)] * 4
    stream.send(b"hello")
    assert [c.error for c in port.wait(60)] == [None]
    assert peer.recv(10) == b"hello"


def test_socket_on_a_port_cannot_be_put_on_another(port: CompletionPort, pair: Pair) -> None:
    """A share made by other means, of a socket that has not left its port: said, and closed."""
    stream, _ = pair
    information = WSAPROTOCOL_INFOW()
    before = handle_count()
    for _ in range(20):
        assert not port.kernel.WSADuplicateSocketW(
            stream.number, os.getpid(), ctypes.byref(information)
        )
        with pytest.raises(AlreadyAssociatedError):
            port.stream_from_share(bytes(information))
    assert handle_count() <= before


def test_what_is_no_share_is_refused(kernel: FaultyKernel, port: CompletionPort) -> None:
    with pytest.raises(ValueError, match=f"{PASS_SIZE} bytes from share"):
        port.stream_from_share(b"short")
    with pytest.raises(TypeError):
        port.stream_from_share("text")  # type: ignore[arg-type]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        pytest.raises(ValueError, match="a stream socket is needed"),
    ):
        port.stream_from_share(udp.share(os.getpid()))
    with socket.socket() as tcp:
        shared = tcp.share(os.getpid())
    kernel.wrap("WSASocketW", Refusal(WSAEMFILE, int(INVALID_SOCKET)))
    with pytest.raises(IocpError, match="WSASocketW failed with WSAEMFILE"):
        port.stream_from_share(shared)


def test_closed_port_takes_no_share() -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError, match="takes no stream"):
        port.stream_from_share(bytes(PASS_SIZE))


def test_family_comes_with_the_share(port: CompletionPort) -> None:
    """Streams of IPv6, made and handed over a hundred times: no handle is left."""

    def once() -> Any:
        with socket.socket(socket.AF_INET6) as made:
            stream = port.stream_from_share(made.share(os.getpid()))
        family = stream.family
        stream.close()
        return family

    assert once() == socket.AF_INET6
    before = handle_count()
    for _ in range(100):
        once()
    assert handle_count() <= before
