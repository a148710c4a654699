"""Several loops accept from one listening socket, as the workers of a web server do."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from aio_peers import Echo, eventually
from deadline import DEADLINE_S
from journal import receive_all

from pyiocp import aio


class Worker:
    """A loop in a thread, which serves a duplicate of a listening socket."""

    def __init__(self, listening: socket.socket) -> None:
        self._sock = listening.dup()
        self._ready = threading.Event()
        self.protocols: list[Echo] = []
        self._thread = threading.Thread(target=aio.run, args=(self._main(),))
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    def _make(self) -> Echo:
        self.protocols.append(Echo())
        return self.protocols[-1]

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await self._loop.create_server(self._make, sock=self._sock)
        self._ready.set()
        await self._over.wait()
        server.close()
        await eventually(lambda: all(protocol.lost.is_set() for protocol in self.protocols))

    def end(self) -> None:
        """End the loop and the thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


def visit(address: Any, times: int) -> None:
    """Have so many connections at a time, each with an answer."""
    peers = [socket.create_connection(address, DEADLINE_S) for _ in range(times)]
    for number, peer in enumerate(peers):
        peer.sendall(b"%04d" % number)
    for number, peer in enumerate(peers):
        assert receive_all(peer, 4) == b"%04d" % number
        peer.close()


def test_loops_share_a_listening_socket() -> None:
    """The second one, whose socket is on the first one's port, serves as well; and alone too."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        first, second = Worker(listening), Worker(listening)
        address = listening.getsockname()
    try:
        visit(address, 60)
        counts = [len(worker.protocols) for worker in (first, second)]
        assert sum(counts) == 60
        assert min(counts) > 0
    finally:
        first.end()
    try:
        visit(address, 10)
        assert len(second.protocols) == counts[1] + 10
    finally:
        second.end()
