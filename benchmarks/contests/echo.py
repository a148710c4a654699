"""Echo: connections in a closed loop, each with some messages under way."""

from __future__ import annotations

from functools import partial

from clients import measure_server
from contest import Contest, Figure, Options

SERVERS = (
    "floor",
    "pyiocp",
    "operations",
    "aio_protocol",
    "aio_streams",
    "asyncio_protocol",
    "asyncio_streams",
    "asyncio_selector",
    "winloop_protocol",
    "twisted_iocp",
    "gevent_server",
    "pywin32_iocp",
    "trio_server",
)

FIGURES = (
    Figure("per_s", "messages/s"),
    Figure("p50_ms", "p50 ms", ".1f"),
    Figure("p99_ms", "p99 ms", ".1f"),
    Figure("p999_ms", "p99.9 ms", ".1f"),
    Figure("slowest_share", "slowest / mean", ".2f"),
    Figure("user_us", "user µs/message", ".1f"),
    Figure("system_us", "system µs/message", ".1f"),
    Figure("private_mb", "private MB", ".0f"),
)

LOADS = {
    "echo-1": (1, 64, 1),
    "echo-1-deep": (1, 64, 16),
    "echo-100": (100, 64, 1),
    "echo-100-deep": (100, 64, 16),
    "echo-large": (16, 65536, 1),
    "echo-1000": (1000, 64, 1),
    "echo-1000-deep": (1000, 64, 16),
    "echo-5000": (5000, 64, 1),
    "echo-5000-deep": (5000, 64, 16),
}
"""Connections, bytes a message, and messages under way on each connection."""


def measure(
    connections: int, size: int, depth: int, server_name: str, options: Options
) -> dict[str, float]:
    """Put a load on a server."""
    found = measure_server(server_name, "echo", "echo", options, connections, size, depth)
    found["private_mb"] = found["private_bytes"] / 1e6
    return found


def contest(name: str, connections: int, size: int, depth: int) -> Contest:
    """Return the contest with such a load."""
    title = f"Echo, {connections:,} x {size:,} B, depth {depth}"
    return Contest(name, title, SERVERS, partial(measure, connections, size, depth), FIGURES)


CONTESTS = [contest(name, *load) for name, load in LOADS.items()]
