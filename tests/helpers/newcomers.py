"""Newcomers: one client after the other comes, asks, gets its answer and leaves; they are counted.

Tests of attacks that shut others out compare how many come in beside the attacker and without it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import Any, Self

QUESTION = b"ping"


class Newcomers:
    """A thread of blocking clients, one at a time.

    address: the server's, which sends back what it gets.
    tls: the context for TLS, if the server talks that.
    """

    def __init__(self, address: Any, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._tls = tls
        self._ending = False
        self.served = 0
        """How many had their answer."""
        self.turned_away = 0
        """How many had an error or an end instead."""
        self._thread = threading.Thread(target=self._come, name="newcomers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _come(self) -> None:
        while not self._ending:
            if self._is_served():
                self.served += 1
            else:
                self.turned_away += 1
                time.sleep(0.01)

    def _is_served(self) -> bool:
        answer = b""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            peer = stack.enter_context(socket.create_connection(self._address[:2], timeout=20))
            if self._tls is not None:
                wrapped = self._tls.wrap_socket(peer, server_hostname="localhost")
                peer = stack.enter_context(wrapped)
            peer.sendall(QUESTION)
            answer = peer.recv(len(QUESTION))
        return answer == QUESTION

    def served_in(self, seconds: float) -> int:
        """Return how many are served in the next seconds."""
        before = self.served
        time.sleep(seconds)
        return self.served - before


class Crowd:
    """Sockets from one address of the loopback that connect, send a little and do nothing more.

    source: the address that they come from, such as 127.0.0.2.
    """

    def __init__(self, address: Any, source: str, count: int, sending: bytes = b"") -> None:
        self._sockets: list[socket.socket] = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                peer = socket.create_connection(address[:2], 20, source_address=(source, 0))
                self._sockets.append(peer)
                peer.sendall(sending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for peer in self._sockets:
            peer.close()
