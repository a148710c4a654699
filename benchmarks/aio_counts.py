"""What asyncio takes for a message: bytecodes, Python calls and C calls in the server, exactly.

    python3 run.py python benchmarks/aio_counts.py [--loop stock]

A hundred clients send a message each; when all of them have come, the loop runs until all are
answered. Only the loop's thread is counted (``counts.py``), so the clients are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import counts

from pyiocp import aio

CLIENTS = 100
VISITORS = 10
MESSAGE = b"x" * 64
SETTLING_S = 0.1
"""Long enough for all to have come, so that each turn finds the same."""


class Tally:
    """Stops a loop when so many messages have been answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.left = 0

    def answered(self) -> None:
        """Count one."""
        self.left -= 1
        if not self.left:
            self._loop.stop()


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self._transport.write(data)
        self._tally.answered()


class BufferedEcho(asyncio.BufferedProtocol):
    """The same, from a buffer of its own."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._buffer = bytearray(1 << 16)

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        """Always the same."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Send it back."""
        self._transport.write(self._buffer[:nbytes])
        self._tally.answered()


def streams_echo(tally: Tally) -> asyncio.Protocol:
    """Return the same, by streams."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
            tally.answered()

    reader = asyncio.StreamReader()
    return asyncio.StreamReaderProtocol(reader, serve)


class Visitors:
    """Clients that connect, send a message and end their side, in a thread that is not counted."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._wanted, self._there = threading.Lock(), threading.Lock()
        self._wanted.acquire()
        self._there.acquire()
        self._over = False
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def come(self) -> None:
        """Return when all of them have done all that they do. Two C calls."""
        self._wanted.release()
        self._there.acquire()

    def _work(self) -> None:
        while True:
            self._wanted.acquire()
            if self._over:
                return
            peers = [socket.create_connection(self._address) for _ in range(VISITORS)]
            for peer in peers:
                peer.sendall(MESSAGE)
                peer.shutdown(socket.SHUT_WR)
            time.sleep(SETTLING_S)
            self._there.release()
            for peer in peers:
                while peer.recv(100):
                    pass
                peer.close()

    def close(self) -> None:
        """End the thread."""
        self._over = True
        self._wanted.release()
        self._thread.join()


class Clients:
    """Plain sockets, in a thread of their own, which is not counted."""

    def __init__(self, address: Any) -> None:
        self._peers = [socket.create_connection(address) for _ in range(CLIENTS)]
        self._wanted, self._sent = threading.Lock(), threading.Lock()
        self._wanted.acquire()
        self._sent.acquire()
        self._over = False
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def send(self) -> None:
        """Return when a message from each has come. Two C calls, as the caller is counted."""
        self._wanted.release()
        self._sent.acquire()

    def _work(self) -> None:
        while True:
            self._wanted.acquire()
            if self._over:
                return
            for peer in self._peers:
                peer.sendall(MESSAGE)
            time.sleep(SETTLING_S)
            self._sent.release()
            for peer in self._peers:
                left = len(MESSAGE)
                while left:
                    left -= len(peer.recv(left))

    def close(self) -> None:
        """End the thread and the connections."""
        self._over = True
        self._wanted.release()
        self._thread.join()
        for peer in self._peers:
            peer.close()


def count_messages(loop: Any, protocol: Callable[[Tally], Any]) -> counts.Counts:
    """Return what a message takes."""
    tally = Tally(loop)
    made = loop.create_server(lambda: protocol(tally), "127.0.0.1", 0)
    server = loop.run_until_complete(made)
    clients = Clients(server.sockets[0].getsockname())
    loop.run_until_complete(asyncio.sleep(0.2))

    def turn() -> None:
        tally.left = CLIENTS
        clients.send()
        loop.run_forever()

    try:
        return counts.count(turn).per(CLIENTS)
    finally:
        clients.close()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.2))


class Closing(asyncio.Protocol):
    """Answers; the client ends the connection."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it."""
        self._tally.answered()


def count_connections(loop: Any) -> counts.Counts:
    """Return what a connection takes: accept, one message, the ends of both sides."""
    tally = Tally(loop)
    made = loop.create_server(lambda: Closing(tally), "127.0.0.1", 0)
    server = loop.run_until_complete(made)
    address = server.sockets[0].getsockname()
    visitors = Visitors(address)

    def turn() -> None:
        tally.left = VISITORS
        visitors.come()
        loop.run_forever()

    try:
        return counts.count(turn).per(VISITORS)
    finally:
        visitors.close()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.2))


CASES: dict[str, Callable[[Any], counts.Counts]] = {
    "echo by a Protocol": lambda loop: count_messages(loop, Echo),
    "echo by a BufferedProtocol": lambda loop: count_messages(loop, BufferedEcho),
    "echo by streams": lambda loop: count_messages(loop, streams_echo),
    "connection: accept, echo, both ends": count_connections,
}


def main() -> None:
    """Print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("pyiocp", "stock"), default="pyiocp")
    stock = parser.parse_args().loop == "stock"
    found = {}
    for name, case in CASES.items():
        loop: Any = asyncio.ProactorEventLoop() if stock else aio.new_event_loop()
        asyncio.set_event_loop(loop)
        found[name] = case(loop)._asdict()
        loop.close()
    print(json.dumps(found, indent=4))


if __name__ == "__main__":
    main()
