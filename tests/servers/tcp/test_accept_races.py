"""Two threads at one accept, one arrival, one retry or one look: each is done once, none is lost.

`meanwhile` has the other thread come at each instruction in turn.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Self

import pytest
from counts_back import come_back, figures
from deadline import DEADLINE_S
from disturbance import Alarm, Stop, meanwhile, rounds
from faulty_kernel import Calls, FaultyKernel, Refusal
from journal import Journal, Made, connect, eventually, served

from pyiocp import CompletionPort, Limits, Session
from pyiocp.engine.packet import IDLE, PENDING
from pyiocp.servers.retry import Retry
from pyiocp.servers.tcp.arrival import Arrival
from pyiocp.servers.tcp.silent_clients import SilentClients
from pyiocp.winapi import SOCKET_ERROR, WSAECONNRESET

LOCAL = ("127.0.0.1", 0)


class Clock:
    """The time of a port, which passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        kernel = FaultyKernel()
        kernel.monotonic = lambda: self.now  # type: ignore[method-assign]
        self.port = CompletionPort(kernel=kernel)

    def tick(self) -> None:
        """Let more time pass than anything waits for, and do what is due."""
        self.now += 60
        self.port.wait(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.port.close()


def make_retry(clock: Clock) -> tuple[Retry, list[int]]:
    """Return a retry, and what it notes its calls in."""
    called: list[int] = []
    return Retry(clock.port._queue, lambda: called.append(1), first_s=1, max_s=1), called


def test_retry_is_made_however_early_it_is_due() -> None:
    """Also if another thread makes it before the one that wants it has gone on."""
    with Clock() as clock:
        for disturbance in meanwhile(clock.tick, {"retry"}):
            retry, called = make_retry(clock)
            with disturbance:
                retry.soon()
            clock.tick()
            assert called == [1], disturbance.where
            retry.soon()
            clock.tick()
            assert called == [1, 1], disturbance.where


def test_retry_that_could_not_be_scheduled_is_scheduled_the_next_time() -> None:
    """A signal handler has raised."""
    with Clock() as clock:
        for disturbance in rounds(Stop, {"retry", "queue", "timers"}):
            retry, called = make_retry(clock)
            with contextlib.suppress(Stop), disturbance:
                retry.soon()
            retry.soon()
            clock.tick()
            assert called, disturbance.where


class Looks:
    """Silent clients that are looked for, with a count of the looks."""

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self.clients = SilentClients(clock.port._queue, 1, list, self._looked)

    def _looked(self, silent: int, closed: int) -> None:
        self.count += 1


def test_silent_clients_are_looked_for_by_one_thread() -> None:
    """A timer is due, and something was raised: both see that there is a look, but one looks."""
    with Clock() as clock:
        for disturbance in meanwhile(lambda: clock.port.wait(0), {"silent_clients"}):
            looks = Looks(clock)
            clock.now += 60
            with disturbance:
                looks.clients.recover()
            clock.port.wait(0)
            assert looks.count == 1, disturbance.where
            clock.tick()
            assert looks.count == 2, disturbance.where
            looks.clients.stop()
            clock.tick()
            assert looks.count == 2, disturbance.where


@pytest.mark.parametrize("error", [Alarm, Stop])
@pytest.mark.parametrize("inside", [False, True])
def test_silent_clients_are_looked_for_whatever_is_raised(
    error: type[BaseException], inside: bool
) -> None:
    """Once a time, not twice and not never.

    inside: also where nobody but what the port does after an exception can go on.
    """
    modules = {"queue", "timers"} | ({"silent_clients"} if inside else set())
    with Clock() as clock:
        for disturbance in rounds(error, modules):
            looks = Looks(clock)
            clock.now += 60
            with contextlib.suppress(error), disturbance:
                clock.port.wait(0)
            clock.port.wait(0)
            if inside:
                looks.clients.recover()
            before = looks.count
            clock.tick()
            assert looks.count == before + 1, disturbance.where
            looks.clients.stop()


def free(arrival: Arrival) -> None:
    """Give the accept back."""
    arrival.free_operation()


def drop(arrival: Arrival) -> None:
    """Give everything back."""
    arrival.drop()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("first", [free, drop])
@pytest.mark.parametrize("second", [free, drop])
def test_accept_is_given_back_once(
    first: Callable[[Arrival], None], second: Callable[[Arrival], None], paused: bool
) -> None:
    """Two threads give it back: it rests once, or is posted once."""
    kernel = FaultyKernel()
    calls = Calls(kernel)
    accept_ex = kernel.AcceptEx
    kernel.AcceptEx = lambda number: calls.counted("AcceptEx", accept_ex(number))  # type: ignore[method-assign]
    with CompletionPort(kernel=kernel) as port:
        listener = port.listen(LOCAL, Session, accepts=1)
        acceptor = listener._acceptors[0]
        if paused:
            listener.pause()
            assert eventually(lambda: bool(port.wait(0.01)) or len(acceptor.resting) == 1)
        arrival: Any = None
        for disturbance in meanwhile(lambda: second(arrival), {"arrival"}):  # noqa: B023
            operation = acceptor._add(0, acceptor._operations)
            arrival = Arrival(acceptor, operation)
            before = calls["AcceptEx"]
            with disturbance:
                first(arrival)
            assert acceptor.resting.count(operation) == int(paused), disturbance.where
            assert calls["AcceptEx"] - before == int(not paused), disturbance.where
            assert operation.state is (IDLE if paused else PENDING), disturbance.where


STEPS = [pytest.param(3, id="some"), pytest.param(1, id="all", marks=pytest.mark.soak)]
"""Every so many instructions are looked at every day; in the long form, each."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("modules", [{"listener"}, {"service"}])
def test_session_that_is_aborted_on_its_way_gives_its_slot_back(
    port: CompletionPort, modules: set[str], step: int
) -> None:
    """Another thread aborts it, and deals with that, before the one that made it goes on."""
    limits = Limits(sessions=1, sessions_per_address=1, send_queue_bytes=1 << 20)
    listener = port.listen(LOCAL, Session, accepts=1, limits=limits)
    expected = figures(port, [listener])

    def abort() -> None:
        for session in port.sessions:
            session.abort()
        port.wait(0)

    for disturbance in meanwhile(abort, modules, step=step):
        with connect(listener), disturbance:
            port.wait(0.05)
        for session in port.sessions:
            session.abort()
        assert come_back(port, [listener], expected) == expected, disturbance.where


class Waiting:
    """A listener at which a silent client has the only accept with room for data."""

    def __init__(self, port: CompletionPort) -> None:
        self.sessions = Made(Journal)
        self.listener = port.listen(
            LOCAL, self.sessions, accepts=1, first_data=16, first_data_timeout=60
        )
        self.silent = connect(self.listener)
        self.acceptor = self.listener._acceptors[0]

    def has_others(self) -> bool:
        """Whether there is an accept that waits for no data."""
        return any(operation.state is PENDING for operation in self.acceptor._plain)


def test_client_that_resets_before_its_first_data_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any number of hostile clients do not fill the log; and the next client is served."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAECONNRESET, SOCKET_ERROR)
    kernel.wrap("WSARecv", refusal)
    with CompletionPort(kernel=kernel) as port, served(port):
        waiting = Waiting(port)
        listener = waiting.listener
        assert eventually(waiting.has_others)
        for n in range(3):
            with connect(listener) as peer:
                assert eventually(lambda n=n: listener.failed == n + 1)  # type: ignore[misc]
                with contextlib.suppress(ConnectionError):
                    assert peer.recv(1) == b""
        assert [r for r in caplog.records if r.levelno > logging.DEBUG] == []
        refusal.enabled = False
        with connect(listener) as peer:
            peer.sendall(b"ping")
            assert eventually(lambda: bool(waiting.sessions))
            assert waiting.sessions[0].wait_received(4) == b"ping"
        waiting.silent.close()
        listener.close()


def test_client_that_comes_while_the_listener_closes_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its stream is closed by another thread before the wait for its data begins."""
    with CompletionPort() as port:
        waiting = Waiting(port)
        listener = waiting.listener
        assert eventually(lambda: bool(port.wait(0.01)) or waiting.has_others())
        arrivals: list[Arrival] = []
        wait = Arrival.wait

        def close_after(arrival: Arrival, *arguments: Any) -> None:
            wait(arrival, *arguments)
            arrivals.append(arrival)
            listener.close()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Arrival, "wait", close_after)
            with connect(listener) as peer:
                assert eventually(lambda: bool(port.wait(0.01)) or bool(arrivals))
                with contextlib.suppress(ConnectionError):
                    assert peer.recv(1) == b""
        assert [r for r in caplog.records if r.levelno > logging.DEBUG] == []
        assert listener.failed == 0
        waiting.silent.close()


