"""Broadcast: what one connection sends goes to all, as a game server's tick does."""

from __future__ import annotations

from functools import partial

from clients import put_load_on
from contest import Contest, Figure, Options
from server_process import serving

SERVERS = (
    "floor",
    "pyiocp",
    "asyncio_protocol",
    "asyncio_selector",
    "winloop_protocol",
    "twisted_iocp",
)

SESSIONS, SIZE, HZ = 500, 256, 20


def measure(sessions: int, server_name: str, options: Options) -> dict[str, float]:
    """Put the load on a server."""
    with serving(server_name, "broadcast", options.python) as server:
        return put_load_on(
            server, "broadcast", sessions, SIZE, HZ, options.warm_up, options.seconds
        )


CONTEST = Contest(
    "broadcast",
    f"Broadcast of {SIZE} B to {SESSIONS} sessions at {HZ} Hz",
    SERVERS,
    partial(measure, SESSIONS),
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
