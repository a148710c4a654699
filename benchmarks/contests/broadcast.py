"""Broadcast: what one connection sends goes to all, as a game server's tick does."""

from __future__ import annotations

from clients import measure_server
from contest import Contest, Figure, Options

SERVERS = (
    "floor",
    "pyiocp",
    "aio_protocol",
    "asyncio_protocol",
    "asyncio_selector",
    "winloop_protocol",
    "twisted_iocp",
)

SESSIONS, SIZE, HZ = 500, 256, 20


def measure(server_name: str, options: Options) -> dict[str, float]:
    """Put the load on a server."""
    return measure_server(server_name, "broadcast", "broadcast", options, SESSIONS, SIZE, HZ)


CONTEST = Contest(
    "broadcast",
    f"Broadcast of {SIZE} B to {SESSIONS} sessions at {HZ} Hz",
    SERVERS,
    measure,
    (
        Figure("p99_ms", "arrival p99 ms", ".1f"),
        Figure("p50_ms", "p50 ms", ".1f"),
        Figure("p999_ms", "p99.9 ms", ".1f"),
        Figure("share", "arrived in time", ".2f"),
        Figure("user_us", "user µs/delivery", ".1f"),
        Figure("system_us", "system µs/delivery", ".1f"),
    ),
    more_is_better=False,
)
