"""A load generator for any echo server: connections in a closed loop.

Each connection keeps `depth` messages under way and sends one more for each that comes
back. It runs on the host, where it is cheap, so that the server is what is measured.

What belongs here: making load and counting. Which servers are loaded is in ``echo.py``.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from dataclasses import dataclass

FIRST_ECHO_MAX_S = 60.0


@dataclass(frozen=True)
class Load:
    """What every server is put under."""

    connections: int
    size: int
    depth: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.size} B, depth {self.depth}"


@dataclass
class Result:
    """What came of it."""

    messages_per_s: float
    p50_ms: float
    p99_ms: float
    slowest_share: float
    """The messages of the slowest connection over the mean of all."""


class _Connection:
    """One client: counts echoes, and times one message at a time."""

    def __init__(self, address: tuple[str, int], load: Load) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.load = load
        self.message = b"x" * load.size
        self.unsent = b""
        self.received = 0
        self.timed_at = 0.0
        self.timed_until = 0

    def start(self) -> None:
        """Send the first messages."""
        self._send(self.message * self.load.depth)

    def on_ready(self, now: float, latencies: list[float]) -> int:
        """Take what came and answer it; return how many messages are complete."""
        try:
            data = self.socket.recv(262144)
        except BlockingIOError:
            data = b""
        else:
            if not data:
                raise ConnectionError("the server closed a connection")
        before = self.received // self.load.size
        self.received += len(data)
        complete = self.received // self.load.size - before
        if self.received >= self.timed_until:
            if self.timed_at:
                latencies.append(now - self.timed_at)
            self.timed_at = now
            self.timed_until = self.received + self.load.size * self.load.depth
        self._send(self.message * complete)
        return complete

    def _send(self, data: bytes) -> None:
        self.unsent += data
        if self.unsent:
            try:
                sent = self.socket.send(self.unsent)
            except BlockingIOError:
                return
            self.unsent = self.unsent[sent:]


def measure(address: tuple[str, int], load: Load, warm_up_s: float, seconds: float) -> Result:
    """Put `load` on the server at `address`, and count for `seconds` after the warm-up.

    The warm-up begins when every connection has had its first echo: until then the server
    is still accepting.
    """
    connections = [_Connection(address, load) for _ in range(load.connections)]
    latencies: list[float] = []
    counts = dict.fromkeys(connections, 0)
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.start()
        silent = set(connections)
        started = float("inf")
        now, counting = time.perf_counter(), False
        give_up = now + FIRST_ECHO_MAX_S
        while now < started + seconds:
            for key, _ in selector.select(0.1):
                complete = key.data.on_ready(time.perf_counter(), latencies)
                counts[key.data] += complete
                if complete:
                    silent.discard(key.data)
            for connection in connections:
                if connection.unsent:
                    connection._send(b"")
            now = time.perf_counter()
            if silent and now > give_up:
                raise TimeoutError(f"{len(silent)} of {len(connections)} connections had no echo")
            if not silent and started == float("inf"):
                started = now + warm_up_s
            if not counting and now >= started:
                counting, started = True, now
                counts = dict.fromkeys(connections, 0)
                latencies.clear()
    for connection in connections:
        connection.socket.close()
    total = sum(counts.values())
    quantiles = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    return Result(
        messages_per_s=total / (now - started),
        p50_ms=quantiles[49] * 1000,
        p99_ms=quantiles[98] * 1000,
        slowest_share=min(counts.values()) * len(counts) / total if total else 0.0,
    )
