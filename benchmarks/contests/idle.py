"""Idle: how much memory a connection takes that has had one echo, and waits."""

from __future__ import annotations

import socket

from contest import Contest, Figure, Options
from server_process import serving

from .echo import SERVERS

WARM_UP, CONNECTIONS = 50, 400
"""The first ones pay for what there is once. Those of select() are 512 at most."""


def measure(server_name: str, options: Options) -> dict[str, float]:
    """Return by how many bytes a server has grown for each connection."""
    peers: list[socket.socket] = []
    try:
        with serving(server_name, "echo", options.python) as server:
            _connect(peers, int(server.first["port"]), WARM_UP)
            before = server.ask()["private_bytes"]
            _connect(peers, int(server.first["port"]), CONNECTIONS)
            after = server.ask()["private_bytes"]
    finally:
        for peer in peers:
            peer.close()
    return {"bytes": (after - before) / CONNECTIONS}


def _connect(peers: list[socket.socket], port: int, count: int) -> None:
    for _ in range(count):
        peers.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        peers[-1].sendall(b"x" * 64)
    for peer in peers[-count:]:
        assert peer.recv(64, socket.MSG_WAITALL) == b"x" * 64


CONTEST = Contest(
    "idle",
    f"{CONNECTIONS} connections that wait after one echo",
    (*SERVERS[:2], "pyiocp_zero_byte", *SERVERS[2:]),
    measure,
    (Figure("bytes", "private bytes a connection"),),
    more_is_better=False,
)
