"""Dispatch: an event whose receiver is interrupted is neither lost nor dealt with twice."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from disturbance import Alarm, Stop
from faulty_kernel import FaultyKernel, WakeCounter

from pyiocp import CompletionPort
from pyiocp.engine.packet import PostedPacket
from pyiocp.engine.timers import Call

Receiver = Callable[[Any, int, int], None]


def plain(called: list[int]) -> tuple[Receiver, Any]:
    """Return a function with a cell for its inner one, and that is what is interrupted."""

    def receiver(packet: Any, count: int, status: int) -> None:
        def inner() -> None:
            called.append(count)

        inner()

    return receiver, receiver.__code__


def anonymous(called: list[int]) -> tuple[Receiver, Any]:
    """Return a lambda."""
    receiver = lambda packet, count, status: called.append(count)  # noqa: E731
    return receiver, receiver.__code__


def partial(called: list[int]) -> tuple[Receiver, Any]:
    """Return what is no Python function, and calls one."""

    def receiver(first: int, packet: Any, count: int, status: int) -> None:
        called.append(first)

    return functools.partial(receiver, 1), receiver.__code__


@contextlib.contextmanager
def raising_at_the_beginning_of(code: Any, error: type[BaseException]) -> Any:
    """Raise where a function begins, the first time."""

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if frame.f_code is code:
            raise error  # this ends the tracing

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("error", [Alarm, Stop])
@pytest.mark.parametrize("kind", [plain, anonymous, partial])
def test_receiver_that_had_not_begun_is_called_again(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    kind: Callable[[list[int]], tuple[Receiver, Any]],
    error: type[BaseException],
) -> None:
    """Once: the handler interrupted it before its first line."""
    called: list[int] = []
    packet = PostedPacket(1)
    packet.receiver, code = kind(called)
    port._queue.ready.append((packet, 1, 0))
    with contextlib.suppress(error), raising_at_the_beginning_of(code, error):
        port.wait(0)
    assert called == []
    port.wait(0)
    port.wait(0)
    assert called == [1]
    caplog.clear()


@pytest.mark.parametrize("error", [Alarm, Stop])
def test_receiver_that_had_begun_is_not(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """Although it raises in its first line."""
    called: list[int] = []

    def receiver(packet: Any, count: int, status: int) -> None:
        raise [error, called.append(1)][0]  # type: ignore[misc]

    packet = PostedPacket(1)
    packet.receiver = receiver
    port._queue.ready.append((packet, 1, 0))
    with contextlib.suppress(error):
        port.wait(0)
    port.wait(0)
    assert called == [1]
    caplog.clear()


class RaisingTracer:
    """A tracer during whose nth call a signal handler raises."""

    def __init__(self, n: int, error: type[BaseException]) -> None:
        self.left = n
        self._error = error

    def _called(self) -> int:
        self.left -= 1
        if not self.left:
            raise self._error
        return 0

    def now(self) -> int:
        """Be asked for the time."""
        return self._called()

    def slept(self, since_ns: int) -> None:
        """Be told of a sleep."""
        self._called()

    def worked(self, on: Any, since_ns: int) -> None:
        """Be told of work."""
        self._called()


@pytest.mark.parametrize("error", [Alarm, Stop])
def test_traced_event_is_not_lost(port: CompletionPort, error: type[BaseException]) -> None:
    """Whichever call of the tracer is interrupted, each event has its receiver called once."""
    for n in range(1, 100):
        called: list[int] = []
        receiver, _ = anonymous(called)
        for key in range(4):
            packet = PostedPacket(key)
            packet.receiver = receiver
            port._queue.ready.append((packet, key, 0))
        port._queue.tracer = tracer = RaisingTracer(n, error)
        with contextlib.suppress(error):
            port.wait(0)
        port._queue.tracer = None
        port.wait(0)
        assert sorted(called) == [0, 1, 2, 3], n
        if tracer.left > 0:
            assert n > 4
            return
    pytest.fail("there is no end to it")


def test_thread_is_woken_for_what_an_exception_leaves() -> None:
    """The one that dispatched has gone, and what is to be done then is ready: nobody may sleep."""
    kernel = FaultyKernel()
    wakes = WakeCounter(kernel)

    def raises() -> None:
        raise Stop

    with CompletionPort(kernel=kernel) as port:
        queue = port._queue
        done = threading.Event()
        queue.on_exception.append((Call(done.set, ()), 0, 0))
        queue.ready.append((Call(raises, ()), 0, 0))
        queue.waiting.add(0)  # a thread that sleeps: only this one looks at it
        with pytest.raises(Stop):
            queue.dispatch([], 9)
        assert list(queue.ready) == queue.on_exception
        assert wakes.posted == 1
        queue.waiting.discard(0)
        port.wait(0)
        assert done.is_set()
