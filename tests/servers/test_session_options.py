"""Options of a session's socket: with and without TLS, in messages, over TCP and over UDP."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from datagram_journal import DatagramJournal, Echo, answer, peer_of
from deadline import DEADLINE_S
from journal import Journal, Made, connect, eventually, served
from tls_context import client_context, server_context

from pyiocp import (
    CompletionPort,
    DatagramSession,
    FramedSession,
    HandleClosedError,
    LengthPrefixed,
    Session,
)
from pyiocp.winapi import (
    IPPROTO_IP,
    IPPROTO_TCP,
    SO_KEEPALIVE,
    SO_RCVBUF,
    SO_SNDBUF,
    SOL_SOCKET,
    TCP_NODELAY,
)

LOCAL = ("127.0.0.1", 0)
IP_TTL = 4


class Framed(FramedSession, Journal):
    """Its layer is between it and its connection."""

    framing = LengthPrefixed(2)


def assert_options_work(session: Any) -> None:
    """Set each of a stream's, and see it in force."""
    assert session.set_no_delay(False) is True
    assert session.get_option(IPPROTO_TCP, TCP_NODELAY) == 0
    assert session.set_no_delay() is True
    assert session.get_option(IPPROTO_TCP, TCP_NODELAY) == 1
    assert session.set_keep_alive(60, 5) is True
    assert session.get_option(SOL_SOCKET, SO_KEEPALIVE) == 1
    assert session.set_keep_alive(None) is True
    assert session.get_option(SOL_SOCKET, SO_KEEPALIVE) == 0
    assert session.set_buffer_sizes(receive=200_000, send=150_000) is True
    assert session.get_option(SOL_SOCKET, SO_RCVBUF) == 200_000
    assert session.get_option(SOL_SOCKET, SO_SNDBUF) == 150_000
    assert session.set_option(SOL_SOCKET, SO_KEEPALIVE, 1) is True
    assert session.get_option_bytes(SOL_SOCKET, SO_KEEPALIVE, 4)[0] == 1
    with pytest.raises(ValueError, match="idle must be"):
        session.set_keep_alive(0)


@pytest.mark.parametrize("kind", [Journal, Framed])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_options_of_both_ends(port: CompletionPort, kind: Any, tls: bool) -> None:
    """A server's session and a client's; when they have ended there is nothing to set."""
    sessions = Made(kind)
    contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None] = (None, None)
    if tls:
        contexts = server_context(), client_context()
    listener = port.listen(LOCAL, sessions, tls=contexts[0])
    client: Any = port.connect(
        listener.address, kind, tls=contexts[1], server_hostname="localhost" if tls else None
    )
    with served(port):
        assert client.connected.wait(DEADLINE_S)
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        for session in (sessions[0], client):
            assert_options_work(session)
        sessions[0].abort()
        for session in (sessions[0], client):
            assert session.closed.wait(DEADLINE_S)
            assert session.set_no_delay() is False
            assert session.set_keep_alive(60) is False
            assert session.set_buffer_sizes(send=1000) is False
            assert session.set_option(SOL_SOCKET, SO_KEEPALIVE, 1) is False
            with pytest.raises(HandleClosedError):
                session.get_option(SOL_SOCKET, SO_KEEPALIVE)


def test_hook_sets_them_before_anything_comes(port: CompletionPort) -> None:
    """In `on_connect`, which is where most would."""

    class Careful(Journal):
        def on_connect(self) -> None:
            self.done = self.set_keep_alive(30, 5) and self.set_buffer_sizes(receive=100_000)
            super().on_connect()

    sessions = Made(Careful)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener):
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        assert sessions[0].done is True
        assert sessions[0].get_option(SOL_SOCKET, SO_RCVBUF) == 100_000


@pytest.mark.parametrize("kind", [Session, DatagramSession])
def test_nothing_can_be_set_before_there_is_a_socket(kind: Any) -> None:
    """Without a port, and while it connects."""
    session = kind()
    for call in (lambda: session.set_buffer_sizes(send=1), lambda: session.get_option(1, 2)):
        with pytest.raises(RuntimeError, match="no connection"):
            call()
    with CompletionPort() as port:
        how = port.connect if kind is Session else port.connect_datagram
        session = how(("localhost", 9), kind)  # type: ignore[operator]
        with pytest.raises(RuntimeError, match="before on_connect"):
            session.set_buffer_sizes(send=1)


def test_session_that_was_never_connected_has_none(port: CompletionPort) -> None:
    made: list[Any] = [
        port.connect(("localhost", 9), Journal),
        port.connect_datagram(("localhost", 9), DatagramJournal),
    ]
    for session in made:
        session.abort()
    with served(port):
        assert all(session.closed.wait(DEADLINE_S) for session in made)
    for session in made:
        assert session.set_buffer_sizes(send=1000) is False
        with pytest.raises(HandleClosedError):
            session.get_option(SOL_SOCKET, SO_RCVBUF)


def test_options_of_datagram_sessions(port: CompletionPort) -> None:
    """A client's are its own; those of a server's session are the server's."""
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions)
    client: Any = port.connect_datagram(server.address, DatagramJournal)
    with served(port), peer_of(server) as peer:
        assert answer(peer, b"hello") == b"hello"
        assert client.connected.wait(DEADLINE_S)
        for session in (sessions[0], client):
            assert session.set_buffer_sizes(receive=300_000, send=200_000) is True
            assert session.get_option(SOL_SOCKET, SO_RCVBUF) == 300_000
            assert session.get_option(SOL_SOCKET, SO_SNDBUF) == 200_000
            assert session.set_option(IPPROTO_IP, IP_TTL, 7) is True
            assert session.get_option(IPPROTO_IP, IP_TTL) == 7
        assert server.datagram.get_option(IPPROTO_IP, IP_TTL) == 7
        sessions[0].close()
        assert sessions[0].closed.wait(DEADLINE_S)
        assert sessions[0].set_option(IPPROTO_IP, IP_TTL, 9) is False
        assert server.datagram.get_option(IPPROTO_IP, IP_TTL) == 7
