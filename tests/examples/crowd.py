"""Crowd: many connections at a time, that say what they are told and then nothing more."""

from __future__ import annotations

import contextlib
import socket
from typing import Self

from commands import TIMEOUT_S


class Crowd:
    """Connects so many times; the server may end any of them, at any time.

    says: what each sends at once.
    addresses: from so many addresses of this machine, by turns.
    """

    def __init__(self, port: int, count: int, says: bytes = b"", *, addresses: int = 1) -> None:
        self.sockets: list[socket.socket] = []
        for n in range(count):
            sock = socket.socket()
            sock.bind((f"127.0.0.{1 + n % addresses}", 0))
            sock.settimeout(TIMEOUT_S)
            self.sockets.append(sock)
            with contextlib.suppress(ConnectionError):
                sock.connect(("127.0.0.1", port))
                sock.sendall(says)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()
