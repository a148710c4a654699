"""Half-close: the end of what this side sends, while it goes on receiving."""

from __future__ import annotations

import socket

import pytest
from deadline import DEADLINE_S
from journal import Journal, Made, connect, eventually, receive_all, served
from tls_context import client_context, server_context

from pyiocp import CompletionPort, SessionState

LOCAL = ("127.0.0.1", 0)


def test_ended_session_goes_on_receiving(port: CompletionPort, no_errors_logged: None) -> None:
    """The peer sees all that was sent and the end; what it sends after that still comes.

    When it ends too, on_eof comes and, by default, both sides are closed in order.
    """
    data = bytes(range(256)) * (1 << 14)

    class Ending(Journal):
        def on_connect(self) -> None:
            super().on_connect()
            self.send(data)
            self.send_eof()
            self.send_eof()
            self.late = self.send(b"late")

    sessions = Made(Ending)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert receive_all(peer) == data
        [session] = sessions
        assert session.state is SessionState.OPEN
        peer.sendall(b"answer")
        assert session.wait_received(6) == b"answer"
        peer.shutdown(socket.SHUT_WR)
        assert session.closed.wait(DEADLINE_S)
    assert session.late is False
    assert session.error is None
    assert session.hooks[0] == "connect"
    assert session.hooks[-2:] == ["eof", "close"]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("first", ["ours", "the peer's"])
def test_session_closes_when_both_sides_have_ended(
    port: CompletionPort, first: str, tls: bool
) -> None:
    """C74: on_eof does not close; whichever side ends first, it closes with the second."""

    class Staying(Journal):
        def on_eof(self) -> None:
            self.hooks.append("eof")
            if first == "the peer's":
                self.send_eof()

    sessions = Made(Staying)
    peers = Made(Journal)
    listener = port.listen(LOCAL, sessions, tls=server_context() if tls else None)
    with served(port):
        if tls:
            context = client_context()
            port.connect(listener.address, peers, tls=context, server_hostname="localhost")
        else:
            port.connect(listener.address, peers)
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session], [peer] = sessions, peers
        (session if first == "ours" else peer).send_eof()
        assert session.closed.wait(DEADLINE_S)
    assert session.error is None
    assert session.hooks == ["connect", "eof", "close"]


@pytest.mark.parametrize("first", ["ours", "the peer's"])
def test_what_waits_is_sent_before_both_sides_have_ended(port: CompletionPort, first: str) -> None:
    """C74: 4 MB wait when the second side ends; the peer gets them."""
    data = bytes(1 << 22)

    class Staying(Journal):
        receive_when_full = True

        def on_eof(self) -> None:
            self.hooks.append("eof")
            if first == "the peer's":
                self.send(data)
                self.send_eof()

    sessions = Made(Staying)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        if first == "ours":
            session.send(data)
            session.send_eof()
        peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == data
        assert session.closed.wait(DEADLINE_S)
    assert session.error is None


def test_closing_an_ended_session_waits_for_the_peer(port: CompletionPort) -> None:
    """send_eof(), then close(): no on_receive any more, on_close when the peer ends."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with served(port), connect(listener) as peer:
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        [session] = sessions
        session.send_eof()
        assert peer.recv(1) == b""
        session.close()
        peer.sendall(b"dropped")
        peer.shutdown(socket.SHUT_WR)
        assert session.closed.wait(DEADLINE_S)
    assert session.error is None
    assert session.hooks == ["connect", "close"]


def test_ending_before_the_connection_is_an_error(port: CompletionPort) -> None:
    with socket.create_server(LOCAL) as server:
        connecting = port.connect(server.getsockname(), Journal)
        with pytest.raises(RuntimeError, match="before on_connect"):
            connecting.send_eof()
