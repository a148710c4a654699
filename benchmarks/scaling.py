"""Does a second thread help? Messages a second with 1 and 2 threads, where messages take work.

    python3 benchmarks/scaling.py
    python3 benchmarks/scaling.py --work 50 --rounds 5 --python 3.13t

The handler of each message spends some time in Python alone, 50 us by default. On a
free-threaded build two threads should then do nearly twice as many messages; with a GIL they
cannot. The rounds alternate (1, 2, 1, 2, …), so that a drift of the machine falls on both.

Server and clients share the machine's processors. So the clients are few, and do little: each
sends many messages at once, of which the server makes one receive, and takes as many back.

What belongs here: that comparison, of pyiocp with itself.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from echo import read_json
from load import Load, measure

ROOT = Path(__file__).resolve().parent.parent

SIZE = 64
"""Bytes a message."""

REQUIRED = 1.7
"""How many times the messages of one thread two threads should do, without a GIL."""


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
    """Serve until the control connection ends, and print the CPU time that it took."""
    # Only this process runs on Windows.
    from pyiocp import CompletionPort, Session  # noqa: PLC0415

    class Working(Session):
        unfinished = 0

        def on_receive(self, data: memoryview) -> None:
            messages, self.unfinished = divmod(self.unfinished + len(data), SIZE)
            for _ in range(messages):
                work(turns)
            self.send(data)

    with socket.create_server(("127.0.0.1", 0)) as control, CompletionPort() as port:

        def watch() -> None:
            connection, _ = control.accept()
            with connection:
                connection.recv(1)
            port.stop()

        listener = port.listen(("127.0.0.1", 0), Working)
        threading.Thread(target=watch, daemon=True).start()
        ports = {"echo": listener.address[1], "control": control.getsockname()[1]}
        print(json.dumps(ports), flush=True)
        before = os.times()
        port.run(threads=threads)
        after = os.times()
    taken = after.user + after.system - before.user - before.system
    print(json.dumps({"cpu_s": taken}), flush=True)


def start(python: str | None, *arguments: str) -> subprocess.Popen[str]:
    """Start this program in the Python for Windows of this machine."""
    command = [str(Path("benchmarks", "scaling.py")), *arguments]
    version = ["--python", python] if python else []
    host = [sys.executable] if os.name == "nt" else [sys.executable, "run.py", *version, "python"]
    return subprocess.Popen(
        [*host, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


def run_once(threads: int, turns: int, load: Load, options: argparse.Namespace) -> float:
    """Start a server, put the load on it, end it; return its messages a second."""
    with start(options.python, "--serve", str(threads), "--turns", str(turns)) as process:
        assert process.stdout is not None
        ports = read_json(process.stdout)
        with socket.create_connection(("127.0.0.1", int(ports["control"]))):
            result = measure(int(ports["echo"]), load, options.warm_up, options.seconds)
        read_json(process.stdout)
    return result.messages_per_s


def main() -> int:
    """Print the figures; with ``--require``, fail unless two threads do enough more."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=float, default=50.0, help="microseconds a message")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--depth", type=int, default=16, help="messages under way a connection")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds not counted")
    parser.add_argument("--python", default="3.13t", help="which Python for Windows, off Windows")
    parser.add_argument("--require", action="store_true", help=f"exit 1 below {REQUIRED}")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.turns)
        return 0
    if options.turns == 0:
        print(json.dumps({"turns": calibrate(options.work)}))
        return 0
    with start(options.python, "--turns", "0", "--work", str(options.work)) as process:
        assert process.stdout is not None
        turns = int(read_json(process.stdout)["turns"])
    load = Load(options.connections, SIZE, options.depth)
    print(f"{load}, {options.work:g} us of Python a message ({turns} turns)\n")
    print("| round | 1 thread | 2 threads | ratio |")
    print("| --- | ---: | ---: | ---: |")
    ratios = []
    for number in range(1, options.rounds + 1):
        one, two = (run_once(threads, turns, load, options) for threads in (1, 2))
        ratios.append(two / one)
        print(f"| {number} | {one:,.0f} | {two:,.0f} | {ratios[-1]:.2f} |", flush=True)
    ratio = statistics.median(ratios)
    print(f"| median | | | {ratio:.2f} |")
    return 0 if ratio >= REQUIRED or not options.require else 1


if __name__ == "__main__":
    raise SystemExit(main())
