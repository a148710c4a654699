"""Cancelling: a request that the kernel may refuse, and that only the packet answers."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from completions import ended
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import CompletionPort, HandleInvalidError, OperationCancelledError
from pyiocp.winapi import ERROR_INVALID_HANDLE


def test_cancelled_operation_stays_owned_until_its_packet(port: CompletionPort) -> None:
    """C05: after CancelIoEx said yes the table still holds operation and buffer.

    Nobody else does: the names are dropped and the garbage is collected. The packet then
    releases both, which a buffer shows that can be resized again.
    """
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours)
        buffer = bytearray(10)
        operation = stream.receive(buffer)
        address = operation.address
        assert operation.cancel() is True
        del operation
        gc.collect()
        assert port.in_flight[address].buffers[0] is buffer
        with pytest.raises(BufferError):
            buffer.append(0)
        [completion] = port.wait(5)
        assert isinstance(completion.error, OperationCancelledError)
        assert address not in port.in_flight
        del completion
        gc.collect()
        buffer.append(0)


def test_data_that_came_before_the_cancel_is_delivered(port: CompletionPort) -> None:
    """C06: the kernel has written the bytes, nobody has dequeued them, then comes cancel()."""
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        peer.sendall(b"first")
        assert ended(operation)
        assert operation.cancel() is False
        [completion] = port.wait(5)
        assert completion.operation is operation
        assert (bytes(completion.data), completion.error) == (b"first", None)
        assert port.wait(0.05) == []


def test_data_that_wins_inside_cancel_is_delivered(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """C06: the bytes arrive between cancel()'s own look and CancelIoEx, which then says no."""
    ours, peer = socket.socketpair()
    answers = []

    def cancel(real: Callable[..., int], *arguments: Any) -> int:
        if answers:
            return real(*arguments)
        peer.sendall(b"first")
        assert ended(operation)
        answers.append(real(*arguments))
        return answers[-1]

    kernel.wrap("CancelIoEx", cancel)
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        assert operation.cancel() is False
        assert answers == [0]
        [completion] = port.wait(5)
        assert (bytes(completion.data), completion.error) == (b"first", None)


def test_a_cancel_that_said_yes_may_still_deliver(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """C06: CancelIoEx marks the request and says yes, the driver finishes it all the same."""
    ours, peer = socket.socketpair()
    says_yes = Refusal(0, 1, times=1)
    kernel.wrap("CancelIoEx", says_yes)
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        assert operation.cancel() is True
        assert says_yes.refused == 1
        peer.sendall(b"first")
        [completion] = port.wait(5)
        assert completion.operation is operation
        assert (bytes(completion.data), completion.error) == (b"first", None)


def test_cancel_raises_what_is_no_race(kernel: FaultyKernel, port: CompletionPort) -> None:
    """Only ERROR_NOT_FOUND is part of the game; and the operation is still in flight."""
    refusal = Refusal(ERROR_INVALID_HANDLE, 0, times=1)
    kernel.wrap("CancelIoEx", refusal)
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        with pytest.raises(HandleInvalidError, match="CancelIoEx failed"):
            operation.cancel()
        assert refusal.refused == 1
        assert port.in_flight_by_kind() == {"receive": 1}
        assert operation.cancel() is True
        assert len(port.wait(5)) == 1


def test_cancelling_a_handle_cancels_each_operation_once(port: CompletionPort) -> None:
    """Two receives, one cancel for all of them: two completions, both cancelled."""
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours)
        operations = {stream.receive(bytearray(10)) for _ in range(2)}
        stream.cancel()
        seen = []
        while len(seen) < 2:
            seen += port.wait(5)
        assert {c.operation for c in seen} == operations
        assert {type(c.error) for c in seen} == {OperationCancelledError}
        assert port.wait(0.05) == []


def test_cancel_from_another_thread_ends_the_wait(port: CompletionPort) -> None:
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        thread = threading.Thread(target=operation.cancel)
        thread.start()
        [completion] = port.wait(10)
        thread.join()
        assert isinstance(completion.error, OperationCancelledError)
