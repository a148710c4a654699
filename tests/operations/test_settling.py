"""What ends an operation when the system does not keep to its rules, and ends nothing else."""

from __future__ import annotations

import gc
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from faulty_kernel import FaultyKernel

from pyiocp import Completion, CompletionPort, OperationCancelledError, Stream

Pair = tuple[Stream, socket.socket]


def test_marker_ends_only_the_submission_that_it_was_made_for(
    port: CompletionPort, pair: Pair
) -> None:
    """The packet comes after all, and the operation is posted again before the marker is seen."""
    stream, peer = pair
    operation = stream.receive(bytearray(10))
    peer.send(b"one")
    while operation.status != 0:
        port.gather(0)
    port.settle(operation)
    (completion,) = port.wait(10, limit=1)
    assert bytes(completion.data) == b"one"
    operation.post()
    assert port.wait(0.1) == []
    assert port.in_flight_by_kind() == {"receive": 1}
    peer.send(b"two")
    (completion,) = port.wait(10)
    assert bytes(completion.data) == b"two"


def test_marker_ends_an_operation_whose_packet_does_not_come(
    port: CompletionPort, pair: Pair
) -> None:
    """On one thread and beside another that waits; and nothing is kept of it."""
    stream, _peer = pair

    def settled() -> weakref.ref[Any]:
        operation = stream.receive_operation(bytearray(10))
        port.in_flight[operation.address] = operation  # ended, and no packet of it will come
        port.settle(operation)
        return weakref.ref(operation)

    reference = settled()
    (completion,) = port.wait(10)
    assert completion.operation is reference()
    found: list[Completion] = []
    thread = threading.Thread(target=lambda: found.extend(port.wait(10)))
    thread.start()
    while not port.waiting:
        pass
    del completion
    again = settled()
    found += port.wait(0.5)
    thread.join(10)
    assert [completion.operation for completion in found] == [again()]
    found.clear()
    gc.disable()
    try:
        assert reference() is None
        assert again() is None
    finally:
        gc.enable()


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
