"""Churn: connections that come, have one echo, and go."""

from __future__ import annotations

from clients import measure_server
from contest import Contest, Figure, Options

from .echo import SERVERS

CONNECTIONS, SIZE = 32, 64


def measure(server_name: str, options: Options) -> dict[str, float]:
    """Put the load on a server."""
    return measure_server(server_name, "echo", "churn", options, CONNECTIONS, SIZE)


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
