"""What ends an operation when the system does not keep to its rules, and ends nothing else."""

from __future__ import annotations

import ctypes
import gc
import socket
import threading
import time
import weakref
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import Completion, CompletionPort, Operation, OperationCancelledError, Stream
from pyiocp.winapi import PostQueuedCompletionStatus
from pyiocp.winapi.errorcodes import ERROR_NO_SYSTEM_RESOURCES

Pair = tuple[Stream, socket.socket]


def settled(port: CompletionPort, stream: Stream) -> tuple[Operation, int]:
    """Return a receive that has been settled, as one whose packet is uncertain, and its address."""
    operation = stream.receive_operation(bytearray(10))
    address = operation.address
    port.in_flight[address] = operation
    with stream.lock:
        port._queue.settle(operation, address)
    return operation, address


def test_uncertain_operation_completes_at_once_beside_a_thread_that_waits(
    port: CompletionPort, pair: Pair
) -> None:
    """Without a packet, without a clock; and when that thread has gone round, nothing is kept."""
    stream, _peer = pair
    found: list[Completion] = []
    thread = threading.Thread(target=lambda: found.extend(port.wait(10)))
    thread.start()
    while not port._queue.waiting:
        pass
    operation, _ = settled(port, stream)
    thread.join(10)
    assert [completion.operation for completion in found] == [operation]
    reference = weakref.ref(operation)
    del operation
    found.clear()
    while port._queue.retired:
        assert port.wait(0.1) == []
    gc.disable()
    try:
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("dequeued_first", [False, True])
def test_late_packet_of_a_settled_operation_is_not_the_next_ones(dequeued_first: bool) -> None:
    """It comes when the operation has been posted again; and is nobody's.

    Another thread has it by then, dequeued and not looked up: for as long as it keeps it, the
    address is not given away.
    """
    held, go_on = threading.Event(), threading.Event()
    kernel = FaultyKernel()

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        if threading.current_thread() is thread and result and not held.is_set():
            code = ctypes.get_last_error()
            held.set()
            assert go_on.wait(10)
            ctypes.set_last_error(code)
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    found: list[Completion] = []
    thread = threading.Thread(target=lambda: found.extend(port.wait(0.2)))
    ours, peer = socket.socketpair()
    with CompletionPort(kernel=kernel) as port, peer:
        stream = port.stream(ours)
        operation = stream.receive_operation(bytearray(10))
        address = operation.address
        port.in_flight[address] = operation
        if not dequeued_first:
            held.set()
        assert PostQueuedCompletionStatus(port.handle, 0, 1, byref(operation.overlapped))
        if dequeued_first:
            thread.start()
            assert held.wait(10)
        with stream.lock:
            port._queue.settle(operation, address)
        assert operation.address != address
        (completion,) = port.wait(10)
        assert completion.operation is operation
        operation.post()
        assert port.wait(0.1) == []
        assert (address in port._queue.retired) == dequeued_first
        if dequeued_first:
            go_on.set()
            thread.join(10)
            assert port.wait(0.1) == []
        assert (found, port._queue.retired) == ([], {})
        peer.send(b"two")
        (completion,) = port.wait(10)
        assert bytes(completion.data) == b"two"


def test_packet_that_was_routed_before_leaves_no_address_behind(
    port: CompletionPort, pair: Pair
) -> None:
    """Another thread had it, and the operation is off the table: the address is let go as well."""
    stream, _ = pair
    operation = stream.receive_operation(bytearray(10))
    address = operation.address
    for _ in range(2):  # and again, as when a signal handler has raised meanwhile
        with stream.lock:
            port._queue.settle(operation, address)
    assert operation.address != address
    deadline = time.monotonic() + 60
    while port._queue.retired:
        assert time.monotonic() < deadline
        assert port.wait(0.01) == []
    assert port.in_flight_by_kind() == {}


def test_packet_that_came_before_completes_the_operation_once(
    port: CompletionPort, pair: Pair
) -> None:
    """It has been routed when the submitter asks for the operation to be settled."""
    stream, peer = pair
    operation = stream.receive(bytearray(10))
    address = operation.address
    peer.send(b"one")
    while not port._queue.ready:
        port._queue.poller().gather(0)
    with stream.lock:
        port._queue.settle(operation, address)
    (completion,) = port.wait(10)
    assert bytes(completion.data) == b"one"
    operation.post()
    assert port.wait(0.1) == []
    peer.send(b"two")
    (completion,) = port.wait(10)
    assert bytes(completion.data) == b"two"


def test_marker_that_the_system_refuses_is_sent_again() -> None:
    """C19: what waits for it does so a little longer."""
    kernel = FaultyKernel()
    refusal = Refusal(ERROR_NO_SYSTEM_RESOURCES, 0, times=2)
    refusal.enabled = False
    kernel.wrap("PostQueuedCompletionStatus", refusal)
    with CompletionPort(kernel=kernel) as port:
        passed: list[str] = []
        port.post("before")
        refusal.enabled = True
        port._queue.markers.call_when_passed(lambda: passed.append("first"))
        port._queue.markers.call_when_passed(lambda: passed.append("second"))
        assert [completion.key for completion in port.wait(10)] == ["before"]
        while len(passed) < 2:
            assert port.wait(0.1) == []
        assert (passed, refusal.refused) == (["first", "second"], 2)


def test_close_asks_again_for_what_was_not_cancelled() -> None:
    """Wine forgets a request that finds bytes on the move; here it is the first two."""
    kernel = FaultyKernel()
    asked: list[int] = []

    def cancel(real: Callable[..., int], number: int, overlapped: Any) -> int:
        asked.append(number)
        return 1 if len(asked) < 3 else real(number, overlapped)

    kernel.wrap("CancelIoEx", cancel)
    ours, peer = socket.socketpair()
    with peer:
        port = CompletionPort(kernel=kernel)
        stream = port.stream(ours)
        stream.receive(bytearray(10))
        (completion,) = port.close(timeout=5.0)
    assert isinstance(completion.error, OperationCancelledError)
    assert len(asked) >= 3
