"""Fairness: a connection with endless data takes its turn like the others."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

import pytest
from journal import Journal, Made, connect, eventually, served

from pyiocp import CompletionPort

LOCAL = ("127.0.0.1", 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_greedy_session_does_not_starve_twenty_others(port: CompletionPort, threads: int) -> None:
    """C10: one session always has bytes to receive, one at a time; 20 others echo one byte.

    The 20 clients send their next byte when the last one is back, until even the slowest has
    had 10 rounds. Served by order of readiness alone it would have had none by the time that
    the greedy one has had 30,000 hooks, each of which is one round; it takes about 3,000.
    """
    over = threading.Event()

    class Greedy(Journal):
        receive_size = 1
        count = 0

        def on_receive(self, data: memoryview) -> None:
            self.count += 1
            if self.count == 30_000:
                over.set()

    class Echo(Journal):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    greedy = Made(Greedy)
    greedy_listener = port.listen(LOCAL, greedy)
    listener = port.listen(LOCAL, Echo)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect(listener)) for _ in range(20)]
        feed = stack.enter_context(connect(greedy_listener))
        stack.enter_context(served(port, threads))
        assert eventually(lambda: len(port.sessions) == 21)
        selector = stack.enter_context(selectors.DefaultSelector())
        shares = dict.fromkeys(peers, 0)
        for peer in peers:
            selector.register(peer, selectors.EVENT_READ)
            peer.sendall(b"x")
        feeder = threading.Thread(target=_feed, args=(feed, over))
        feeder.start()
        while min(shares.values()) < 10 and not over.is_set():
            for key, _ in selector.select(0.1):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                assert peer.recv(1) == b"x"
                shares[peer] += 1
                peer.sendall(b"x")
        over.set()
        feeder.join(10)
    assert min(shares.values()) >= 10
    assert min(shares.values()) * 5 >= max(shares.values())


def _feed(peer: socket.socket, over: threading.Event) -> None:
    """Keep bytes in the socket until the greedy session has had enough."""
    peer.sendall(bytes(1 << 16))
    over.wait(30)
