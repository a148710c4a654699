"""The demo against a server that does something wrong.

    python sabotage.py KIND

KIND is the name of a class here. With a second argument, the server's lifetime, this is
the server process itself.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from pyiocp.cli import client_load, demo, demo_server
from pyiocp.cli.client_load import Plan
from pyiocp.cli.echo import EchoSession

PLAN = Plan(clients=5, seconds=0.5, seed=1, size_max=65536)


class Innocent(EchoSession):
    """Does nothing wrong: that the others fail is their own doing."""


class Once(EchoSession):
    """Does something wrong with the second chunk of one connection, once."""

    chunks = 0

    def on_receive(self, data: memoryview) -> None:
        self.received_bytes += len(data)
        if Once.chunks == 0 or self.is_it:
            self.is_it = True
            Once.chunks += 1
            self.on_chunk(Once.chunks, bytes(data))
        else:
            self.echo(data)

    is_it = False

    def on_chunk(self, number: int, data: bytes) -> None:
        """Echo, or not."""


class FlipsABit(Once):
    def on_chunk(self, number: int, data: bytes) -> None:
        if number == 2:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.echo(data)


class DropsAMessage(Once):
    """All of it but its end: if it is all that is under way, nothing else comes to show the gap.

    That end begins with another byte than what is expected there, so that it is noticed at once.
    """

    def on_chunk(self, number: int, data: bytes) -> None:
        if number == 2:
            data = data[len(data) // 2 :].lstrip(data[:1])
        if data:
            self.echo(data)


class SwapsTwo(Once):
    """The first two chunks: a client's first messages have more bytes than one receive."""

    first = b""

    def on_chunk(self, number: int, data: bytes) -> None:
        if number == 1:
            self.first = data
            return
        self.echo(data)
        if number == 2:
            self.echo(self.first)


class SendsTooMuch(Once):
    def on_chunk(self, number: int, data: bytes) -> None:
        self.echo(data + b"x" if number == 2 else data)


class SendsTooMuchAtTheEnd(EchoSession):
    """When the client, which has all its messages back, listens no more."""

    def on_eof(self) -> None:
        self.echo(b"x")
        self.close()


class BreaksOff(Once):
    def on_chunk(self, number: int, data: bytes) -> None:
        if number == 2:
            self.abort()
        else:
            self.echo(data)


class Leaks(EchoSession):
    """A handle for each connection."""

    kept: list[int] = []  # noqa: RUF012

    def on_connect(self) -> None:
        for _ in range(2):
            self.kept += os.pipe()


class EndsByItself(Once):
    def on_chunk(self, number: int, data: bytes) -> None:
        os._exit(7)


class Hangs(EchoSession):
    """When it shall end."""

    def on_close(self, error: OSError | None) -> None:
        super().on_close(error)
        if self.served.connections == PLAN.clients:
            threading.Thread(target=self.hang, daemon=True).start()

    def hang(self) -> None:
        demo_server.write = lambda _values: time.sleep(60)


def main() -> int:
    kind, *lifetime_s = sys.argv[1:]
    if lifetime_s:
        demo_server.main(float(lifetime_s[0]), globals()[kind])
        return 0
    client_load.FINISH_MAX_S = 2.0
    if kind == "Hangs":
        demo._SERVER_STOP_MAX_S = 1.5
    return demo.run_with(PLAN, [sys.executable, __file__, kind])


if __name__ == "__main__":
    sys.exit(main())
