"""Examples as programs that serve, and plain sockets as their clients."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self

from commands import INTERRUPTIBLE, TIMEOUT_S, Command

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Server:
    """An example that serves, in a process of its own, at a port that the system chose."""

    def __init__(self, start: Callable[..., Command], name: str, *arguments: str) -> None:
        """Start it, and wait until it listens."""
        self.command = start(INTERRUPTIBLE, example(name), *arguments, "--port", "0")
        line = self.command.line_with("127.0.0.1")
        found = re.search(r"127\.0\.0\.1\D+(\d+)", line)
        assert found, line
        self.port = int(found[1])

    def connect(self, *, receive_buffer: int = 0) -> Client:
        """Return a new client; with a small buffer, little is on its way when it does not read."""
        return Client(self.port, receive_buffer)

    def end(self) -> list[str]:
        """Press Ctrl-C, and return all that it printed; nothing of it may be a traceback."""
        self.command.press_ctrl_c()
        assert self.command.end() == 0, self.command.output
        assert "Traceback" not in "\n".join(self.command.output)
        return self.command.output


class Client:
    """A plain socket with a buffer; every wait has an end."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(("127.0.0.1", port))
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def line(self) -> str:
        """Return the next line, without its end."""
        line = self._reader.readline()
        assert line.endswith(b"\n"), line
        return line.decode().rstrip("\r\n")

    def read(self, count: int = -1) -> bytes:
        """Return so many bytes, or all until the end."""
        return self._reader.read(count)


def example(name: str) -> str:
    """Return the file of an example."""
    return str(EXAMPLES / f"{name}.py")
