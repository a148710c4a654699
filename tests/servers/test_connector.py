"""Connecting: a session that stands, or an on_close that says why not."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from journal import Journal, Made, eventually, receive_all, served

from pyiocp import (
    CompletionPort,
    ConnectionLostError,
    ConnectRefusedError,
    NetworkTimeoutError,
    ResourceLimitError,
    Session,
)
from pyiocp.winapi import WSAENOBUFS

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
                assert session.connected.wait(10)
                assert session.local_address == address
                session.send(b"question")
                assert receive_all(peer, 8) == b"question"
                peer.sendall(b"answer")
                assert session.wait_received(6) == b"answer"
            assert session.closed.wait(10)
    assert session.hooks == ["connect", "receive", "eof", "close"]
    assert session.error is None


def test_name_is_looked_up(port: CompletionPort) -> None:
    """``localhost``, at the address that the resolver gives first."""
    family, _, _, _, address = socket.getaddrinfo("localhost", 0, 0, socket.SOCK_STREAM)[0]
    with socket.create_server(address[:2], family=family) as server:
        session = port.connect(("localhost", server.getsockname()[1]), Journal)
        with served(port):
            assert session.connected.wait(10)
            session.abort()
            assert session.closed.wait(10)


def test_unknown_name_is_raised(port: CompletionPort) -> None:
    made = Made(Journal)
    with pytest.raises(OSError, match=r"."):
        port.connect(("no-such-host.invalid", 80), made)
    assert port.sessions == set()
    assert port.in_flight == {}


def test_refused_connection_ends_in_on_close_alone(port: CompletionPort) -> None:
    with socket.socket() as unused:
        unused.bind(LOCAL)
        address = unused.getsockname()
    session = port.connect(address, Journal)
    with served(port):
        assert session.closed.wait(10)
        assert eventually(lambda: not port.sessions)
    assert session.hooks == ["close"]
    assert type(session.error) is ConnectRefusedError
    assert isinstance(session.error, ConnectionRefusedError)


class Unanswered:
    """A listening socket whose backlog is full, so that nobody answers the next connect."""

    def __init__(self) -> None:
        self.server = socket.socket()
        self.server.bind(LOCAL)
        self.server.listen(0)
        self.address = self.server.getsockname()
        self.clients: list[socket.socket] = []

    def fill(self) -> bool:
        """Connect until a client gets no answer; tell whether one got none."""
        for _ in range(20):
            client = socket.socket()
            client.settimeout(0.3)
            self.clients.append(client)
            try:
                client.connect(self.address)
            except TimeoutError:
                return True
            except OSError:
                return False
        return False

    def close(self) -> None:
        for sock in (self.server, *self.clients):
            sock.close()


@pytest.fixture
def unanswered() -> Any:
    there = Unanswered()
    if not there.fill():
        there.close()
        pytest.skip("this system answers connections to a full backlog: Windows refuses them")
    yield there
    there.close()


def test_unanswered_connect_times_out(port: CompletionPort, unanswered: Unanswered) -> None:
    """Nobody answers: after the time given, TimeoutError, and nothing is in flight."""
    session = port.connect(unanswered.address, Journal, timeout=0.2)
    with served(port):
        assert session.closed.wait(10)
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
        assert session.closed.wait(10)
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
            assert session.closed.wait(10)
        with pytest.raises(ValueError, match="make a new one"):
            port.connect(server.getsockname(), lambda: session)
        with CompletionPort() as other, pytest.raises(ValueError, match="make a new one"):
            other.connect(server.getsockname(), lambda: session)
    assert session.hooks.count("close") == 1


def test_refused_system_call_is_raised_and_leaves_nothing() -> None:
    """C14 in ring 3: ConnectEx fails at once: no session stays, no hook comes."""
    kernel = FaultyKernel()
    kernel.wrap("ConnectEx", Refusal(WSAENOBUFS, 0))
    with CompletionPort(kernel=kernel) as port:
        made = Made(Journal)
        for _ in range(10):
            with pytest.raises(ResourceLimitError, match="ConnectEx failed with WSAENOBUFS"):
                port.connect(("127.0.0.1", 9), made)
        assert port.sessions == set()
        assert port.in_flight == {}
        assert port.wait(0) == []
    assert [session.hooks for session in made] == [[]] * 10


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
        assert done.wait(10)
        assert eventually(lambda: not port.sessions)
