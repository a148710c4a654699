"""Broadcast: the same bytes to many sessions, without a copy each."""

from __future__ import annotations

import contextlib
import socket
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from datagram_journal import DatagramJournal
from deadline import DEADLINE_S
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import BroadcastResult, CompletionPort, DatagramSession, Session, SessionState

LOCAL = ("127.0.0.1", 0)

TO_ALL: BroadcastResult[Any] = BroadcastResult([], [], [])
"""What there is to say when everybody had room."""


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_everybody_gets_the_same(port: CompletionPort, kind: Any) -> None:
    """20 sessions; what is no bytes object may be used again at once."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect(listener)) for _ in range(20)]
        stack.enter_context(served(port))
        assert eventually(lambda: len(port.sessions) == 20)
        assert all(session.connected.wait(DEADLINE_S) for session in sessions)
        data = kind(b"news")
        assert port.broadcast(port.sessions, data) == TO_ALL
        if not isinstance(data, bytes):
            data[:] = b"XXXX"
        assert [receive_all(peer, 4) for peer in peers] == [b"news"] * 20


def test_slow_readers_share_one_buffer(port: CompletionPort) -> None:
    """100 sessions whose peers do not read, 8 MB to each: 8 MB, not 800, and 16 at the most.

    All of them are behind: they are over their high-water marks.
    """
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(listener))
        stack.enter_context(served(port))
        assert eventually(lambda: len(port.sessions) == 100)
        assert all(session.connected.wait(DEADLINE_S) for session in sessions)
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        data = bytes(1 << 23)
        result = port.broadcast(list(sessions), data)
        taken, _ = tracemalloc.get_traced_memory()
        assert result == BroadcastResult(behind=list(sessions), gone=[], connecting=[])
        assert taken < 2 * len(data)


def test_those_that_get_nothing_are_told_apart(port: CompletionPort) -> None:
    """C40: connecting, closing, closed and ended ones, and one that is behind; one gets its bytes.

    Who has sent its end is open, and still gone: no ``on_writable`` would ever come.
    """
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with socket.create_server(LOCAL) as server, contextlib.ExitStack() as stack:
        connecting = port.connect(server.getsockname(), Journal)
        assert connecting.state is SessionState.CONNECTING
        peers = [stack.enter_context(connect(listener)) for _ in range(5)]
        addresses = [peer.getsockname() for peer in peers]
        # In the order of the peers, whichever was accepted first.
        while len(sessions) < 5 or any(s.state is SessionState.CONNECTING for s in sessions):
            port.wait(0.01)
        sessions.sort(key=lambda session: addresses.index(session.peer_address))
        is_open, closing, closed, ended, slow = sessions
        closing.close()
        closed.abort()
        ended.send_eof()
        slow.send(bytes(1 << 24))
        early = [connecting] if connecting.state is SessionState.CONNECTING else []
        result = port.broadcast([*early, closing, slow, is_open, ended], b"news")
        assert result == BroadcastResult([slow], [closing, ended], early)
        assert receive_all(peers[0], 4) == b"news"
        while closed in port.sessions:
            port.wait(0.01)
        assert port.broadcast([closed], b"news") == BroadcastResult([], [closed], [])


@contextlib.contextmanager
def never_connected(port: CompletionPort) -> Iterator[list[Any]]:
    """Sessions of both kinds that have ended without a socket: unknown name, refused, aborted."""
    with socket.socket() as unused:
        unused.bind(LOCAL)  # and does not listen
        made = [
            port.connect(unused.getsockname(), Journal, timeout=5),
            port.connect(("no-such-host.invalid", 9), Journal),
            port.connect_datagram(("no-such-host.invalid", 9), DatagramJournal),
            port.connect_datagram(("localhost", 9), DatagramJournal),
        ]
        made[-1].abort()
        with served(port):
            assert all(session.closed.wait(DEADLINE_S) for session in made)
        assert [session.hooks for session in made] == [["close"]] * 4
        yield made


def test_who_never_had_a_socket_is_gone(port: CompletionPort, no_errors_logged: None) -> None:
    """C40: `send` says False; `broadcast` names them, and serves the one between them."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with never_connected(port) as gone, connect(listener) as peer:
        with served(port):
            assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        assert [session.send(b"news") for session in gone] == [False] * 4
        everybody = [*gone[:2], sessions[0], *gone[2:]]
        assert port.broadcast(everybody, b"news") == BroadcastResult([], gone, [])
        # No datagram could carry that; but none of them is one that it would go to.
        assert port.broadcast(everybody, bytes(65508)).gone == gone
        assert receive_all(peer, 4 + 65508) == b"news" + bytes(65508)


@pytest.mark.parametrize("kind", [Session, DatagramSession])
@pytest.mark.parametrize("size", [4, 65508])
def test_who_has_no_port_yet_is_connecting(port: CompletionPort, kind: Any, size: int) -> None:
    """C40: it gets nothing, and breaks nothing off."""
    early = kind()
    assert port.broadcast([early], bytes(size)) == BroadcastResult([], [], [early])


def test_who_raises_is_ended_and_the_others_served(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """C40: a subclass whose `send` fails: that is the end of it, and of nobody else."""

    class Broken(Journal):
        def send(self, data: Any) -> bool:
            raise ZeroDivisionError

    made = iter([Journal(), Broken(), Journal()])
    sessions: list[Any] = []

    def factory() -> Journal:
        sessions.append(next(made))
        return sessions[-1]

    listener = port.listen(LOCAL, factory)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect(listener)) for _ in range(3)]
        stack.enter_context(served(port))
        assert eventually(lambda: len(sessions) == 3)
        assert all(session.connected.wait(DEADLINE_S) for session in sessions)
        result = port.broadcast(sessions, b"news")
        assert result == BroadcastResult([], [sessions[1]], [])
        assert sessions[1].closed.wait(DEADLINE_S)
        by_address = {peer.getsockname(): peer for peer in peers}
        for session in (sessions[0], sessions[2]):
            assert receive_all(by_address[session.peer_address], 4) == b"news"
    assert "cannot send" in caplog.text
    caplog.clear()


def test_who_is_connected_meanwhile_gets_it(port: CompletionPort) -> None:
    """C40: a session that refuses the first time, because it was not connected, and is by now."""

    class Late(Journal):
        refused = False

        def send(self, data: Any) -> bool:
            if not self.refused:
                self.refused = True
                raise RuntimeError("as before on_connect")
            return super().send(data)

    sessions = Made(Late)
    listener = port.listen(LOCAL, sessions)
    with connect(listener) as peer, served(port):
        assert eventually(lambda: bool(sessions) and sessions[0].connected.is_set())
        assert port.broadcast(sessions, b"news") == TO_ALL
        assert receive_all(peer, 4) == b"news"
        assert sessions[0].state is SessionState.OPEN


@pytest.mark.parametrize("bad", ["text", 5, None])
def test_what_is_no_buffer_is_refused(port: CompletionPort, bad: Any) -> None:
    with pytest.raises(TypeError):
        port.broadcast([], bad)
