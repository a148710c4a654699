"""Download: a large file to whoever connects."""

from __future__ import annotations

import tempfile
from pathlib import Path

from clients import measure_server
from contest import Contest, Figure, Options

SERVERS = ("pyiocp", "asyncio_protocol", "asyncio_selector", "twisted_iocp")

MEGABYTES, CONNECTIONS = 64, 4


def measure(server_name: str, options: Options) -> dict[str, float]:
    """Put the load on a server."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "large")
        file.write_bytes(bytes(MEGABYTES * 1_000_000))
        return measure_server(
            server_name, "download", "download", options, CONNECTIONS, file=str(file)
        )


CONTEST = Contest(
    "download",
    f"A file of {MEGABYTES} MB, {CONNECTIONS} downloads at a time",
    SERVERS,
    measure,
    (
        Figure("per_s", "MB/s"),
        Figure("p50_ms", "p50 of a download, ms"),
        Figure("user_us", "user µs/MB"),
        Figure("system_us", "system µs/MB"),
    ),
)
