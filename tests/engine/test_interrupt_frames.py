"""What a second Ctrl-C interrupts: the user's code wherever it is called, and nothing else.

The presses come from the code in question itself, so that nothing depends on time.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faulty_kernel import FaultyKernel
from journal import connect

from pyiocp import CompletionPort, FramedSession, Framing, Session
from pyiocp.engine import interrupt
from pyiocp.handles.sockets.stream import Stream

LOCAL = ("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def signal_state_restored() -> Iterator[None]:
    """Fail a test after which the handler is not Python's own again."""
    yield
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.default_int_handler
    assert not interrupt.noted()


class Steps(list[str]):
    """Presses Ctrl-C twice, the first time that it is asked to; notes whether it went on."""

    def press_twice(self, where: str) -> None:
        if where not in self:
            self.append(where)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            self.append("went on")


class Pressing(Framing):
    """Frames of one byte, whose `split` or `wrap` presses."""

    def __init__(self, steps: Steps, where: str) -> None:
        self._steps = steps
        self._where = where

    def split(self, data: memoryview, seen: int) -> tuple[int, int, int]:
        if self._where == "split":
            self._steps.press_twice("split")
        return 0, 1, 1

    def wrap(self, frame: Any) -> bytes:
        if self._where == "wrap":
            self._steps.press_twice("wrap")
        return bytes(frame)


class Framed(FramedSession):
    def on_frame(self, frame: memoryview) -> None:
        self.send_frame(frame)


@pytest.mark.parametrize("where", ["split", "wrap", "factory", "hook", "call"])
def test_second_press_interrupts_the_users_code(port: CompletionPort, where: str) -> None:
    """A framing's methods and a listener's factory are the user's, as a hook is."""
    steps = Steps()

    class Hooked(Session):
        def on_connect(self) -> None:
            steps.press_twice("hook")

    def factory() -> Session:
        if where == "factory":
            steps.press_twice("factory")
        if where == "hook":
            return Hooked()
        session = Framed()
        session.framing = Pressing(steps, where)
        return session

    if where == "call":
        port.call_soon(steps.press_twice, "call")
    listener = port.listen(LOCAL, factory)
    with connect(listener) as peer:
        peer.sendall(b"x")
        port.call_later(10, port.stop)
        with pytest.raises(KeyboardInterrupt):
            port.run(threads=1)
    assert steps == [where]


_LOCK = """
class RLock:
    def __enter__(self):
        while self.presses:
            self.presses.pop()
            raise_signal(2)
        return self.held.__enter__()

    def __exit__(self, *_):
        self.held.release()
"""


def lock_that_presses(stream: Stream, presses: list[bool]) -> None:
    """Give the stream a lock that is written in Python, as some of the library's are."""
    names: dict[str, Any] = {"__name__": "threading", "raise_signal": signal.raise_signal}
    exec(_LOCK, names)
    lock = names["RLock"]()
    lock.held, lock.presses = stream.lock, presses
    stream.lock = lock


class Watching:
    """An observer of an in-flight table that presses."""

    def __init__(self, press: Callable[[], None]) -> None:
        self._press = press

    def taken(self, packet: Any) -> None:
        self._press()

    def given_back(self, packet: Any) -> None:
        pass

    def cancel_asked(self, packet: Any) -> None:
        pass


@pytest.mark.parametrize("where", ["the standard library", "a replaced kernel", "an observer"])
def test_what_a_submission_calls_is_not_the_users_code(where: str) -> None:
    """Two presses in the middle of it: the operation is submitted, and a wait raises."""
    kernel = FaultyKernel()
    presses: list[bool] = []

    def press() -> None:
        while presses:
            presses.pop()
            signal.raise_signal(signal.SIGINT)

    if where == "a replaced kernel":
        kernel.wrap("WSARecv", lambda real, *arguments: (press(), real(*arguments))[1])
    with CompletionPort(kernel=kernel) as port:
        ours, peer = socket.socketpair()
        stream = port.stream(ours)
        if where == "the standard library":
            lock_that_presses(stream, presses)
        if where == "an observer":
            watching = Watching(press)
            port._queue.in_flight.observe(watching)
        with peer:
            port.wait(0)  # from now on the port sees to Ctrl-C
            presses += [True, True]
            operation = stream.receive(bytearray(8))
            assert not presses
            assert port.in_flight_by_kind() == {"receive": 1}
            with pytest.raises(KeyboardInterrupt):
                port.wait(10)
            peer.sendall(b"x")
            [completion] = port.wait(10)
            assert (completion.operation, bytes(completion.data)) == (operation, b"x")
        if where == "an observer":
            port._queue.in_flight.ignore(watching)


def test_a_kernels_functions_are_trusted_wherever_they_come_from() -> None:
    """From a base class of it, or without a self: both are called in submissions."""

    class Base(FaultyKernel):
        def inherited(self) -> None:
            pass

    class Derived(Base):
        @staticmethod
        def without_self() -> None:
            pass

    interrupt.trust_all_of(Derived())
    assert {Base.inherited.__code__, Derived.without_self.__code__} <= interrupt._trusted


def test_c_function_takes_the_third_press(port: CompletionPort) -> None:
    """It has no frame: nobody can tell it from the package's own code, and nothing is lost."""
    port.wait(0)
    for _ in range(3):
        port.call_soon(signal.raise_signal, signal.SIGINT)
    port.post("after")
    with pytest.raises(KeyboardInterrupt):
        port.wait(10)
    assert [completion.key for completion in port.wait(10)] == ["after"]
