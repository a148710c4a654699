"""examples/echo.py: everything comes back, also to a client that reads late."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from example_server import Server

Serve = Callable[..., Server]


def test_everything_comes_back(serve: Serve) -> None:
    """16 MB, sent before any of it is read: more than waits for a client, so it is held up."""
    server = serve("echo")
    sent = bytes(range(256)) * (1 << 16)
    with server.connect() as client:
        sender = threading.Thread(target=client.send, args=(sent,))
        sender.start()
        sender.join(0.5)  # by then the server has what it takes from a client that does not read
        assert client.read(len(sent)) == sent
        sender.join()
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read() == b""
    server.command.line_with("closed")
    assert server.end()[-1] == "1 connections were served"
