"""Clients that wait for a busy server, without a thread that does."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from pipe_ends import completions_of, unused_name

from pyiocp import (
    AccessDeniedError,
    CompletionPort,
    OperationCancelledError,
    PathNotFoundError,
    Pipe,
    PipeBusyError,
    PipeServer,
    PortClosedError,
)
from pyiocp.winapi import ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY, INVALID_HANDLE_VALUE


@pytest.fixture
def busy(port: CompletionPort) -> tuple[PipeServer, Pipe]:
    """A server whose only instance has its client, and that instance."""
    server = port.pipe_server(unused_name(), instances=1)
    accept = server.accept()
    port.pipe(server.name)
    completions_of(port, accept)
    assert accept.accepted is not None
    return server, accept.accepted


def test_free_instance_is_had_at_once(port: CompletionPort) -> None:
    """It completes without anybody waiting for a timer, and has the key that was given."""
    server = port.pipe_server(unused_name())
    connect = port.connect_pipe(server.name, key="me")
    [completion] = port.wait(0)
    assert (completion.operation, completion.key, completion.error) == (connect, "me", None)
    assert connect.pipe is not None
    assert connect.pipe.key == "me"


def test_busy_server_is_waited_for(port: CompletionPort, busy: tuple[PipeServer, Pipe]) -> None:
    """Pending while the instance has its client; done when it is there for another."""
    server, instance = busy
    connect = port.connect_pipe(server.name, timeout=60)
    assert port.wait(0.1) == []
    assert port.in_flight_by_kind() == {"connect": 1}
    instance.disconnect()
    accept = instance.accept()
    completion, _ = completions_of(port, connect, accept)
    assert completion.error is None
    assert connect.pipe is not None
    got, _ = completions_of(port, instance.read(bytearray(9)), connect.pipe.write(b"at last"))
    assert bytes(got.data) == b"at last"
    assert connect.cancel() is False


def test_wait_has_an_end(port: CompletionPort, busy: tuple[PipeServer, Pipe]) -> None:
    """PipeBusyError, not before the time is over; and at once if there is none."""
    server, _ = busy
    begin = time.monotonic()
    connect = port.connect_pipe(server.name, timeout=0.2)
    [completion] = completions_of(port, connect)
    assert isinstance(completion.error, PipeBusyError)
    assert round(time.monotonic() - begin, 3) >= 0.2  # their difference is not exact
    assert connect.pipe is None
    connect = port.connect_pipe(server.name, timeout=0)
    [completion] = port.wait(0)
    assert isinstance(completion.error, PipeBusyError)
    assert port.in_flight_by_kind() == {}


def test_nobody_is_blocked_meanwhile(port: CompletionPort, busy: tuple[PipeServer, Pipe]) -> None:
    """Fifty clients wait, and packets posted to the port come as ever."""
    server, _ = busy
    waiting = [port.connect_pipe(server.name, timeout=None) for _ in range(50)]
    assert port.statistics().in_flight_by_kind["connect"].operations == 50
    for n in range(20):
        port.post(n)
        [completion] = port.wait(60)
        assert completion.key == n
    assert [connect.cancel() for connect in waiting] == [True] * 50
    completions = completions_of(port, *waiting)
    assert {type(c.error) for c in completions} == {OperationCancelledError}


def test_cancelled_wait_completes_once(port: CompletionPort, busy: tuple[PipeServer, Pipe]) -> None:
    server, _ = busy
    connect = port.connect_pipe(server.name)
    assert [connect.cancel(), connect.cancel()] == [True, False]
    [completion] = completions_of(port, connect)
    assert isinstance(completion.error, OperationCancelledError)
    assert port.wait(0.1) == []


def test_cancel_during_an_attempt_closes_what_it_opened() -> None:
    """C06 in reverse: the end is open when cancel() has said yes; it is closed, and no handle left.

    The seam cancels from another thread, within the call that succeeds.
    """
    kernel = FaultyKernel()
    busy = Refusal(ERROR_PIPE_BUSY, int(INVALID_HANDLE_VALUE), times=1)
    opened = []

    def open_(real: Any, *arguments: Any) -> Any:
        number = busy(real, *arguments)
        if busy.calls > 1:
            thread = threading.Thread(target=lambda: opened.append(connect.cancel()))
            thread.start()
            thread.join(60)
        return number

    kernel.wrap("CreateFileW", open_)
    with CompletionPort(kernel=kernel) as port:
        server = port.pipe_server(unused_name())
        connect = port.connect_pipe(server.name)
        [completion] = completions_of(port, connect)
        assert isinstance(completion.error, OperationCancelledError)
        assert opened == [True]
        assert [h for h in port.handles if isinstance(h, Pipe) and not h.server] == []


def test_what_is_no_matter_of_waiting_is_raised(port: CompletionPort) -> None:
    with pytest.raises(PathNotFoundError):
        port.connect_pipe(unused_name())
    with pytest.raises(ValueError, match="timeout must be"):
        port.connect_pipe(unused_name(), timeout=-1)
    with pytest.raises(ValueError, match="without backslashes"):
        port.connect_pipe("a\\b")
    assert port.in_flight_by_kind() == {}


def test_later_failures_come_with_the_completion() -> None:
    """Busy at first, then the server does not let this user in."""
    kernel = FaultyKernel()
    codes = iter((ERROR_PIPE_BUSY, ERROR_PIPE_BUSY, ERROR_ACCESS_DENIED))

    def open_(real: Any, *arguments: Any) -> Any:
        return Refusal(next(codes), int(INVALID_HANDLE_VALUE))(real, *arguments)

    kernel.wrap("CreateFileW", open_)
    with CompletionPort(kernel=kernel) as port:
        connect = port.connect_pipe(unused_name())
        [completion] = completions_of(port, connect)
        assert isinstance(completion.error, AccessDeniedError)
        assert completion.error.function == "CreateFileW"


def test_server_that_goes_away_ends_the_wait(
    port: CompletionPort, busy: tuple[PipeServer, Pipe]
) -> None:
    server, instance = busy
    connect = port.connect_pipe(server.name)
    server.close()
    instance.close()
    for handle in list(port.handles):
        if isinstance(handle, Pipe):
            handle.close()
    [completion] = completions_of(port, connect)
    assert isinstance(completion.error, PathNotFoundError)


def test_closing_the_port_ends_the_wait() -> None:
    """As cancelled, among what nobody had waited for; nothing is kept."""
    port = CompletionPort()
    server = port.pipe_server(unused_name(), instances=1)
    accept = server.accept()
    port.pipe(server.name)
    completions_of(port, accept)
    connect = port.connect_pipe(server.name, timeout=None)
    [completion] = port.close()
    assert completion.operation is connect
    assert isinstance(completion.error, OperationCancelledError)
    with pytest.raises(PortClosedError):
        port.connect_pipe(server.name)