class Refused(Exception):
    """What the factory raises."""


@pytest.mark.parametrize("step", STEPS)
def test_listener_serves_only_when_it_is_complete(
    caplog: pytest.LogCaptureFixture, step: int
) -> None:
    """Running workers accept a client, and log something, before `listen` has returned."""

    def factory() -> Session:
        raise Refused

    peers: list[socket.socket] = []
    ports: list[CompletionPort] = []
    addresses: list[Any] = []

    def come() -> None:
        peers.append(socket.create_connection(addresses[-1]))
        for _ in range(3):
            ports[-1].wait(0.001)

    for disturbance in meanwhile(come, {"listener"}, step=step):
        with CompletionPort() as port:
            ports.append(port)
            listening = socket.create_server(("127.0.0.1", 0))
            addresses.append(listening.getsockname())
            with disturbance:
                listener = port.listen(listening, factory, accepts=1)
            if disturbance.where:
                until = time.monotonic() + DEADLINE_S
                while listener.failed != 1 and time.monotonic() < until:
                    port.wait(0.01)
                assert listener.failed == 1, disturbance.where
        while peers:
            peers.pop().close()
    shown = [(record.name, record.exc_info and record.exc_info[0]) for record in caplog.records]
    assert shown == [("pyiocp", Refused)] * len(shown)
    assert len(shown) > 10
    caplog.clear()
