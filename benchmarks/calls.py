"""What Python does per operation, in numbers and in nanoseconds: the kernel returns at once.

    python3 run.py bench calls
    python3 run.py bench calls --counts
    python3 run.py bench calls --cases echo --rounds 9
    python3 run.py bench calls --growth

The system calls of the hot path are replaced by functions in C that do nothing but what their
callers see (``instant.c``), called through ctypes as usual. What is left is the library's own
work, which decides on Windows, where a system call costs a few microseconds.

Each case is measured in rounds, all of them by turns, by the CPU time of the process: so other
load on the machine matters little. The smallest is what to compare; the median says how far to
trust it.

Beside the times stand the numbers of bytecodes, Python calls and C calls that one operation takes
(``counts.py``), counted in a process of its own. These are exact. With ``--counts`` there are only
these.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import counts
from instant_kernel import (
    InstantKernel,
    make_datagram,
    make_datagram_server,
    make_listener,
    make_session,
    make_stream,
)
from programs import instant_program

from pyiocp import CompletionPort, DatagramSession, Session

ROOT = Path(__file__).resolve().parents[1]

CONNECTIONS = 100
SIZE = 64
GROWTH = (1, 10, 100, 1000, 5000)

Turn = Callable[[], object]
"""Does a number of operations, and may be called again and again."""


class Echo(Session):
    """Sends back what it receives."""

    receive_size = 1024  # of 65,536 bytes, 10,000 of them would not leave this machine its memory

    def on_receive(self, data: memoryview) -> None:
        """Do so."""
        self.send(data)


class DatagramEcho(DatagramSession):
    """Sends back what it receives."""

    def on_receive(self, data: memoryview) -> None:
        """Do so."""
        self.send(data)


class Case(NamedTuple):
    """Something to measure: `make` returns what does `operations` of them at each call."""

    operations: int
    make: Callable[[CompletionPort], Turn]
    receives_on_the_spot: bool = False
    sends_on_the_spot: bool = False


def bare_call(port: CompletionPort) -> Turn:
    """Call a function as a port does a system call, and nothing else."""
    operation = make_stream(port).receive_operation(bytearray(SIZE))
    function, arguments = port.kernel.WSARecv, operation._arguments

    def turn() -> None:
        function(*arguments)

    return turn


def receive(count: int) -> Callable[[CompletionPort], Turn]:
    """Post `count` receives, and wait for them."""

    def make(port: CompletionPort) -> Turn:
        streams = [make_stream(port) for _ in range(count)]
        operations = [stream.receive_operation(bytearray(SIZE)) for stream in streams]

        def turn() -> None:
            for operation in operations:
                operation.post()
            assert len(port.wait(limit=count)) == count

        return turn

    return make


def new_receive(port: CompletionPort) -> Turn:
    """Make a receive, which is not used again, post it and wait for it."""
    stream, buffer = make_stream(port), bytearray(SIZE)

    def turn() -> None:
        stream.receive(buffer)
        port.wait()

    return turn


def serve(port: CompletionPort) -> Turn:
    """Serve what has come, once, as a worker does."""
    queue = port._queue
    poller = queue.poller()

    def turn() -> None:
        poller.gather(None)
        queue.dispatch([], sys.maxsize)

    return turn


def echo(count: int) -> Callable[[CompletionPort], Turn]:
    """Serve `count` sessions one message each."""

    def make(port: CompletionPort) -> Turn:
        for _ in range(count):
            make_session(port, Echo)
        return serve(port)

    return make


def connections(count: int) -> Callable[[CompletionPort], Turn]:
    """Accept `count` clients, serve as many one message each, and see as many reset theirs."""

    def make(port: CompletionPort) -> Turn:
        make_listener(port, Echo, count)
        return serve(port)

    return make


def broadcast(count: int) -> Callable[[CompletionPort], Turn]:
    """Send the same 256 bytes to `count` sessions."""

    def make(port: CompletionPort) -> Turn:
        sessions = [make_session(port, Session) for _ in range(count)]
        data = bytes(256)

        def turn() -> None:
            port.broadcast(sessions, data)

        return turn

    return make


def receive_datagram(port: CompletionPort) -> Turn:
    """Receive a datagram with an operation that is used again."""
    operation = make_datagram(port).receive_operation(bytearray(SIZE))

    def turn() -> None:
        operation.post()
        port.wait()

    return turn


def send_datagram(port: CompletionPort) -> Turn:
    """Send a datagram, and wait until it is gone."""
    datagram, data = make_datagram(port), bytes(SIZE)

    def turn() -> None:
        datagram.send_to(data, ("127.0.0.1", 9))
        port.wait()

    return turn


def send_datagram_at_once(port: CompletionPort) -> Turn:
    """Send a datagram that the system takes on the spot."""
    datagram, data = make_datagram(port), bytes(SIZE)

    def turn() -> None:
        datagram.try_send_to(data, ("127.0.0.1", 9))

    return turn


def echo_datagrams(port: CompletionPort) -> Turn:
    """Serve 64 datagrams of one peer: a round for them, and one for the look if more have come."""
    make_datagram_server(port, DatagramEcho)
    round_of_port = serve(port)

    def turn() -> None:
        round_of_port()
        round_of_port()

    return turn


def nothing() -> None:
    """What is called later, and soon."""


def fire_timer(port: CompletionPort) -> Turn:
    """Set 64 timers that are due at once, and have them called."""
    served = serve(port)

    def turn() -> None:
        for _ in range(64):
            port.call_later(0.0, nothing)
        served()

    return turn


def cancel_timer(port: CompletionPort) -> Turn:
    """Set 64 timers among 1,000 others, and cancel them."""
    for n in range(1000):
        port.call_later(1000 + n, nothing)

    def turn() -> None:
        for timer in [port.call_later(500.0, nothing) for _ in range(64)]:
            timer.cancel()
        port._queue.timers.next_due()

    return turn


def call_soon(port: CompletionPort) -> Turn:
    """Have 64 functions called."""
    served = serve(port)

    def turn() -> None:
        for _ in range(64):
            port.call_soon(nothing)
        served()

    return turn


def post(port: CompletionPort) -> Turn:
    """Post 64 packets of one's own, and wait for them."""

    def turn() -> None:
        for _ in range(64):
            port.post(None)
        port.wait()

    return turn


