"""asyncio's servers: a Protocol a connection, on the ProactorEventLoop.

Other event loops run the same protocols: see `asyncio_selector` and `winloop_protocol`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .control import Control

Loop = Callable[[], asyncio.AbstractEventLoop]


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class Player(asyncio.Protocol):
    """Sends what comes to all."""

    def __init__(self, players: set[Any]) -> None:
        self.players = players

    def connection_made(self, transport: Any) -> None:
        """Join."""
        self.transport = transport
        self.players.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Leave."""
        self.players.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        """Send it to all."""
        for transport in self.players:
            transport.write(data)


class DatagramEcho(asyncio.DatagramProtocol):
    """Sends back what comes, to where it came from."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, address)


def _serve(control: Control, protocol: Callable[[], asyncio.Protocol], new_loop: Loop) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=4096)
        control.ready(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    new_loop().run_until_complete(main())


def serve_echo(control: Control, new_loop: Loop = asyncio.new_event_loop) -> None:
    """Send back what comes."""
    _serve(control, Echo, new_loop)


def serve_broadcast(control: Control, new_loop: Loop = asyncio.new_event_loop) -> None:
    """Send what comes on one connection to all."""
    players: set[Any] = set()
    _serve(control, lambda: Player(players), new_loop)


def serve_datagrams(control: Control, new_loop: Loop = asyncio.new_event_loop) -> None:
    """Send back what comes, to where it came from."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        address = ("127.0.0.1", 0)
        transport, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=address)
        control.ready(transport.get_extra_info("sockname")[1])
        await asyncio.Event().wait()

    new_loop().run_until_complete(main())


def serve_download(control: Control, new_loop: Loop = asyncio.new_event_loop) -> None:
    """Send a file, and close."""
    tasks: set[asyncio.Task[None]] = set()

    class Download(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            task = asyncio.get_running_loop().create_task(self.send(transport))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async def send(self, transport: Any) -> None:
            with Path(control.file).open("rb") as file:  # noqa: ASYNC230, as sendfile wants it
                await asyncio.get_running_loop().sendfile(transport, file)
            transport.close()

    _serve(control, Download, new_loop)
