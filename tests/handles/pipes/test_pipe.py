"""Pipes: how reads and writes end, against the real kernel functions."""

from __future__ import annotations

import gc
import threading

import pytest
from pipe_ends import Ends, completions_of, connected, unused_name

from pyiocp import (
    CompletionPort,
    Operation,
    OperationCancelledError,
    PipeClosedError,
    PipeCompletion,
    PortClosedError,
)
from pyiocp.winapi import STATUS_PENDING


@pytest.fixture(params=[False, True], ids=["bytes", "messages"])
def ends(port: CompletionPort, request: pytest.FixtureRequest) -> Ends:
    return connected(port, message=request.param)


@pytest.fixture
def bytes_ends(port: CompletionPort) -> Ends:
    return connected(port)


# --- Reading and writing --------------------------------------------------------------------------


def test_read_that_waits_completes_once_with_bytes_and_key(
    port: CompletionPort, ends: Ends
) -> None:
    """Posted before there is anything, so that it is pending; one completion, and no second."""
    ours, theirs = ends
    read = ours.read(bytearray(100))
    assert port.in_flight_by_kind() == {"read": 1}
    write = theirs.write(b"hello")
    got, sent = completions_of(port, read, write)
    assert (bytes(got.data), got.key, got.error) == (b"hello", "ours", None)
    assert (sent.bytes, sent.key, sent.error) == (5, "theirs", None)
    assert (got.more_data, got.ended) == (False, False)
    assert port.in_flight_by_kind() == {}
    assert port.wait(0.05) == []


def test_read_done_on_the_spot_completes_once_too(port: CompletionPort, ends: Ends) -> None:
    """The write has completed before the read is posted."""
    ours, theirs = ends
    completions_of(port, theirs.write(b"hello"))
    [completion] = completions_of(port, ours.read(bytearray(100)))
    assert bytes(completion.data) == b"hello"
    assert port.wait(0.05) == []


def test_write_waits_for_its_reader_when_the_pipe_is_full(port: CompletionPort) -> None:
    """Ten buffers' worth of bytes: pending, until the other end has read them, in order."""
    ours, theirs = connected(port, buffer_size=1024)
    data = bytes(range(256)) * 40
    write = ours.write(data)
    assert port.wait(0.05) == []
    assert port.in_flight_by_kind() == {"write": 1}
    received = b""
    ended = []
    while len(received) < len(data):
        read = theirs.read(bytearray(4096))
        while read not in ended:
            for completion in port.wait(60):
                ended.append(completion.operation)
                if completion.operation is read:
                    received += completion.data
    if write not in ended:
        [completion] = completions_of(port, write)
        assert completion.bytes == len(data)
    assert received == data


def test_read_can_be_posted_again(port: CompletionPort, ends: Ends) -> None:
    ours, theirs = ends
    read = ours.read_operation(bytearray(10))
    seen = []
    for data in (b"one", b"two", b"three"):
        read.post()
        completion, _ = completions_of(port, read, theirs.write(data))
        seen.append(bytes(completion.data))
    assert seen == [b"one", b"two", b"three"]


def test_empty_read_waits_for_something_to_read(port: CompletionPort, bytes_ends: Ends) -> None:
    """It completes with 0 bytes when there are some, and takes none of them."""
    ours, theirs = bytes_ends
    read = ours.read(bytearray())
    assert port.wait(0.05) == []
    completion, _ = completions_of(port, read, theirs.write(b"hello"))
    assert (completion.bytes, completion.ended, completion.error) == (0, False, None)
    [completion] = completions_of(port, ours.read(bytearray(10)))
    assert bytes(completion.data) == b"hello"


def test_buffers_belong_to_the_kernel_until_the_completion(
    port: CompletionPort, bytes_ends: Ends
) -> None:
    """C13: a buffer that is dropped lives, one that is kept refuses to be resized."""
    ours, theirs = bytes_ends
    buffer = bytearray(10)
    ours.read(buffer)
    gc.collect()
    with pytest.raises(BufferError):
        buffer.append(0)
    theirs.write(b"x")
    while port.in_flight_by_kind():
        assert port.wait(60)
    gc.collect()
    assert buffer[:1] == b"x"
    buffer.append(0)


def test_read_only_buffers_are_refused_for_reading(port: CompletionPort, bytes_ends: Ends) -> None:
    ours, _ = bytes_ends
    with pytest.raises(TypeError, match="read-only"):
        ours.read(b"constant")
    assert port.in_flight_by_kind() == {}