CASES = {
    "a system call alone": Case(1, bare_call, receives_on_the_spot=True),
    "receive, by packet, one at a time": Case(1, receive(1)),
    "receive, by packet, 64 at a time": Case(64, receive(64)),
    "receive, on the spot, 64 at a time": Case(64, receive(64), receives_on_the_spot=True),
    "receive with a new operation": Case(1, new_receive),
    "post": Case(64, post),
    "echo by a session, one connection": Case(1, echo(1), sends_on_the_spot=True),
    "echo by sessions": Case(CONNECTIONS, echo(CONNECTIONS), sends_on_the_spot=True),
    "echo by sessions, all on the spot": Case(CONNECTIONS, echo(CONNECTIONS), True, True),
    "echo by sessions, all by packet": Case(CONNECTIONS, echo(CONNECTIONS)),
    "connection: accept, echo, reset": Case(32, connections(32), sends_on_the_spot=True),
    "broadcast, per session": Case(500, broadcast(500), sends_on_the_spot=True),
    "datagram received": Case(1, receive_datagram),
    "datagram sent": Case(1, send_datagram),
    "datagram sent at once": Case(1, send_datagram_at_once),
    "echo by a session of datagrams": Case(64, echo_datagrams),
    "call_soon": Case(64, call_soon),
    "call_later, called": Case(64, fire_timer),
    "call_later, cancelled": Case(64, cancel_timer),
}

GROWING = {
    f"{name}, {count:,}": Case(count, make(count), sends_on_the_spot=True)
    for name, make in (("echo by sessions", echo), ("broadcast, per session", broadcast))
    for count in GROWTH
}
"""What must not cost more for there being many."""


