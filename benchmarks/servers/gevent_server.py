"""gevent's server: a greenlet a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent.server import StreamServer

from .control import Control

if TYPE_CHECKING:
    from gevent.socket import socket


def serve_echo(control: Control) -> None:
    """Send back what comes."""

    def echo(connection: socket, _address: object) -> None:
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.close()

    server = StreamServer(("127.0.0.1", 0), echo, backlog=4096)
    server.start()
    control.ready(server.server_port)
    server.serve_forever()
