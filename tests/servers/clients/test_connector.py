"""Connecting: a session that stands, or an on_close that says why not."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, eventually, receive_all, served
from look_ups import FOUR

from pyiocp import (
    Backoff,
    CompletionPort,
    ConnectionLostError,
    ConnectionPool,
    ConnectRefusedError,
    NetworkTimeoutError,
    ResourceLimitError,
    Session,
)
from pyiocp.servers.clients import connector
from pyiocp.winapi import INVALID_SOCKET, WSAENOBUFS

if TYPE_CHECKING:
    from unanswered import Unanswered

LOCAL = ("127.0.0.1", 0)


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", 23)])
def test_connected_session_talks_both_ways(
    port: CompletionPort, no_errors_logged: None, host: str, family: int
) -> None:
    """IPv4 and IPv6 (23 is Windows' AF_INET6): addresses, bytes and ends on both sides."""
    with socket.create_server((host, 0), family=socket.AddressFamily(family)) as server:
        session = port.connect(server.getsockname(), Journal)
        assert isinstance(session, Journal)
        assert session.peer_address[:2] == server.getsockname()[:2]
        with served(port):
            peer, address = server.accept()
            with peer:
                assert session.connected.wait(DEADLINE_S)
                assert session.local_address == address
                session.send(b"question")
                assert receive_all(peer, 8) == b"question"
                peer.sendall(b"answer")
                assert session.wait_received(6) == b"answer"
            assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["connect", "receive", "eof", "close"]
    assert session.error is None


def test_name_is_looked_up(port: CompletionPort) -> None:
    """``localhost``, at the address that the resolver gives first."""
    family, _, _, _, address = socket.getaddrinfo("localhost", 0, 0, socket.SOCK_STREAM)[0]
    with socket.create_server(address[:2], family=family) as server:
        session = port.connect(("localhost", server.getsockname()[1]), Journal)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
            session.abort()
            assert session.closed.wait(DEADLINE_S)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64])
def test_unknown_name_ends_in_on_close_alone(port: CompletionPort, host: str) -> None:
    """One that nobody has, and two that can be none."""
    session = port.connect((host, 80), Journal)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["close"]
    assert isinstance(session.error, OSError)
    assert port.sessions == set()
    assert port.in_flight == {}


def test_refused_connection_ends_in_on_close_alone(
    port: CompletionPort, refused: tuple[str, int]
) -> None:
    session = port.connect(refused, Journal)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
        assert eventually(lambda: not port.sessions)
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectRefusedError
    assert isinstance(session.error, ConnectionRefusedError)


def test_unanswered_connect_times_out(port: CompletionPort, unanswered: Unanswered) -> None:
    """Nobody answers: after the time given, TimeoutError, and nothing is in flight."""
    session = port.connect(unanswered.address, Journal, timeout=0.2)
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["close"]
    assert type(session.error) is NetworkTimeoutError
    assert isinstance(session.error, TimeoutError)
    assert port.in_flight_by_kind() == {}


@pytest.mark.parametrize("how", ["close", "abort"])
def test_connecting_session_can_be_ended(
    port: CompletionPort, unanswered: Unanswered, how: str
) -> None:
    """While nobody answers: on_close comes, with an error, and the connect is cancelled."""
    session = port.connect(unanswered.address, Journal, timeout=None)
    getattr(session, how)()
    with served(port):
        assert session.closed.wait(DEADLINE_S)
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectionLostError
    assert port.in_flight_by_kind() == {}


def test_closing_the_port_ends_connecting_sessions(unanswered: Unanswered) -> None:
    port = CompletionPort()
    session = port.connect(unanswered.address, Journal, timeout=None)
    port.close()
    assert session.hooks == ["close"]
    assert session.error is not None
    assert port.in_flight == {}


@pytest.mark.parametrize("made", [None, "session", 5])
def test_factory_that_makes_no_session_is_refused(port: CompletionPort, made: Any) -> None:
    with (
        socket.create_server(LOCAL) as server,
        pytest.raises(TypeError, match="must return a Session"),
    ):
        port.connect(server.getsockname(), lambda: made)
    assert port.in_flight == {}


def test_used_session_is_refused(port: CompletionPort) -> None:
    """One session is one connection, also when the first has ended, also on another port."""
    with socket.create_server(LOCAL) as server:
        session = port.connect(server.getsockname(), Journal)
        with pytest.raises(ValueError, match="make a new one"):
            port.connect(server.getsockname(), lambda: session)
        session.abort()
        with served(port):
            assert session.closed.wait(DEADLINE_S)
        with pytest.raises(ValueError, match="make a new one"):
            port.connect(server.getsockname(), lambda: session)
        with CompletionPort() as other, pytest.raises(ValueError, match="make a new one"):
            other.connect(server.getsockname(), lambda: session)
    assert session.hooks.count("close") == 1


@pytest.mark.parametrize(
    ("function", "result"), [("ConnectEx", 0), ("WSASocketW", int(INVALID_SOCKET)), ("bind", -1)]
)
def test_refused_system_call_ends_in_on_close_and_leaves_nothing(
    function: str, result: int
) -> None:
    """C14 in ring 3: it fails at once: the hook comes from a worker, not from connect()."""
    kernel = FaultyKernel()
    refusal = Refusal(WSAENOBUFS, result)
    refusal.enabled = False
    kernel.wrap(function, refusal)
    with CompletionPort(kernel=kernel) as port:
        port.wait(0)  # what that needs of the system is not refused
        refusal.enabled = True
        made = Made(Journal)
        for _ in range(10):
            port.connect(("127.0.0.1", 9), made)
        assert [session.hooks for session in made] == [[]] * 10
        assert port.wait(0) == []
        assert [session.hooks for session in made] == [["close"]] * 10
        assert {type(session.error) for session in made} == {ResourceLimitError}
        assert port.sessions == set()
        assert {handle for handle in port.handles if not handle.internal} == set()


