"""Messages: longer than the buffer, empty, and answered in one operation."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from pipe_ends import Ends, completions_of, connected, unused_name

from pyiocp import (
    CompletionPort,
    IocpError,
    OperationCancelledError,
    PipeBusyError,
    PipeClosedError,
)
from pyiocp.winapi import (
    ERROR_INVALID_PARAMETER,
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_PIPE_BUSY,
)


@pytest.fixture
def message_ends(port: CompletionPort) -> Ends:
    return connected(port, message=True)


def test_peek_tells_what_waits(port: CompletionPort, message_ends: Ends) -> None:
    ours, theirs = message_ends
    assert ours.peek() == (0, 0)
    completions_of(port, theirs.write(b"one"))
    completions_of(port, theirs.write(b"three"))
    contents = ours.peek()
    assert (contents.bytes, contents.message_bytes) == (8, 3)
    theirs.close()
    completions_of(port, ours.read(bytearray(10)))
    completions_of(port, ours.read(bytearray(10)))
    with pytest.raises(PipeClosedError):
        ours.peek()


@pytest.mark.parametrize("early", [False, True], ids=["read waits", "message waits"])
def test_long_message_comes_in_pieces_that_say_so(
    port: CompletionPort, message_ends: Ends, early: bool
) -> None:
    """C22: ERROR_MORE_DATA from the call, or by packet: bytes and a flag, nothing lost or twice."""
    ours, theirs = message_ends
    write = theirs.write(b"hello world") if early else None
    if write:
        completions_of(port, write)
    read = ours.read(bytearray(5))
    [completion] = (
        completions_of(port, read)
        if write
        else completions_of(port, read, theirs.write(b"hello world"))[:1]
    )
    assert (bytes(completion.data), completion.more_data) == (b"hello", True)
    assert (completion.error, completion.ended) == (None, False)
    [completion] = completions_of(port, ours.read(bytearray(4)))
    assert (bytes(completion.data), completion.more_data) == (b" wor", True)
    [completion] = completions_of(port, ours.read(bytearray(10)))
    assert (bytes(completion.data), completion.more_data) == (b"ld", False)
    assert port.wait(0.05) == []


def test_messages_keep_their_limits(port: CompletionPort, message_ends: Ends) -> None:
    """Three are written, one of them empty, before the first is read; the empty is no end."""
    ours, theirs = message_ends
    for message in (b"one", b"", b"three"):
        completions_of(port, theirs.write(message))
    seen = [completions_of(port, ours.read(bytearray(10)))[0] for _ in range(3)]
    assert [(bytes(c.data), c.ended) for c in seen] == [
        (b"one", False),
        (b"", False),
        (b"three", False),
    ]


def test_packets_are_skipped_on_pipes_of_bytes_only(
    port: CompletionPort, message_ends: Ends
) -> None:
    """C08: a message longer than the buffer ends in a warning, whose packet might be skipped."""
    assert [end.skips_on_success for end in message_ends] == [False, False]
    assert [end.skips_on_success for end in connected(port)] == [True, True]


def test_messages_of_a_pipe_of_bytes_are_refused(port: CompletionPort) -> None:
    """The system says so to the client, whose end is closed again."""
    name = unused_name()
    with port.pipe_server(name):
        handles = set(port.handles)
        with pytest.raises(IocpError, match="SetNamedPipeHandleState failed") as caught:
            port.pipe(name, message=True)
        assert caught.value.winerror == ERROR_INVALID_PARAMETER
        assert port.handles == handles


# --- Transactions ---------------------------------------------------------------------------------


def test_transaction_writes_and_reads_the_answer(port: CompletionPort, message_ends: Ends) -> None:
    """One operation at the client, pending until the server has answered."""
    server, client = message_ends
    transaction = client.transact(b"2 + 2", bytearray(10))
    [question] = completions_of(port, server.read(bytearray(10)))
    assert bytes(question.data) == b"2 + 2"
    assert port.in_flight_by_kind() == {"transact": 1}
    answer, _ = completions_of(port, transaction, server.write(b"4"))
    assert (bytes(answer.data), answer.more_data, answer.error) == (b"4", False, None)
    assert transaction.function_name == "TransactNamedPipe"


def test_transaction_is_refused_while_something_is_unread(
    port: CompletionPort, message_ends: Ends
) -> None:
    """ERROR_PIPE_BUSY: the answer would be something else; read first, and it works."""
    server, client = message_ends
    completions_of(port, server.write(b"by the way"))
    with pytest.raises(PipeBusyError, match="TransactNamedPipe failed with ERROR_PIPE_BUSY"):
        client.transact(b"2 + 2", bytearray(10))
    assert port.in_flight_by_kind() == {}
    completions_of(port, client.read(bytearray(10)))
    transaction = client.transact(b"2 + 2", bytearray(10))
    answer, _ = completions_of(port, transaction, server.write(b"4"))
    assert bytes(answer.data) == b"4"


def test_long_answer_comes_in_pieces_that_say_so(port: CompletionPort, message_ends: Ends) -> None:
    """C22: ERROR_MORE_DATA by packet; a read gets the rest."""
    server, client = message_ends
    transaction = client.transact(b"2 + 2", bytearray(4))
    answer, _ = completions_of(port, transaction, server.write(b"four, of course"))
    assert (bytes(answer.data), answer.more_data, answer.error) == (b"four", True, None)
    [rest] = completions_of(port, client.read(bytearray(20)))
    assert (bytes(rest.data), rest.more_data) == (b", of course", False)


def test_answer_may_come_within_the_call() -> None:
    """C22: the server answers, too long for the buffer, before TransactNamedPipe has returned.

    The seam makes the order certain: the call goes through, the server writes, and then the
    call returns what it does when the answer is quick: ERROR_MORE_DATA, and a packet.
    """
    kernel = FaultyKernel()
    answers: list[Any] = []

    def transact(real: Any, *arguments: Any) -> int:
        assert not real(*arguments)
        assert ctypes.get_last_error() == ERROR_IO_PENDING
        answers.append(server.write(b"four, of course"))
        ctypes.set_last_error(ERROR_MORE_DATA)
        return 0

    kernel.wrap("TransactNamedPipe", transact)
    with CompletionPort(kernel=kernel) as port:
        server, client = connected(port, message=True)
        transaction = client.transact(b"2 + 2", bytearray(4))
        answer, _ = completions_of(port, transaction, *answers)
        assert (bytes(answer.data), answer.more_data, answer.error) == (b"four", True, None)
        assert port.wait(0.05) == []


def test_cancelled_transaction_completes_as_cancelled(
    port: CompletionPort, message_ends: Ends
) -> None:
    _, client = message_ends
    transaction = client.transact(b"2 + 2", bytearray(4))
    assert transaction.cancel() is True
    [completion] = completions_of(port, transaction)
    assert isinstance(completion.error, OperationCancelledError)


def test_pipe_that_ends_before_the_answer_is_an_error(
    port: CompletionPort, message_ends: Ends
) -> None:
    """STATUS_PIPE_BROKEN is an end for a read, and a broken promise for a transaction."""
    server, client = message_ends
    transaction = client.transact(b"2 + 2", bytearray(4))
    server.close()
    [completion] = completions_of(port, transaction)
    assert isinstance(completion.error, PipeClosedError)
    with pytest.raises(PipeClosedError, match="TransactNamedPipe failed"):
        client.transact(b"2 + 2", bytearray(4))
    assert port.in_flight_by_kind() == {}


def test_refused_transaction_leaves_nothing() -> None:
    """C14: ERROR_PIPE_BUSY, something is unread: 200 times, and both buffers are free again."""
    kernel = FaultyKernel()
    kernel.wrap("TransactNamedPipe", Refusal(ERROR_PIPE_BUSY, 0))
    message, buffer = bytearray(9), bytearray(9)
    with CompletionPort(kernel=kernel) as port:
        _, client = connected(port, message=True)
        for _ in range(200):
            with pytest.raises(PipeBusyError):
                client.transact(message, buffer)
        assert port.in_flight_by_kind() == {}
        message.append(0)
        buffer.append(0)


def test_transaction_takes_messages(port: CompletionPort) -> None:
    _, client = connected(port)
    with pytest.raises(ValueError, match="message=True"):
        client.transact(b"2 + 2", bytearray(4))
