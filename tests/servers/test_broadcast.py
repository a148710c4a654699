"""Broadcast: the same bytes to many sessions, without a copy each."""

from __future__ import annotations

import contextlib
import socket
import tracemalloc
from typing import Any

import pytest
from journal import Journal, Made, connect, eventually, receive_all, served

from pyiocp import CompletionPort, SessionState

LOCAL = ("127.0.0.1", 0)


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_everybody_gets_the_same(port: CompletionPort, kind: Any) -> None:
    """20 sessions; what is no bytes object may be used again at once."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect(listener)) for _ in range(20)]
        stack.enter_context(served(port))
        assert eventually(lambda: len(port.sessions) == 20)
        assert all(session.connected.wait(10) for session in sessions)
        data = kind(b"news")
        assert port.broadcast(port.sessions, data) == []
        if not isinstance(data, bytes):
            data[:] = b"XXXX"
        assert [receive_all(peer, 4) for peer in peers] == [b"news"] * 20


def test_slow_readers_share_one_buffer(port: CompletionPort) -> None:
    """100 sessions whose peers do not read, 8 MB to each: 8 MB, not 800, and 16 at the most.

    All of them are returned: they are over their high-water marks.
    """
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(listener))
        stack.enter_context(served(port))
        assert eventually(lambda: len(port.sessions) == 100)
        assert all(session.connected.wait(10) for session in sessions)
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        data = bytes(1 << 23)
        behind = port.broadcast(list(sessions), data)
        taken, _ = tracemalloc.get_traced_memory()
        assert behind == list(sessions)
        assert taken < 2 * len(data)


def test_those_that_get_nothing_are_named(port: CompletionPort) -> None:
    """Connecting, closing and closed sessions are returned; the open one gets its bytes."""
    sessions = Made(Journal)
    listener = port.listen(LOCAL, sessions)
    with socket.create_server(LOCAL) as server, contextlib.ExitStack() as stack:
        connecting = port.connect(server.getsockname(), Journal)
        assert connecting.state is SessionState.CONNECTING
        peers = [stack.enter_context(connect(listener)) for _ in range(3)]
        addresses = [peer.getsockname() for peer in peers]
        # In the order of the peers, whichever was accepted first.
        while len(sessions) < 3 or any(s.state is SessionState.CONNECTING for s in sessions):
            port.wait(0.01)
        sessions.sort(key=lambda session: addresses.index(session.peer_address))
        is_open, closing, closed = sessions
        closing.close()
        closed.abort()
        waiting = connecting.state is SessionState.CONNECTING
        behind = port.broadcast([connecting, closing, is_open], b"news")
        assert behind == [connecting, closing] if waiting else [closing]
        assert receive_all(peers[0], 4) == b"news"
        while closed in port.sessions:
            port.wait(0.01)
        assert port.broadcast([closed], b"news") == [closed]


@pytest.mark.parametrize("bad", ["text", 5, None])
def test_what_is_no_buffer_is_refused(port: CompletionPort, bad: Any) -> None:
    with pytest.raises(TypeError):
        port.broadcast([], bad)
