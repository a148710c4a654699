"""Unanswered: an address of this machine at which nobody answers."""

from __future__ import annotations

import socket


class Unanswered:
    """A listening socket whose backlog is full, so that nobody answers the next connect."""

    def __init__(self) -> None:
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
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
        """Close both ends of all of it."""
        for sock in (self.server, *self.clients):
            sock.close()
