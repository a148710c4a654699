"""Clients: the programs in C that put a load on a server, and what they find.

They run on the host, where a system call is cheap, so that the server is what is measured.
"""

from __future__ import annotations

import json
import subprocess
import threading
from typing import TYPE_CHECKING

from programs import client_program
from server_process import ServerError, ServerProcess, serving

if TYPE_CHECKING:
    from contest import Options

CLIENT_MAX_S = 150.0
"""Seconds that a client gets besides those that are counted: 5,000 connections take a minute to
make. One whose server serves others only would never come to an end."""


def put_load_on(server: ServerProcess, client: str, *numbers: float) -> dict[str, float]:
    """Run a client against a server; return its figures, and what they cost the server.

    ``user_us`` and ``system_us`` are CPU time per count, for the time that was counted only.
    """
    process = subprocess.Popen(
        [client_program(client), str(server.first["port"]), *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(CLIENT_MAX_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        process.stdout.readline()  # "counting"
        before = server.ask()
        result = process.stdout.readline()
        after = server.ask()
        _, errors = process.communicate()
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if not result:
        killed = process.returncode < 0
        end = f"was not done in {CLIENT_MAX_S:.0f} s" if killed else "ended without a word"
        told = errors.strip() or f"the client {client} {end}"
        last_words = server.last_words_if_ended()
        raise ServerError(f"{told}; the server has ended: {last_words}" if last_words else told)
    figures: dict[str, float] = json.loads(result)
    for key in ("user", "system"):
        taken_s = after[f"{key}_s"] - before[f"{key}_s"]
        figures[f"{key}_us"] = taken_s * 1e6 / figures["count"] if figures["count"] else 0.0
    figures["private_bytes"] = after["private_bytes"]
    return figures


def measure_server(
    name: str, role: str, client: str, options: Options, *numbers: float, file: str = ""
) -> dict[str, float]:
    """Start a server and run a client against it, for as long as the options say.

    numbers: what the client takes between the port and the times. file: what is served.
    """
    with serving(name, role, options.python, file) as server:
        return put_load_on(server, client, *numbers, options.warm_up, options.seconds)