def test_cancelled_read_completes_as_cancelled(port: CompletionPort, ends: Ends) -> None:
    ours, theirs = ends
    read = ours.read(bytearray(10))
    assert read.cancel() is True
    [completion] = completions_of(port, read)
    assert isinstance(completion, PipeCompletion)
    assert isinstance(completion.error, OperationCancelledError)
    assert (completion.more_data, completion.ended) == (False, False)
    completion, _ = completions_of(port, ours.read(bytearray(10)), theirs.write(b"still there"))
    assert bytes(completion.data[:5]) == b"still"


def test_cancel_that_comes_too_late_delivers_the_bytes(
    port: CompletionPort, bytes_ends: Ends
) -> None:
    """C06: the bytes have arrived, nobody has dequeued them, then comes cancel()."""
    ours, theirs = bytes_ends
    read = ours.read(bytearray(10))
    write = theirs.write(b"first")
    for _ in range(10000):
        if read.status != STATUS_PENDING:
            break
        threading.Event().wait(0.001)  # for the kernel to carry them over; bounded
    assert read.cancel() is False
    completion, _ = completions_of(port, read, write)
    assert (bytes(completion.data), completion.error) == (b"first", None)


@pytest.mark.parametrize("operation", ["read", "write", "accept"])
def test_closing_a_pipe_ends_what_is_pending_on_it(port: CompletionPort, operation: str) -> None:
    """Each comes as cancelled, once, and its memory is free then."""
    if operation == "accept":
        pending: Operation = port.pipe_server(unused_name()).accept()
    else:
        ours, _ = connected(port, buffer_size=16)
        pending = ours.read(bytearray(9)) if operation == "read" else ours.write(bytes(999))
    assert port.in_flight_by_kind() == {operation: 1}
    pending.handle.close()
    [completion] = completions_of(port, pending)
    assert isinstance(completion.error, OperationCancelledError)
    assert port.in_flight_by_kind() == {}


def test_closing_the_port_ends_what_is_pending() -> None:
    with CompletionPort() as port:
        ours, _ = connected(port)
        server = port.pipe_server(unused_name())
        pending = {ours.read(bytearray(9)), server.accept()}
        unclaimed = port.close()
    assert {completion.operation for completion in unclaimed} == pending
    assert {type(c.error) for c in unclaimed} == {OperationCancelledError}
    with pytest.raises(PortClosedError):
        port.pipe("whatever")
    with pytest.raises(PortClosedError):
        port.pipe_server("whatever")
    with pytest.raises(PortClosedError):
        server.accept()


# --- The end --------------------------------------------------------------------------------------


def test_end_is_zero_bytes_and_no_error_for_a_read_that_waits(
    port: CompletionPort, ends: Ends
) -> None:
    """STATUS_PIPE_BROKEN, by a packet: the other end is closed while the read is pending."""
    ours, theirs = ends
    read = ours.read(bytearray(10))
    theirs.close()
    [completion] = completions_of(port, read)
    assert (completion.bytes, completion.error, completion.ended) == (0, None, True)


def test_end_is_zero_bytes_and_no_error_for_a_read_that_comes_later(
    port: CompletionPort, ends: Ends
) -> None:
    """ERROR_BROKEN_PIPE, from the call: what was written is read first; twice at the end."""
    ours, theirs = ends
    completions_of(port, theirs.write(b"last words"))
    theirs.close()
    seen = [completions_of(port, ours.read(bytearray(10)))[0] for _ in range(3)]
    assert [(bytes(c.data), c.ended, c.error) for c in seen] == [
        (b"last words", False, None),
        (b"", True, None),
        (b"", True, None),
    ]
    assert port.wait(0.05) == []


def test_end_can_be_had_without_a_completion(port: CompletionPort, bytes_ends: Ends) -> None:
    """start() leaves an outcome on the spot to its caller, also this one."""
    ours, theirs = bytes_ends
    theirs.close()
    read = ours.read_operation(bytearray(10))
    assert read.start() is True
    assert read.transferred == 0
    assert port.wait(0.05) == []


def test_write_to_a_closed_end_is_refused(port: CompletionPort, ends: Ends) -> None:
    ours, theirs = ends
    theirs.close()
    with pytest.raises(PipeClosedError, match="WriteFile failed with ERROR_NO_DATA"):
        ours.write(b"anybody?")
    assert port.in_flight_by_kind() == {}
