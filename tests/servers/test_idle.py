"""Idle deadlines: a session that is silent too long ends, one that is not goes on."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, Kernel, NetworkTimeoutError, Session, SessionState

LOCAL = ("127.0.0.1", 0)


class Clock:
    """A clock that tests put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def put_forward(self, port: CompletionPort, seconds: float) -> None:
        """Let it be later, and the port see that."""
        self._ahead += seconds
        port.call_soon(int)


class Echo(Journal):
    """Sends everything back; may be silent for half a minute."""

    idle_timeout = 30.0

    def on_receive(self, data: memoryview) -> None:
        super().on_receive(data)
        self.send(data)


@pytest.fixture
def clock() -> Clock:
    """The clock of `clocked`."""
    return Clock()


@pytest.fixture
def clocked(clock: Clock) -> Any:
    """A port whose clock the test puts forward."""
    kernel = Kernel()
    kernel.monotonic = clock
    with CompletionPort(kernel=kernel) as port:
        yield port


def test_silent_session_is_aborted(port: CompletionPort) -> None:
    """By the real clock: not before the time is over, and with an error that says so."""

    class Impatient(Journal):
        idle_timeout = 0.2

    sessions = Made(Impatient)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        begun = time.monotonic()
        assert session.closed.wait(10)
        assert time.monotonic() - begun > 0.1
    assert type(session.error) is NetworkTimeoutError
    assert "idle_timeout" in str(session.error)
    assert session.hooks == ["connect", "close"]


def test_receiving_alone_keeps_a_session_alive(clocked: CompletionPort, clock: Clock) -> None:
    """Three times 20 of 30 seconds pass with a message in between; then 30 without."""

    class Listening(Journal):
        idle_timeout = 30.0

    sessions = Made(Listening)
    listener = clocked.listen(LOCAL, sessions)
    with served(clocked), connect(listener) as peer:
        for n in range(4):
            if n:
                clock.put_forward(clocked, 20)
            peer.sendall(b"x")
            assert eventually(lambda: bool(sessions))
            assert sessions[0].wait_received(n + 1) == b"x" * (n + 1)
        [session] = sessions
        assert session.state is SessionState.OPEN
        clock.put_forward(clocked, 31)
        assert session.closed.wait(10)
    assert type(session.error) is NetworkTimeoutError


def test_sending_alone_keeps_a_session_alive(clocked: CompletionPort, clock: Clock) -> None:
    """A peer that only listens: what the system takes from the session counts."""
    sessions = Made(Echo)
    listener = clocked.listen(LOCAL, sessions)
    with served(clocked), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        for _ in range(3):
            clock.put_forward(clocked, 20)
            session.send(b"x")
            assert receive_all(peer, 1) == b"x"
        assert session.state is SessionState.OPEN


def test_messages_cost_no_timers(clocked: CompletionPort, clock: Clock) -> None:
    """200 messages while the clock does 200 seconds: a timer per idle_timeout, not per message."""
    added: list[float] = []
    add = clocked._queue.timers.add

    def counted(seconds: float, *rest: Any) -> Any:
        added.append(seconds)
        return add(seconds, *rest)

    clocked._queue.timers.add = counted  # type: ignore[method-assign, assignment]
    sessions = Made(Echo)
    listener = clocked.listen(LOCAL, sessions)
    with served(clocked), connect(listener) as peer:
        for _ in range(200):
            peer.sendall(b"x")
            assert receive_all(peer, 1) == b"x"
            clock.put_forward(clocked, 1)
        assert sessions[0].state is SessionState.OPEN
    assert 200 / 31 - 1 <= len(added) <= 200 / 29 + 2


def test_ended_session_leaves_no_timer_behind(clocked: CompletionPort, clock: Clock) -> None:
    """What is in the heap until its time holds nothing: the session can go."""
    sessions = Made(Echo)
    listener = clocked.listen(LOCAL, sessions)
    with served(clocked):
        connect(listener).close()
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
        assert clocked._queue.timers.next_due() is None


@pytest.mark.parametrize(
    ("setting", "value"), [("idle_timeout", 0), ("idle_timeout", -1.0), ("zero_byte_after", -1)]
)
def test_bad_setting_is_told_in_the_log(
    port: CompletionPort, caplog: pytest.LogCaptureFixture, setting: str, value: float
) -> None:
    """The session ends before its first hook; others would not."""
    kind = type("Bad", (Journal,), {setting: value})
    sessions = Made(kind)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener), caplog.at_level(logging.ERROR, logger="pyiocp"):
        assert eventually(lambda: bool(sessions) and sessions[0].closed.is_set())
    assert sessions[0].hooks == ["close"]
    assert isinstance(sessions[0].error.__cause__, ValueError)
    assert setting in str(sessions[0].error.__cause__)
    sessions.clear()
    caplog.clear()  # whose tracebacks would keep the port, and the handles of its locks


def test_age_and_traffic_of_a_session(clocked: CompletionPort, clock: Clock) -> None:
    """Two messages of 3 bytes each way, and 10 seconds of the port's clock."""
    assert Session.idle_timeout is None
    sessions = Made(Echo)
    listener = clocked.listen(LOCAL, sessions)
    with served(clocked), connect(listener) as peer:
        for _ in range(2):
            peer.sendall(b"abc")
            assert receive_all(peer, 3) == b"abc"
        clock.put_forward(clocked, 10)
        now = sessions[0].statistics()
    assert now._replace(age_s=0.0) == (6, 6, 2, 2, 0, 0.0)
    assert 10 <= now.age_s < 25
