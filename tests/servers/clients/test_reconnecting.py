"""Trying again: with the same session until it stands, and with a new one when it has ended."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from journal import Journal, Made, connect, eventually, reset, served
from tls_context import client_context, server_context

from pyiocp import (
    Backoff,
    CompletionPort,
    ConnectionLostError,
    ConnectRefusedError,
    NetworkTimeoutError,
    PortClosedError,
    Session,
)

LOCAL = ("127.0.0.1", 0)

SOON = Backoff(first=0.01, maximum=0.05)


def test_waits_double_up_to_the_maximum() -> None:
    backoff = Backoff(first=0.5, maximum=3, jitter=0)
    assert [backoff.wait(n) for n in range(1, 7)] == [0.5, 1, 2, 3, 3, 3]
    assert backoff.wait(100_000) == 3


def test_part_of_each_wait_is_chance() -> None:
    """Of 1,000 waits of 10 s with a jitter of 0.5 none is outside of 5 s to 10 s; they differ."""
    backoff = Backoff(first=10, maximum=10, jitter=0.5)
    waits = [backoff.wait(1) or 0 for _ in range(1000)]
    assert 5 <= min(waits) < 5.5
    assert 9.5 < max(waits) <= 10


def test_attempts_come_to_an_end() -> None:
    backoff = Backoff(attempts=3, jitter=0)
    assert [backoff.wait(n) for n in (1, 2, 3, 4)] == [0.1, 0.2, None, None]


@pytest.mark.parametrize(
    "values",
    [
        {"first": 0},
        {"first": -1},
        {"first": 2, "maximum": 1},
        {"factor": 0.5},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"attempts": 0},
    ],
)
def test_impossible_backoff_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(**values)


def test_session_is_connected_once_there_is_a_server(
    port: CompletionPort, refused: Any, no_errors_logged: None
) -> None:
    """Refused several times; then somebody listens there: one session, one on_connect."""
    session = port.connect(refused, Journal, retry=SOON)
    with served(port):
        assert not session.closed.wait(0.2)
        with socket.create_server(refused):
            assert session.connected.wait(10)
            session.abort()
            assert session.closed.wait(10)
    assert session.hooks == ["connect", "close"]


def test_last_attempts_error_is_told(port: CompletionPort, refused: Any) -> None:
    backoff = Backoff(first=0.01, maximum=0.01, attempts=3)
    session = port.connect(refused, Journal, retry=backoff)
    with served(port):
        assert session.closed.wait(10)
    assert type(session.error) is ConnectRefusedError
    assert session.hooks == ["close"]
    assert port._queue.timers.next_due() is None


def test_each_attempt_has_the_time_that_was_given(port: CompletionPort, unanswered: Any) -> None:
    """Nobody answers: three attempts of 0.1 s, two waits of 10 ms."""
    begun = port.kernel.monotonic()
    backoff = Backoff(first=0.01, maximum=0.01, jitter=0, attempts=3)
    session = port.connect(unanswered.address, Journal, timeout=0.1, retry=backoff)
    with served(port):
        assert session.closed.wait(10)
    assert port.kernel.monotonic() - begun >= 0.32
    assert type(session.error) is NetworkTimeoutError


@pytest.mark.parametrize("how", ["close", "abort"])
def test_waiting_session_can_be_ended(port: CompletionPort, refused: Any, how: str) -> None:
    """The next attempt would be in an hour; it ends at once, and nothing is left."""
    session = port.connect(refused, Journal, retry=Backoff(first=3600, maximum=3600))
    with served(port):
        assert eventually(lambda: port.in_flight_by_kind() == {})
        getattr(session, how)()
        assert session.closed.wait(10)
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectionLostError
    assert port._queue.timers.next_due() is None


def test_port_closes_while_a_session_waits(refused: Any) -> None:
    port = CompletionPort()
    session = port.connect(refused, Journal, retry=Backoff(first=3600, maximum=3600))
    assert eventually(lambda: port.wait(0.01) == [] and port.in_flight_by_kind() == {})
    port.close()
    assert session.hooks == ["close"]


def test_client_comes_back_with_a_new_session(port: CompletionPort, no_errors_logged: None) -> None:
    """Its server resets it, closes in order, and is gone for a while: three sessions."""
    made = Made(Journal)
    with served(port):
        with socket.create_server(LOCAL) as server:
            address = server.getsockname()
            client = port.keep_connected(address, made, backoff=SOON)
            reset(server.accept()[0])
            assert made[0].closed.wait(10)
            peer = server.accept()[0]
            assert made[1].connected.wait(10)
            assert client.session is made[1]
            assert client.connections == 2
        peer.close()
        assert made[1].closed.wait(10)
        assert eventually(lambda: len(made) == 3)
        with socket.create_server(address) as server, server.accept()[0]:
            assert made[2].connected.wait(10)
            client.close()
        assert made[2].closed.wait(10)
        assert eventually(lambda: client.session is None)
    assert [session.hooks[0] for session in made] == ["connect"] * 3
    assert [session.hooks[-1] for session in made] == ["close"] * 3
    assert port.clients == set()
    assert port._queue.timers.next_due() is None


def test_client_comes_back_over_tls(port: CompletionPort, no_errors_logged: None) -> None:
    made = Made(Journal)
    listener = port.listen(LOCAL, Session, tls=server_context())
    with served(port):
        client = port.keep_connected(
            listener.address,
            made,
            backoff=SOON,
            tls=client_context(),
            server_hostname="localhost",
        )
        assert made[0].connected.wait(10)
        made[0].close()
        assert eventually(lambda: len(made) == 2)
        assert made[1].connected.wait(10)
        client.close()
        assert made[1].closed.wait(10)


def test_server_that_hangs_up_is_not_hammered(port: CompletionPort) -> None:
    """Each connection is closed at once: the waits grow, 10, 20 and 40 ms; then it gives up."""
    backoff = Backoff(first=0.01, maximum=10, jitter=0, attempts=4)

    class HangingUp(Session):
        def on_connect(self) -> None:
            self.abort()

    listener = port.listen(LOCAL, HangingUp)
    begun = port.kernel.monotonic()
    with served(port):
        client = port.keep_connected(listener.address, Journal, backoff=backoff)
        assert eventually(lambda: client.closed)
    assert port.kernel.monotonic() - begun >= 0.07
    assert client.connections == 4
    assert port.clients == set()


@pytest.mark.parametrize("stage", ["connecting", "waiting", "connected"])
def test_client_can_be_closed_at_every_stage(
    port: CompletionPort, refused: Any, stage: str
) -> None:
    """And closed again. No session is made after that."""
    made = Made(Journal)
    listener = port.listen(LOCAL, Session)
    address = refused if stage == "connecting" else listener.address
    backoff = Backoff(first=3600, maximum=3600)
    with served(port):
        client = port.keep_connected(address, made, backoff=backoff)
        if stage != "connecting":
            assert made[0].connected.wait(10)
        if stage == "waiting":
            made[0].abort()
            assert eventually(lambda: client.session is None)
        client.close()
        client.close()
        assert made[0].closed.wait(10)
        assert eventually(lambda: client.session is None)
    assert client.closed
    assert len(made) == 1
    assert port.clients == set()


def test_factory_that_fails_later_is_asked_again(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """The first time it raises here; after that it is logged, and tried again."""

    def broken() -> Session:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        port.keep_connected(("127.0.0.1", 9), broken)
    assert port.clients == set()
    made = Made(Journal)

    def sometimes() -> Session:
        if len(made) == 1 and not caplog.records:
            raise ZeroDivisionError
        return made()

    listener = port.listen(LOCAL, Session)
    with served(port):
        client = port.keep_connected(listener.address, sometimes, backoff=SOON)
        assert made[0].connected.wait(10)
        made[0].abort()
        assert eventually(lambda: len(made) == 2)
        assert made[1].connected.wait(10)
        client.close()
    assert caplog.text.count("no session could be made") == 1
    caplog.clear()


def test_factory_that_exits_is_asked_again(port: CompletionPort) -> None:
    """SystemExit out of it comes out of `run`; when the port runs again, it is asked again."""
    made = Made(Journal)
    exits = [SystemExit(3)]

    def sometimes() -> Session:
        if len(made) == 1 and exits:
            raise exits.pop()
        return made()

    listener = port.listen(LOCAL, Session)
    client = port.keep_connected(listener.address, sometimes, backoff=SOON)
    port.call_later(0.2, lambda: made[0].abort())
    with pytest.raises(SystemExit):
        port.run()
    with served(port):
        assert eventually(lambda: len(made) == 2)
        assert made[1].connected.wait(10)
        assert not client.closed
        client.close()


def test_end_that_is_told_twice_leads_to_one_session(port: CompletionPort) -> None:
    """As after an interruption: at any time, and the session that there is by then stays."""
    made = Made(Journal)
    listener = port.listen(LOCAL, Session)
    with served(port):
        client = port.keep_connected(listener.address, made, backoff=SOON)
        assert made[0].connected.wait(10)
        made[0].abort()
        assert made[0].closed.wait(10)
        client._on_end(made[0])
        client._on_end(made[0])
        assert eventually(lambda: len(made) == 2)
        assert made[1].connected.wait(10)
        assert eventually(lambda: client.connections == 2)
        client._on_end(made[0])
        assert client.session is made[1]
        assert client._failures == 1
    assert len(made) == 2


def test_hook_that_raises_does_not_end_the_client(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            if len(made) == 1:
                raise ZeroDivisionError

    made = Made(Failing)
    listener = port.listen(LOCAL, Session)
    with served(port):
        client = port.keep_connected(listener.address, made, backoff=SOON)
        assert eventually(lambda: len(made) == 2)
        assert made[1].connected.wait(10)
        assert not client.closed
    caplog.clear()


def test_closed_port_keeps_nothing_connected(refused: Any) -> None:
    port = CompletionPort()
    made = Made(Journal)
    client = port.keep_connected(refused, made, backoff=SOON)
    port.close()
    assert client.closed
    assert [session.hooks for session in made] == [["close"]]
    with pytest.raises(PortClosedError):
        port.keep_connected(refused, made)


def test_plain_connect_is_not_affected(port: CompletionPort) -> None:
    """A session of connect() that has ended stays so."""
    listener = port.listen(LOCAL, Session)
    session = port.connect(listener.address, Journal)
    with served(port):
        assert session.connected.wait(10)
        session.abort()
        assert session.closed.wait(10)
        with connect(listener):
            assert eventually(lambda: listener.accepted == 2)
    assert listener.accepted == 2
