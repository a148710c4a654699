"""What attacks a monitor: a program of its own, until its standard input ends.

    python monitor_attacker.py KIND ADDRESS

KIND is a name of `ATTACKS`, ADDRESS the path of a pipe or HOST:PORT. It prints "under way" once
all of its threads have begun, and goes on, whatever the server does to it.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

THREADS = 16


def connect(address: str) -> Any:
    """Return a file to talk through."""
    if address.startswith("\\\\"):
        return open(address, "r+b", buffering=0)  # noqa: PTH123, a pipe's
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as made:
        return made.makefile("rwb", buffering=0)


def flood(address: str) -> None:
    """Ask 21,000 questions in 63 KB."""
    with connect(address) as file:
        file.write(b"{}\n" * 21_000)
        file.read(1)


def malformed(address: str) -> None:
    """Ask what takes a deep recursion."""
    with connect(address) as file:
        file.write(b"[" * 1000 + b"\n")
        file.read(1000)


def eager(address: str) -> None:
    """Ask again as soon as there is an answer."""
    with connect(address) as file:
        for _ in range(1000):
            file.write(b'{"slowest": 100}\n')
            if not file.readline():
                return


def silent(address: str) -> None:
    """Connect and say nothing."""
    with connect(address) as file:
        file.read(1)


def hasty(address: str) -> None:
    """Connect and leave."""
    connect(address).close()


ATTACKS: dict[str, Callable[[str], None]] = {
    attack.__name__: attack for attack in (flood, malformed, eager, silent, hasty)
}


def main(kind: str, address: str) -> None:
    """Attack until standard input ends."""
    begun = threading.Semaphore(0)

    def attack() -> None:
        begun.release()
        while True:
            try:
                ATTACKS[kind](address)
            except OSError:  # no room, or thrown out
                time.sleep(0.001)

    for _ in range(THREADS):
        threading.Thread(target=attack, daemon=True).start()
    for _ in range(THREADS):
        begun.acquire()
    print("under way", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
