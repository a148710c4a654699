"""Requests of a file that stay pending: cancelled, overtaken, closed under, failed.

A file of a disk under Wine has always ended a read by the time that anybody looks. What
`File` does is the same for a handle that ReadFile and WriteFile really wait on: here it is
the end of a named pipe, which has no offsets and takes no notice of them.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator

import pytest
from completions import completions_of, ended

from pyiocp import (
    CompletionPort,
    MessageTruncatedError,
    Operation,
    OperationCancelledError,
    PipeClosedError,
)
from pyiocp.handles.files.file import File
from pyiocp.winapi import (
    FILE_FLAG_OVERLAPPED,
    GENERIC_READ,
    GENERIC_WRITE,
    INVALID_HANDLE_VALUE,
    OPEN_EXISTING,
    PIPE_ACCESS_DUPLEX,
    PIPE_READMODE_MESSAGE,
    PIPE_TYPE_MESSAGE,
    STATUS_PENDING,
    CreateFileW,
    CreateNamedPipeW,
)

FSCTL_PIPE_LISTEN = 0x00110008
FSCTL_PIPE_PEEK = 0x0011400C

Ends = tuple[File, File]


def pipe_name() -> str:
    return rf"\\.\pipe\pyiocp-{os.getpid()}-file"


def server_end(port: CompletionPort, mode: int = 0) -> File:
    """One end of a pipe, with room for 4 KB, as a file on the port."""
    number = CreateNamedPipeW(
        pipe_name(), PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED, mode, 1, 4096, 4096, 0, None
    )
    assert number not in (None, INVALID_HANDLE_VALUE)
    return File(port._queue, number, key="server", name="server")


def client_end(port: CompletionPort) -> File:
    access = GENERIC_READ | GENERIC_WRITE
    number = CreateFileW(pipe_name(), access, 0, None, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, None)
    assert number not in (None, INVALID_HANDLE_VALUE)
    return File(port._queue, number, key="client", name="client")


@pytest.fixture
def ends(port: CompletionPort) -> Iterator[Ends]:
    """Both ends of a pipe, connected to each other."""
    with server_end(port) as server, client_end(port) as client:
        yield server, client


def ended_within_a_tick(operation: Operation) -> bool:
    """Tell whether the kernel took a write at once; it may be a moment before it says so.

    Half a second for one that waits for a reader: nothing tells that it does.
    """
    until = time.monotonic() + 0.5
    while operation.status == STATUS_PENDING and time.monotonic() < until:
        time.sleep(0.001)  # for the kernel to say so; bounded above
    return operation.status != STATUS_PENDING


def test_pending_read_completes_once(port: CompletionPort, ends: Ends) -> None:
    """Pending until the other end has written; then one completion, and no second."""
    server, client = ends
    operation = server.read(bytearray(100), 0)
    assert port.in_flight_by_kind() == {"read": 1}
    assert port.wait(0.05) == []
    client.write(b"hello", 0)
    seen = {c.key: c for c in completions_of(port, 2)}
    assert seen["server"].operation is operation
    assert bytes(seen["server"].data) == b"hello"
    assert (seen["client"].bytes, seen["client"].error) == (5, None)
    assert port.wait(0.05) == []


def test_cancelled_read_completes_as_cancelled(port: CompletionPort, ends: Ends) -> None:
    """C05: the table still holds it, and its buffer, until the packet has come."""
    server, _ = ends
    buffer = bytearray(100)
    operation = server.read(buffer, 0)
    assert operation.cancel() is True
    assert port.in_flight[operation.address] is operation
    with pytest.raises(BufferError):
        buffer.append(0)
    [completion] = port.wait(60)
    assert isinstance(completion.error, OperationCancelledError)
    assert completion.operation is operation
    assert operation.cancel() is False
    assert port.wait(0.05) == []


def test_cancelled_write_completes_as_cancelled(port: CompletionPort, ends: Ends) -> None:
    """More than the pipe has room for, and nobody reads: it waits."""
    server, _ = ends
    operations = [server.write(bytes(64 * 1024), 0)]
    while ended_within_a_tick(operations[-1]) and len(operations) < 100:
        operations.append(server.write(bytes(64 * 1024), 0))
    assert operations[-1].status == STATUS_PENDING
    assert operations[-1].cancel() is True
    seen = completions_of(port, len(operations))
    last = next(c for c in seen if c.operation is operations[-1])
    assert isinstance(last.error, OperationCancelledError)


def test_bytes_that_came_before_the_cancel_are_delivered(port: CompletionPort, ends: Ends) -> None:
    """C06: the kernel has written them, nobody has dequeued them, then comes cancel()."""
    server, client = ends
    operation = server.read(bytearray(100), 0)
    client.write(b"first", 0)
    assert ended(operation)
    assert operation.cancel() is False
    seen = {c.key: c for c in completions_of(port, 2)}
    assert (bytes(seen["server"].data), seen["server"].error) == (b"first", None)


def test_closing_the_file_completes_what_is_pending(port: CompletionPort, ends: Ends) -> None:
    server, _ = ends
    operations = {server.read(bytearray(10), 0), server.read(bytearray(10), 0)}
    server.close()
    seen = completions_of(port, 2)
    assert {c.operation for c in seen} == operations
    assert {type(c.error) for c in seen} == {OperationCancelledError}
    assert port.wait(0.05) == []


def test_closing_the_port_gives_back_what_is_pending() -> None:
    """The completions that nobody waited for are what close() returns; nothing is kept."""
    port = CompletionPort()
    server, client = server_end(port), client_end(port)
    operations = {server.read(bytearray(10), 0), client.read(bytearray(10), 0)}
    unclaimed = port.close()
    assert {c.operation for c in unclaimed} == operations
    assert {type(c.error) for c in unclaimed} == {OperationCancelledError}
    assert port.in_flight == {}


def test_failure_by_packet_is_the_completions_error(port: CompletionPort, ends: Ends) -> None:
    """The other end goes away under the read; the error names function and file."""
    server, client = ends
    server.read(bytearray(10), 0)
    client.close()
    [completion] = port.wait(60)
    assert isinstance(completion.error, PipeClosedError)
    assert isinstance(completion.error, BrokenPipeError)
    assert completion.error.function == "ReadFile"
    assert "name='server'" in str(completion.error)


def test_control_code_stays_pending_until_the_driver_answers(port: CompletionPort) -> None:
    """FSCTL_PIPE_LISTEN ends when a client comes; a second one is cancelled before."""
    with server_end(port) as server:
        operation = server.control(FSCTL_PIPE_LISTEN)
        assert port.in_flight_by_kind() == {"control": 1}
        assert operation.cancel() is True
        [completion] = port.wait(60)
        assert isinstance(completion.error, OperationCancelledError)
        operation.post()
        with client_end(port):
            [completion] = port.wait(60)
            assert (completion.operation, completion.error) == (operation, None)


def test_answer_that_is_cut_off_says_so_and_is_there(port: CompletionPort) -> None:
    """FSCTL_PIPE_PEEK at a message, with room for 3 of its 8 bytes: one end, with those bytes."""
    message_mode = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE
    with server_end(port, message_mode) as server, client_end(port) as client:
        client.write(b"12345678", 0)
        assert [c.bytes for c in port.wait(60)] == [8]
        answer = bytearray(16 + 3)
        operation = server.control(FSCTL_PIPE_PEEK, b"", answer)
        [completion] = port.wait(60)
        assert completion.operation is operation
        assert isinstance(completion.error, MessageTruncatedError)
        assert bytes(answer[16:]) == b"123"
        assert port.wait(0.05) == []


def test_dropped_operation_lives_until_its_completion(port: CompletionPort, ends: Ends) -> None:
    """C13: operation, buffer and slice are dropped and collected; the bytes still come."""
    server, client = ends
    server.read(memoryview(bytearray(100))[10:50], 0)
    client.write(b"late", 0)
    gc.collect()
    seen = {c.key: c for c in completions_of(port, 2)}
    assert bytes(seen["server"].data) == b"late"
