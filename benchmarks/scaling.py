"""Does a second thread help? Messages a second with 1 and 2 threads, where messages take work.

    python3 benchmarks/scaling.py
    python3 benchmarks/scaling.py --work 50 --rounds 5 --python 3.13t

The handler of each message spends some time in Python alone, 50 us by default. On a
free-threaded build two threads should then do nearly twice as many messages; with a GIL they
cannot. The rounds alternate (1, 2, 1, 2, …), so that a drift of the machine falls on both.

A machine that is busy with something else, or virtual, may have one processor to give, not two:
then two threads can do no more than one. So around each round two processes of the host do pure
work, and what they do together, over what one of them does alone, stands beside the round. It
counts only if that is at least 1.8.

Server and clients share the machine's processors. So the clients are few, and do little: each
sends many messages at once, of which the server makes one receive, and takes as many back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from clients import put_load_on
from server_process import ServerProcess
from servers.control import Control

SIZE = 64
"""Bytes a message."""

WARM_UP_S = 1.0
"""Seconds not counted."""

REQUIRED = 1.7
"""How many times the messages of one thread two threads should do, without a GIL."""

GIVEN_MIN = 1.8
"""How many times the work of one process two do, where there are two processors to give."""

SPIN_S = 0.4


def work(turns: int) -> int:
    """Spend time in Python alone."""
    x = 1
    for n in range(turns):
        x = (x * 5 + n) & 255
    return x


def calibrate(microseconds: float) -> int:
    """Return how many turns take so long, by the CPU time of this thread."""
    turns, taken = 1000, 0.0
    while taken < 0.5:
        turns *= 2
        begun = time.thread_time()
        work(turns)
        taken = time.thread_time() - begun
    return max(1, round(turns * microseconds / 1e6 / taken))


def serve(threads: int, turns: int) -> None:
    """Serve with so many threads, until `Control` says that it is over."""
    # Only this process runs on Windows.
    from pyiocp import CompletionPort, Session  # noqa: PLC0415

    class Working(Session):
        unfinished = 0

        def on_receive(self, data: memoryview) -> None:
            messages, self.unfinished = divmod(self.unfinished + len(data), SIZE)
            for _ in range(messages):
                work(turns)
            self.send(data)

    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), Working)
        Control().ready(listener.address[1], port.stop)
        port.run(threads=threads)


@dataclass(frozen=True)
class Load:
    """How many connections there are, and how many messages each has under way."""

    connections: int
    depth: int


@dataclass
class Round:
    """What one thread and two threads did, one after the other."""

    given: float
    """How many times the work of one process two did at that time, of the machine's own."""
    messages_per_s: tuple[float, float]
    cpu_us: tuple[float, float]
    """CPU time of the server a message."""

    @property
    def ratio(self) -> float:
        """How many times the messages of one thread two threads did."""
        one, two = self.messages_per_s
        return two / one

    @property
    def counts(self) -> bool:
        """Whether the machine had two processors to give."""
        return self.given >= GIVEN_MIN


def spin() -> int:
    """Work for a while, and return how much that was."""
    until, done = time.perf_counter() + SPIN_S, 0
    while time.perf_counter() < until:
        work(1000)
        done += 1
    return done


def given() -> float:
    """Return how many times the work of one process two do, at a time, at this moment."""

    def together(count: int) -> int:
        command = [sys.executable, __file__, "--spin"]
        processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        return sum(int(process.communicate()[0]) for process in processes)

    return together(2) / together(1)


def calibrated(microseconds: float, python: str | None) -> int:
    """Return how many turns take so long in the Python for Windows of this machine."""
    question = ("--turns", "0", "--work", str(microseconds))
    with ServerProcess(python, "scaling.py", *question) as answer:
        return int(answer.first["turns"])


def run_once(
    threads: int, turns: int, load: Load, seconds: float, python: str | None
) -> tuple[float, float]:
    """Start a server, put the load on it, end it; messages a second and CPU us a message."""
    arguments = ("--serve", str(threads), "--turns", str(turns))
    with ServerProcess(python, "scaling.py", *arguments) as server:
        numbers = (load.connections, SIZE, load.depth, WARM_UP_S, seconds)
        found = put_load_on(server, "echo", *numbers)
    return found["per_s"], found["user_us"] + found["system_us"]


def run_round(turns: int, load: Load, seconds: float, python: str | None) -> Round:
    """Run with one thread, then with two."""
    before = given()
    one, two = (run_once(threads, turns, load, seconds, python) for threads in (1, 2))
    return Round(min(before, given()), (one[0], two[0]), (one[1], two[1]))


def main() -> int:
    """Print the figures; with ``--require``, fail unless two threads do enough more."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=float, default=50.0, help="microseconds a message")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--depth", type=int, default=16, help="messages under way a connection")
    parser.add_argument("--rounds", type=int, default=5, help="how many shall count")
    parser.add_argument("--tries", type=int, default=15, help="rounds at most")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--python", default="3.13t", help="which Python for Windows, off Windows")
    parser.add_argument("--require", action="store_true", help=f"exit 1 below {REQUIRED}")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--spin", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.turns)
        return 0
    if options.turns == 0:
        print(json.dumps({"turns": calibrate(options.work)}))
        return 0
    if options.spin:
        print(spin())
        return 0
    turns = calibrated(options.work, options.python)
    load = Load(options.connections, options.depth)
    print(f"{load.connections} x {SIZE} B, depth {load.depth}")
    print(f"{options.work:g} us of Python a message ({turns} turns)\n")
    print("| round | 1 thread | 2 threads | ratio | CPU us a message | processors given |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    ratios: list[float] = []
    for number in range(1, options.tries + 1):
        once = run_round(turns, load, options.seconds, options.python)
        one, two = once.messages_per_s
        print(
            f"| {number} | {one:,.0f} | {two:,.0f} | {once.ratio:.2f} |"
            f" {once.cpu_us[0]:.0f}, {once.cpu_us[1]:.0f} |"
            f" {once.given:.2f}{'' if once.counts else ', does not count'} |",
            flush=True,
        )
        if once.counts:
            ratios.append(once.ratio)
        if len(ratios) == options.rounds:
            break
    if not ratios:
        print("\nthis machine had no two processors to give")
        return 1 if options.require else 0
    ratio = statistics.median(ratios)
    print(f"| median of {len(ratios)} | | | {ratio:.2f} | | |")
    return 0 if ratio >= REQUIRED or not options.require else 1


if __name__ == "__main__":
    raise SystemExit(main())