class Measure:
    """One case, set up on a port of its own."""

    def __init__(self, kernel: InstantKernel, queue: int, case: Case) -> None:
        self._kernel = kernel
        self._queue = queue
        self._case = case
        self._port = CompletionPort(kernel=kernel)
        self._select()
        self._turn = case.make(self._port)
        self._turn()
        self._turns = 1
        self.costs_ns: list[float] = []

    def calibrate(self, seconds: float) -> None:
        """Find how many turns take so long."""
        self._select()
        while (taken := self._time()) < seconds / 4:
            self._turns *= 2
        self._turns = max(1, round(self._turns * seconds / taken))

    def measure(self) -> None:
        """Measure one round, and go on until the clock of the processor has moved at all."""
        self._select()
        taken_s, turns = 0.0, 0
        while taken_s == 0:
            taken_s += self._time()
            turns += self._turns
        self.costs_ns.append(taken_s / turns / self._case.operations * 1e9)

    def count(self) -> counts.Counts:
        """Count what an operation takes."""
        self._select()
        return counts.count(self._turn).per(self._case.operations)

    def close(self) -> None:
        """Take the port down."""
        self._select()
        self._port.close()

    def _select(self) -> None:
        self._kernel.set("queue_used", self._queue)
        self._kernel.set("receives_on_the_spot", self._case.receives_on_the_spot)
        self._kernel.set("sends_on_the_spot", self._case.sends_on_the_spot)

    def _time(self) -> float:
        turn = self._turn
        begun = time.process_time()
        for _ in range(self._turns):
            turn()
        return time.process_time() - begun


def measure(cases: dict[str, Case], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the nanoseconds per operation of each case, one figure for each round."""
    kernel = InstantKernel(options.dll)
    measures = {name: Measure(kernel, n, case) for n, (name, case) in enumerate(cases.items())}
    for one in measures.values():
        one.calibrate(options.seconds)
    for _ in range(options.rounds):
        for one in measures.values():
            one.measure()
    for one in measures.values():
        one.close()
    return {name: one.costs_ns for name, one in measures.items()}


def count(cases: dict[str, Case], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return what an operation of each case takes."""
    kernel = InstantKernel(options.dll)
    # The time stands still: what a port does every 50 ms only would be in some turns and not in
    # others. This is a C function that takes nothing and returns its number, as `monotonic` does.
    kernel.monotonic = time.monotonic().conjugate
    try:
        measures = {name: Measure(kernel, n, case) for n, (name, case) in enumerate(cases.items())}
        found = {name: one.count()._asdict() for name, one in measures.items()}
    finally:
        kernel.monotonic = time.monotonic  # closing has a deadline
    for one in measures.values():
        one.close()
    return found


def show(found: dict[str, Any]) -> None:
    """Print a Markdown table."""
    print(f"CPython {found['python'].partition(' ')[0]}, {found['machine']}\n")
    counted: dict[str, dict[str, float]] = found["counts"]
    costs: dict[str, list[float]] = found.get("costs_ns", {})
    heads = ["bytecodes", "Python calls", "C calls", *["smallest", "median"] * bool(costs)]
    print(f"| operation | {' | '.join(heads)} |")
    print(f"| --- |{' ---: |' * len(heads)}")
    for name, values in counted.items():
        cells = [f"{value:,.1f}" for value in values.values()]
        if costs:
            smallest, median = min(costs[name]), statistics.median(costs[name])
            cells += [f"{smallest:,.0f} ns", f"{median:,.0f} ns"]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> int:
    """Have Python for Windows count and measure, or do so if this is it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default="", help="only those with this in their name")
    parser.add_argument("--growth", action="store_true", help="with 1 to 5,000 connections")
    parser.add_argument("--counts", action="store_true", help="count only, and measure no times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each round of a case")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    parser.add_argument("--dll", help=argparse.SUPPRESS)
    parser.add_argument("--inside", choices=("counts", "costs_ns"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(options)))
        return 0
    found: dict[str, Any] = {}
    for what in ("counts",) if options.counts else ("counts", "costs_ns"):
        ended = hand_over(what, options.python)
        if ended.returncode:
            return ended.returncode
        found |= json.loads(ended.stdout)
    if options.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0


def inside(options: argparse.Namespace) -> dict[str, Any]:
    """Count or measure, in Python for Windows."""
    every = GROWING if options.growth else CASES
    cases = {name: case for name, case in every.items() if options.cases in name}
    found = count(cases, options) if options.inside == "counts" else measure(cases, options)
    machine = {"python": sys.version, "machine": platform.platform()}
    return {**machine, "version": counts.version(), options.inside: found}


def hand_over(what: str, python: str | None) -> subprocess.CompletedProcess[str]:
    """Run this program again in a process of Python for Windows, with the DLL."""
    arguments = [*sys.argv[1:], "--dll", str(instant_program()), "--inside", what]
    command = [str(Path("benchmarks", "calls.py")), *arguments]
    version = ["--python", python] if python else []
    host = [sys.executable] if os.name == "nt" else [sys.executable, "run.py", *version, "python"]
    return subprocess.run(
        [*host, *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    raise SystemExit(main())
