"""What tests of the asyncio loop share: protocols that write down what happens, and plain peers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from deadline import DEADLINE_S


class Log(asyncio.Protocol):
    """Writes its calls down, and lets tests wait for them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.error: BaseException | None = None
        self.transport: Any = None
        self.made = asyncio.Event()
        self.at_end = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport = transport
        self.made.set()

    def data_received(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.data += data

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        self.at_end.set()
        return None

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.error = exc
        self.lost.set()


class Echo(Log):
    """Sends back what comes."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110, it may be anything
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serving(
    factory: Callable[[], asyncio.BaseProtocol], **settings: Any
) -> AsyncIterator[asyncio.Server]:
    """Serve on the loopback."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, **settings)
    try:
        yield server
    finally:
        server.close()
        async with asyncio.timeout(DEADLINE_S):
            await server.wait_closed()


@contextlib.asynccontextmanager
async def visited(
    kind: Callable[[], Any] = Log, **settings: Any
) -> AsyncIterator[tuple[Any, socket.socket]]:
    """Give the protocol of a server's one client, and the client: a plain socket."""
    made: list[Any] = []

    def factory() -> Any:
        made.append(kind())
        return made[-1]

    async with serving(factory, **settings) as server:
        with await asyncio.to_thread(visit, server) as peer:
            await eventually(lambda: made and made[0].made.is_set())
            yield made[0], peer
        await asyncio.wait_for(made[0].lost.wait(), DEADLINE_S)


def visit(server: asyncio.Server) -> socket.socket:
    """Return a plain socket, connected to a server."""
    peer = socket.create_connection(server.sockets[0].getsockname()[:2], timeout=DEADLINE_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer
