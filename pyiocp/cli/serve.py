"""Serve on an address, for any client, until Ctrl-C.

examples:
  python -m pyiocp serve echo --address 127.0.0.1:9000
  python -m pyiocp serve echo --address [::1]:9000
  python -m pyiocp serve echo --address 127.0.0.1:0      (the system chooses the port)
  python -m pyiocp serve echo --monitor           (and python -m pyiocp monitor PROCESS)

Then, from another terminal:  nc 127.0.0.1 9000
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress

from ..handles.sockets.address_text import show_address
from ..port import CompletionPort
from ..servers.tcp.session import Session
from .address import parse_address
from .echo import EchoSession, Served
from .wording import counted, reason

HELP = "serve on an address, for nc or any other client"

_BY_PIPE = ()
"""What `--monitor` without an address is."""

_END_S = 3.0
"""Seconds that connections get, after Ctrl-C, to take what is left and to close."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("what", choices=["echo"], help="echo: send back what comes")
    parser.add_argument(
        "--address",
        type=parse_address,
        default=("127.0.0.1", 9000),
        metavar="HOST:PORT",
        help="where to listen; [HOST]:PORT for IPv6, port 0 for any (default: 127.0.0.1:9000)",
    )
    parser.add_argument(
        "--monitor",
        type=parse_address,
        nargs="?",
        const=_BY_PIPE,
        metavar="HOST:PORT",
        help="let `python -m pyiocp monitor` look at it: by a pipe for this user; or, at an address"
        " of the loopback, whoever is on this machine",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C; 0, or 1 if it cannot listen."""
    served = Served()
    with CompletionPort() as port:
        try:
            listener = port.listen(options.address, lambda: EchoSession(served))
        except OSError as error:
            print(
                f"pyiocp: error: cannot listen at {show_address(options.address)}: {reason(error)}",
                file=sys.stderr,
            )
            return 1
        if options.monitor is not None:
            try:
                monitor = port.monitor(options.monitor or None)
            except (OSError, ValueError) as error:
                where = show_address(options.monitor or "a pipe of this process")
                print(f"pyiocp: error: no monitor at {where}: {reason(error)}", file=sys.stderr)
                return 1
            print(f"monitor at {show_address(monitor.address)}", flush=True)
        print(f"listening at {show_address(listener.address)}; Ctrl-C ends", flush=True)
        started = time.monotonic()
        with suppress(KeyboardInterrupt):
            port.run()
        seconds = time.monotonic() - started
        listener.close()
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: stop waiting
            close_sessions(port, listener.sessions)
        aborted = len(port.sessions)
    show_served(served, seconds, aborted)
    return 0


def close_sessions(port: CompletionPort, sessions: set[Session]) -> None:
    """Close sessions in order, and wait a short while until they have."""
    for session in sessions:
        session.close_timeout = _END_S
        session.close()
    deadline = time.monotonic() + _END_S
    while port.sessions and time.monotonic() < deadline:
        port.wait(0.05)


def show_served(served: Served, seconds: float, aborted: int) -> None:
    """Print the summary."""
    print(
        f"served {counted(served.connections, 'connection')} in {seconds:.1f} s:"
        f" {served.received_bytes:,} bytes came, {served.sent_bytes:,} bytes went back",
        flush=True,
    )
    if aborted:
        print(f"{counted(aborted, 'connection')} aborted: the other side did not close", flush=True)
    failed = len(served.errors) - aborted
    if failed > 0:
        print(f"{counted(failed, 'connection')} broken off, the last: {served.errors[-1]}")
