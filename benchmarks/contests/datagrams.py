"""UDP echo: sockets in a closed loop."""

from __future__ import annotations

from clients import measure_server
from contest import Contest, Figure, Options

SERVERS = (
    "floor",
    "pyiocp",
    "operations",
    "aio_protocol",
    "asyncio_protocol",
    "asyncio_selector",
    "winloop_protocol",
    "twisted_iocp",
)

SOCKETS, SIZE, DEPTH = 100, 64, 1


def measure(server_name: str, options: Options) -> dict[str, float]:
    """Put the load on a server."""
    return measure_server(server_name, "datagrams", "datagrams", options, SOCKETS, SIZE, DEPTH)


CONTEST = Contest(
    "datagrams",
    f"UDP echo, {SOCKETS} sockets x {SIZE} B",
    SERVERS,
    measure,
    (
        Figure("per_s", "datagrams/s"),
        Figure("p50_ms", "p50 ms", ".1f"),
        Figure("p99_ms", "p99 ms", ".1f"),
        Figure("lost", "lost"),
        Figure("user_us", "user µs/datagram", ".1f"),
        Figure("system_us", "system µs/datagram", ".1f"),
    ),
)
