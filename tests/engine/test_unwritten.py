"""A packet that comes before the kernel has written how the operation ended.

Windows never does that. Wine 8 does, now and then, for an operation whose submitting
thread is just ending: the status arrives later, in memory that must still be there, or
never. Here the early packet is posted by hand, for a receive that is really pending.
"""

from __future__ import annotations

import gc
import socket
import weakref
from ctypes import byref

import pytest

from pyiocp import CompletionPort, OperationCancelledError, Stream
from pyiocp.winapi import PostQueuedCompletionStatus

Pair = tuple[Stream, socket.socket]


class Buffer(bytearray):
    """A bytearray that can be referred to weakly, to see whether it is still there."""


def test_early_packet_releases_no_memory(port: CompletionPort, pair: Pair) -> None:
    """C13: nobody but the kernel still knows of the buffer, and it is kept."""
    stream, peer = pair
    buffer = Buffer(10)
    operation = stream.receive(buffer)
    assert PostQueuedCompletionStatus(port.handle, 3, 0, byref(operation.overlapped))
    [completion] = port.wait(5)
    assert (completion.operation, completion.bytes) == (operation, 0)
    assert isinstance(completion.error, OperationCancelledError)
    with pytest.raises(RuntimeError, match="abandoned"):
        operation.post()
    del operation, completion
    gc.collect()
    with pytest.raises(BufferError):
        buffer.append(0)
    # The kernel writes after all: where it wrote, the receive's memory still was.
    peer.sendall(b"late")
    [stray] = port.wait(5)
    assert (stray.operation, stray.bytes) == (None, 4)
    assert bytes(buffer[:4]) == b"late"


def test_what_has_been_written_is_released(port: CompletionPort, pair: Pair) -> None:
    """The next packet that comes early looks after those before it."""
    stream, peer = pair
    kept = []
    for _ in range(3):
        operation = stream.receive(buffer := Buffer(10))
        kept.append(weakref.ref(buffer))
        assert PostQueuedCompletionStatus(port.handle, 0, 0, byref(operation.overlapped))
        port.wait(5)
        peer.sendall(b"x")
        port.wait(5)
    del operation, buffer
    gc.collect()
    assert [ref() is None for ref in kept] == [True, True, False]
