"""What an idle connection costs in memory: private bytes of the server, with and without buffers.

    python3 benchmarks/idle.py
    python3 benchmarks/idle.py --connections 5000 --python 3.13

A server in a process of its own takes connections, echoes one message on each, and then lets
them be idle. What is counted is by how much its private bytes have grown since the first 200
connections, which pay for what there is once.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import sys
from dataclasses import dataclass

from server_process import ServerProcess
from servers.control import private_bytes

MODES = {"with a buffer": None, "zero-byte after 1 s": 1.0, "zero-byte": 0.0}
"""What the sessions have as ``zero_byte_after``."""

WARM_UP = 200
"""Connections before the first measurement."""

REQUIRED_BYTES = 4096
"""What an idle connection may take in zero-byte mode, above the session that the user made."""


@dataclass
class Idle:
    """What an idle connection takes."""

    private_bytes: float
    """By how many private bytes the server has grown for each."""
    users_bytes: int
    """How many of those are the user's own `Session` object."""


def serve(zero_byte_after: float | None) -> None:
    """Serve until standard input ends; each line of it asks for the figures, as JSON."""
    # Only this process runs on Windows.
    from pyiocp import CompletionPort, Session  # noqa: PLC0415

    class Echo(Session):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    Echo.zero_byte_after = zero_byte_after
    with CompletionPort() as port:

        def answer() -> None:
            for _ in sys.stdin:
                gc.collect()
                sessions = list(port.sessions)
                print(
                    json.dumps(
                        {
                            "sessions": len(sessions),
                            "private": private_bytes(),
                            "users": sys.getsizeof(sessions[0]),
                        }
                    ),
                    flush=True,
                )
            port.stop()

        listener = port.listen(("127.0.0.1", 0), Echo)
        print(json.dumps({"port": listener.address[1]}), flush=True)
        port.submit(answer)
        port.run(threads=1)


def measure(mode: str, connections: int, python: str | None) -> Idle:
    """Return what so many idle connections take, each."""
    peers: list[socket.socket] = []
    with ServerProcess(python, "idle.py", "--serve", mode) as server:
        try:
            address = ("127.0.0.1", int(server.first["port"]))
            connect(peers, address, WARM_UP)
            before = server.ask()
            connect(peers, address, connections)
            after = server.ask()
        finally:
            for peer in peers:
                peer.close()
    assert after["sessions"] - before["sessions"] == connections
    return Idle((after["private"] - before["private"]) / connections, after["users"])


def connect(peers: list[socket.socket], address: tuple[str, int], count: int) -> None:
    """Make connections, and have one message echoed on each; then all of them are idle."""
    for _ in range(count):
        peers.append(socket.create_connection(address, timeout=10))
        peers[-1].sendall(b"x" * 64)
    for peer in peers[-count:]:
        assert peer.recv(64, socket.MSG_WAITALL) == b"x" * 64
    # All modes get the time in which one of them switches.
    peers[-1].settimeout(3)
    try:
        peers[-1].recv(1)
    except TimeoutError:
        peers[-1].settimeout(10)


def main() -> int:
    """Print the figures as a table; exit 1 if zero-byte mode takes more than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    parser.add_argument("--serve", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(MODES[options.serve])
        return 0
    print("| mode | private bytes per idle connection |")
    print("| --- | ---: |")
    figures = {}
    for mode in MODES:
        figures[mode] = measure(mode, options.connections, options.python)
        print(f"| {mode} | {figures[mode].private_bytes:,.0f} |", flush=True)
    zero_byte = figures["zero-byte"]
    return 0 if zero_byte.private_bytes - zero_byte.users_bytes <= REQUIRED_BYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
