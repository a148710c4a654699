"""What the system refuses besides operations: it says which function it was, and leaves nothing."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from completions import one
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal
from footprint import Footprint
from pipe_ends import unused_name

from pyiocp import CompletionPort, IocpError, PortClosedError, ResourceLimitError, Stream
from pyiocp.winapi import ERROR_NOT_ENOUGH_MEMORY, WSAENOBUFS, FunctionUnavailableError

Pair = tuple[Stream, socket.socket]

OPENED_BY: dict[str, Callable[[CompletionPort, Path], Any]] = {
    "datagram": lambda port, folder: port.datagram(),
    "directory": lambda port, folder: port.directory(folder),
    "file": lambda port, folder: port.file(folder / "file", "w"),
    "pipe server": lambda port, folder: port.pipe_server(unused_name()),
    "stream": lambda port, folder: port.stream(),
}


@pytest.mark.parametrize("kind", OPENED_BY)
def test_handle_that_cannot_be_associated_is_closed(
    kernel: FaultyKernel, port: CompletionPort, kind: str, tmp_path: Path
) -> None:
    """C14: it was opened already; fifty of them leave no handle, and the port knows of none."""
    open_ = OPENED_BY[kind]
    open_(port, tmp_path).close()
    known, before = set(port.handles), Footprint.now().handles
    refusal = Refusal(ERROR_NOT_ENOUGH_MEMORY, None)
    kernel.wrap("CreateIoCompletionPort", refusal)
    for _ in range(50):
        with pytest.raises(ResourceLimitError, match="CreateIoCompletionPort failed"):
            open_(port, tmp_path)
    assert refusal.refused == 50
    assert port.handles == known
    assert Footprint.now().handles <= before


def test_client_of_a_pipe_that_cannot_be_associated_is_closed(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """C14: the server sees that the client has gone."""
    with port.pipe_server(unused_name()) as server:
        accept = server.accept()
        kernel.wrap("CreateIoCompletionPort", Refusal(ERROR_NOT_ENOUGH_MEMORY, None, times=1))
        with pytest.raises(ResourceLimitError, match="CreateIoCompletionPort failed"):
            port.pipe(server.name)
        assert one(port).operation is accept
        assert accept.accepted is not None
        accept.accepted.read(bytearray(1))
        assert one(port).bytes == 0


def test_no_port_is_no_port(kernel: FaultyKernel) -> None:
    kernel.wrap("CreateIoCompletionPort", Refusal(ERROR_NOT_ENOUGH_MEMORY, None))
    with pytest.raises(ResourceLimitError, match="CreateIoCompletionPort failed"):
        CompletionPort(kernel=kernel)


@pytest.mark.parametrize("words", [{"concurrency": -1}, {"batch": 0}, {"batch": 65537}])
def test_a_port_of_impossible_size_is_refused_with_words(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(words))):
        CompletionPort(**words)


def test_failed_wait_is_raised_and_the_port_goes_on(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort]
) -> None:
    """Not a time-out: the port itself says no, once. What was posted comes with the next wait."""
    refusal = Refusal(ERROR_NOT_ENOUGH_MEMORY, 0, times=1)
    kernel.wrap("GetQueuedCompletionStatusEx", refusal)
    port = open_port()
    port.post("kept")
    with pytest.raises(ResourceLimitError, match="GetQueuedCompletionStatusEx failed"):
        port.wait(60)
    assert refusal.refused == 1
    assert one(port).key == "kept"


def test_events_and_processes_say_what_failed(kernel: FaultyKernel, port: CompletionPort) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
    event, process = port.event(), port.process(child)
    child.wait(DEADLINE_S)
    for function, ask in (
        ("SetEvent", event.set),
        ("ResetEvent", event.reset),
        ("GetProcessId", lambda: process.pid),
        ("GetExitCodeProcess", lambda: process.exit_code),
    ):
        kernel.wrap(function, Refusal(ERROR_NOT_ENOUGH_MEMORY, 0, times=1))
        with pytest.raises(ResourceLimitError, match=f"{function} failed"):
            ask()
    assert (process.pid, process.exit_code) == (child.pid, 0)


@pytest.mark.parametrize(
    "function", ["OpenProcessToken", "GetTokenInformation", "ConvertSidToStringSidW"]
)
def test_a_pipe_is_not_opened_to_all_when_its_user_is_not_known(
    kernel: FaultyKernel, port: CompletionPort, function: str
) -> None:
    """Who may connect by default has to be asked for; without an answer there is no server."""
    before = Footprint.now().handles
    kernel.wrap(function, Refusal(ERROR_NOT_ENOUGH_MEMORY, 0))
    for _ in range(20):
        with pytest.raises(IocpError, match=f"{function} failed"):
            port.pipe_server(unused_name())
    assert Footprint.now().handles <= before


def test_accepted_socket_that_cannot_be_set_up_is_closed(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """The completion has the error, there is no stream, and the client sees the end."""
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    operation = listening.accept()
    refusal = Refusal(WSAENOBUFS, -1, times=1)
    kernel.wrap("setsockopt", refusal)
    with socket.create_connection(listening.local_address(), timeout=60) as client:
        completion = one(port)
        assert completion.operation is operation
        assert isinstance(completion.error, ResourceLimitError)
        assert completion.error.function == "setsockopt"
        assert operation.accepted is None
        with contextlib.suppress(ConnectionResetError):  # as Windows may say
            assert client.recv(1) == b""


def test_accept_without_its_function_leaves_no_socket(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """C14: of a provider that has no AcceptEx."""

    def look_up(socket: int) -> Callable[..., int]:
        raise FunctionUnavailableError("there is no AcceptEx")

    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    kernel.AcceptEx = look_up  # type: ignore[method-assign]
    before = Footprint.now().handles
    for _ in range(50):
        with pytest.raises(FunctionUnavailableError):
            listening.accept()
    assert Footprint.now().handles <= before


def test_a_pending_accept_is_not_posted_again(port: CompletionPort) -> None:
    """The socket that it accepts into stays: it takes the client all the same."""
    listening = port.stream()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    operation = listening.accept()
    with pytest.raises(RuntimeError, match="still pending"):
        operation.post()
    with socket.create_connection(listening.local_address(), timeout=60) as client:
        assert one(port).operation is operation
        assert operation.accepted is not None
        assert operation.accepted.peer_address() == client.getsockname()


def test_wrong_words_are_refused_before_the_system_sees_them(
    port: CompletionPort, pair: Pair
) -> None:
    with pytest.raises(ValueError, match="how must be"):
        pair[0].shutdown(9)
    with pytest.raises(ValueError, match="count must fit in 32 bits"):
        port.post("key", 2**32)
    port.close()
    with pytest.raises(PortClosedError, match="takes no stream"):
        port.stream()
