"""Who keeps a port open, and when one that nobody keeps is closed."""

from __future__ import annotations

import gc
import os
import socket
import weakref
from collections.abc import Iterator

import pytest

from pyiocp import CompletionPort, DatagramSession, Session


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Leave it to reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("use", ["nothing", "a packet", "a wait"])
@pytest.mark.usefixtures("no_collection")
def test_dropped_port_is_closed_at_once(use: str) -> None:
    """With its last reference, without a collection: the engine does not keep its port."""
    port = CompletionPort()
    if use != "nothing":
        port.post("packet")
    if use == "a wait":
        assert [completion.key for completion in port.wait(1)] == ["packet"]
    queue = port._queue
    with pytest.warns(ResourceWarning, match="unclosed <CompletionPort"):
        del port
    assert queue.closed
    assert queue.handle == 0
    assert queue.in_flight == {}


@pytest.mark.parametrize("kept", ["the handle", "the operation", "the completion"])
def test_what_a_user_holds_keeps_the_port_open(kept: str) -> None:
    """`stream.port` is the port itself, whoever else has forgotten it."""
    ours, peer = socket.socketpair()
    with peer:
        port = CompletionPort()
        dropped = weakref.ref(port)
        stream = port.stream(ours)
        operation = stream.send(b"x")
        [completion] = port.wait(5)
        assert stream.port is port
        held = {"the handle": stream, "the operation": operation, "the completion": completion}[
            kept
        ]
        del port, stream, operation, completion, ours
        gc.collect()
        port = dropped()
        assert port is not None
        assert not port.closed
        assert f"{port!r}".startswith("<CompletionPort ")
        port.close()
        del held


def test_everything_on_a_port_says_which(port: CompletionPort) -> None:
    """Handles, the server of a pipe, listeners and servers of datagrams: the port itself."""
    things = (
        port.pipe_server(f"pyiocp-test-{os.getpid()}-{id(port)}"),
        port.stream(),
        port.datagram(),
        port.listen(("127.0.0.1", 0), Session),
        port.serve_datagrams(("127.0.0.1", 0), DatagramSession),
    )
    assert [thing.port for thing in things] == [port] * len(things)
    things[0].close()


def test_closed_port_in_a_circle_goes_with_one_collection() -> None:
    """Its finalizer makes nothing that keeps what the collection has found."""
    port = CompletionPort()
    port.circle = [port]  # type: ignore[attr-defined]
    port.wait(0)
    port.close()
    queue = weakref.ref(port._queue)
    del port
    gc.collect()
    assert queue() is None


def test_closed_port_leaves_nothing_to_the_thread_that_waited() -> None:
    """CPython collects no thread-local object that its own value refers to."""
    with CompletionPort() as port:
        port.wait(0)
        queue = weakref.ref(port._queue)
    del port
    gc.collect()
    assert queue() is None