def test_connect_from_a_hook(port: CompletionPort, no_errors_logged: None) -> None:
    """A chain of three connections, each made in the hook of the one before."""
    done = threading.Event()
    listener = port.listen(LOCAL, Session)

    class Chained(Session):
        left = 3

        def on_connect(self) -> None:
            Chained.left -= 1
            if Chained.left:
                port.connect(listener.address, Chained)
            else:
                done.set()
            self.close()

    port.connect(listener.address, Chained)
    with served(port):
        assert done.wait(DEADLINE_S)
        assert eventually(lambda: not port.sessions)


BAD_ADDRESSES = [
    (TypeError, "127.0.0.1:80", "is a tuple"),
    (TypeError, ("localhost", 80, 0), "is a tuple"),
    (TypeError, ("::1", 80, "0", 0), "are ints"),
    (ValueError, ("::1", 80, 1 << 20, 0), "flow information is a number from 0 to 1048575"),
    (ValueError, ("::1", 80, 0, -1), "scope id is a number from 0 to 4294967295"),
    (ValueError, ("127.0.0.1", 80, 0, 0), "four parts is of IPv6"),
    (ValueError, ("localhost", 65536, 0, 0), "0 to 65535"),
]


@pytest.mark.parametrize(("error", "address", "message"), BAD_ADDRESSES)
def test_addresses_are_checked_in_the_call(
    port: CompletionPort, error: type[Exception], address: Any, message: str
) -> None:
    """C47: by everything that takes one, before a session is made."""
    made = Made(Journal)
    calls: list[Any] = [
        port.connect,
        port.keep_connected,
        port.connect_datagram,
        port.listen,
        port.serve_datagrams,
        lambda address, factory: ConnectionPool(port, address, factory),
        lambda address, factory: port.connect([("127.0.0.1", 9), address], factory),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            call(address, made)
    assert (made, port.sessions, port.clients) == ([], set(), set())


def test_address_of_four_parts_is_connected_to(port: CompletionPort) -> None:
    """C47: as the socket module writes those of IPv6."""
    with socket.create_server(("::1", 0), family=socket.AddressFamily(23)) as server:
        session: Any = port.connect(server.getsockname(), Journal)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
            assert session.peer_address == server.getsockname()
            session.abort()
            assert session.closed.wait(DEADLINE_S)


class Broken:
    """A wrapper that raises something which nobody foresees, `times` over."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.left = times

    def __call__(self, real: Any, *arguments: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self.error
        return real(*arguments)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("odd"), OSError("odd")], ids=repr)
@pytest.mark.parametrize("function", ["WSASocketW", "bind"])
def test_unforeseen_failure_of_an_attempt_is_that_attempts(function: str, error: Exception) -> None:
    """C47: a client that keeps connected is not closed for good by it, and nothing is left."""
    kernel = FaultyKernel()
    broken = Broken(error, 0)
    kernel.wrap(function, broken)
    with CompletionPort(kernel=kernel) as port, socket.create_server(LOCAL) as server:
        port.wait(0)
        broken.left = 3
        made = Made(Journal)
        client = port.keep_connected(
            server.getsockname(), made, backoff=Backoff(first=0.01, maximum=0.01)
        )
        with served(port):
            assert made[0].connected.wait(DEADLINE_S)
            assert not client.closed
            assert len(made) == 1
            client.close()
            assert made[0].closed.wait(DEADLINE_S)
            assert [handle for handle in port.handles if not handle.internal] == []
    assert broken.left == 0


def test_unforeseen_failure_goes_to_the_next_address(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C47: of two addresses the first is of a kind that nobody can make a socket of."""
    with socket.create_server(LOCAL) as server:
        number = server.getsockname()[1]
        found: list[Any] = [(FOUR, ("1.2.3.4.5", number)), (FOUR, server.getsockname())]
        monkeypatch.setattr(connector, "resolve_all", lambda *_: found)
        session: Any = port.connect(server.getsockname(), Journal)
        with served(port):
            assert session.connected.wait(DEADLINE_S)
            session.abort()
            assert session.closed.wait(DEADLINE_S)


@pytest.mark.parametrize("end", ["attempts", "port"])
def test_failure_of_the_connector_itself_is_an_attempts(
    port: CompletionPort, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """C47: even what is no system call: it is tried again, as often as the Backoff says."""
    calls: list[Any] = []

    def broken(*arguments: Any) -> Any:
        calls.append(arguments)
        raise ZeroDivisionError

    monkeypatch.setattr(connector, "resolve_all", broken)
    attempts = 3 if end == "attempts" else None
    session: Any = port.connect(
        LOCAL, Journal, retry=Backoff(first=0.01, maximum=0.01, attempts=attempts)
    )
    with served(port):
        assert eventually(lambda: len(calls) == 3)
        if end == "attempts":
            assert session.closed.wait(DEADLINE_S)
    port.close()
    assert session.hooks == ["close"]
    if end == "attempts":
        assert isinstance(session.error.__cause__, ZeroDivisionError)
        assert len(calls) == 3
