"""Churn: connections that come, have one echo, and go."""

from __future__ import annotations

from clients import put_load_on
from contest import Contest, Figure, Options
from server_process import serving

from .echo import SERVERS

CONNECTIONS, SIZE = 32, 64


def measure(server_name: str, options: Options) -> dict[str, float]:
    """Put the load on a server."""
    with serving(server_name, "echo", options.python) as server:
        return put_load_on(server, "churn", CONNECTIONS, SIZE, options.warm_up, options.seconds)


CONTEST = Contest(
    "churn",
    f"Connections that come and go, {CONNECTIONS} at a time, one echo of {SIZE} B each",
    SERVERS,
    measure,
    (
        Figure("per_s", "connections/s"),
        Figure("p50_ms", "p50 ms", ".1f"),
        Figure("p99_ms", "p99 ms", ".1f"),
        Figure("user_us", "user µs/connection", ".0f"),
        Figure("system_us", "system µs/connection", ".0f"),
    ),
)
