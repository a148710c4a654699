"""A storm of connections: every one is to be accounted for, and nothing to stay behind.

    python3 benchmarks/storm.py
    python3 benchmarks/storm.py --connections 20000 --python 3.13t --threads 2

Clients connect and go away again, 16 at a time: half of them at once, half after an echo; a
third of them with a reset. The server then has to have heard of each, once, and to hold nothing
that it did not hold before.
"""

from __future__ import annotations

import argparse
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from server_process import ServerProcess

CLIENTS_AT_A_TIME = 16
WARM_UP = 200
"""Connections before anything is counted: they pay for what there is once."""

SETTLE_MAX_S = 30.0
FRAME = b"x" * 64
LINGER_0 = struct.pack("HH" if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else "ii", 1, 0)
"""A LINGER of 0 seconds: closing sends an RST."""


def come_and_go(port: int, number: int) -> None:
    """Be one client."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        if number % 2:
            client.sendall(FRAME)
            assert client.recv(len(FRAME), socket.MSG_WAITALL) == FRAME
        if number % 3 == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)


def resets_of(connections: int) -> int:
    """Return how many of so many clients reset their connection."""
    return len(range(0, connections, 3))


def settled(server: ServerProcess, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until something holds, or for half a minute; return the last figures."""
    until = time.monotonic() + SETTLE_MAX_S
    while not holds(figures := server.ask("figures")) and time.monotonic() < until:
        time.sleep(0.05)  # for the server to see to what has come; bounded above
    return figures


def measure(connections: int, python: str | None = None, threads: int = 1) -> dict[str, Any]:
    """Return the server's figures after so many connections, less those before.

    "seconds" is how long the clients took; "handles" and "in flight" tell how much more there
    is than before.
    """
    with ServerProcess(python, "observed.py", "--threads", str(threads)) as server:
        before = storm(server, WARM_UP)
        begun = time.monotonic()
        after = storm(server, connections)
        counted = ("accepted", "failed", "made", "ended", "handles")
        after |= {name: after[name] - before[name] for name in counted}
        for name in ("ends", "in flight"):
            after[name] = dict(Counter(after[name]) - Counter(before[name]))
        return after | {"seconds": after.pop("at") - begun}


def storm(server: ServerProcess, connections: int) -> dict[str, Any]:
    """Let so many clients come and go; return the figures when the last one is gone."""
    before = server.ask("figures")
    there = before["accepted"] + before["failed"] + connections
    with ThreadPoolExecutor(CLIENTS_AT_A_TIME) as clients:
        port = int(server.first["port"])
        for _ in clients.map(lambda n: come_and_go(port, n), range(connections)):
            pass
    at = time.monotonic()
    settled(server, lambda now: now["accepted"] + now["failed"] >= there and not now["open"])
    return server.ask("handles") | {"at": at}


def main() -> int:
    """Print the sum; exit 1 if it does not come out even."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1, help="workers of the server")
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    options = parser.parse_args()
    sums = measure(options.connections, options.python, options.threads)
    for name, value in sums.items():
        print(f"{name:>14}: {value}")
    even = sums["accepted"] + sums["failed"] == options.connections == sums["ended"]
    return 0 if even and not sums["open"] and not sums["ended again"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
