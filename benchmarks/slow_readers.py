"""Clients that never read while the server broadcasts: what that costs, and others notice.

    python3 benchmarks/slow_readers.py
    python3 benchmarks/slow_readers.py --slow 200 --seconds 10 --rounds 3 --python 3.13t

Prompt clients send 64 bytes five times a second each, read everything, and note how long their
own message took. By turns they are alone, and with clients that connect and then never read.
The server broadcasts ten times a second, to who is not behind. In the end it insists, and
sends to everybody: then those who do not read have to be aborted at their `send_limit`.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from server_process import ServerProcess
from storm import LINGER_0

FRAME = 64
EVERY_S = 0.2
"""Seconds between two messages of a prompt client."""

WORLD_BYTES = 4 << 20
"""What the server sends who connects."""

PROMPT_MAX_S = 60.0

QUANTUM_MS = 16.0
"""How long Windows lets a thread run before another one's turn comes: less says nothing."""


class Prompt:
    """A client that reads everything."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setblocking(False)
        self.sent = self.echoes = self.bytes = 0
        self._unparsed = b""

    def send(self, due: float) -> None:
        """Send a message that says when it was due."""
        self.sent += 1
        self.socket.send(b"E" + f"{due:.9f}".encode().ljust(FRAME - 1))

    def read(self) -> list[float]:
        """Return how long the messages took that are back, in seconds."""
        try:
            data = self._unparsed + self.socket.recv(1 << 20)
        except BlockingIOError:
            return []
        now = time.perf_counter()
        whole = len(data) - len(data) % FRAME
        self._unparsed = data[whole:]
        self.bytes += whole
        kinds, took, at = data[:whole:FRAME], [], -1
        while (at := kinds.find(b"E", at + 1)) >= 0:
            took.append(now - float(data[at * FRAME + 1 : (at + 1) * FRAME]))
        self.echoes += len(took)
        return took


class Crowd:
    """The prompt clients, on one thread."""

    def __init__(self, port: int, count: int) -> None:
        self.clients = [Prompt(port) for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        for client in self.clients:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._turn_s = EVERY_S / count
        self._due = time.perf_counter()
        self._turns = 0

    def play(self, seconds: float, until: Callable[[], bool] = lambda: False) -> list[float]:
        """Send and read for so long, or until something holds; return how long messages took."""
        took: list[float] = []
        over = time.perf_counter() + seconds
        self._due = time.perf_counter()
        while (now := time.perf_counter()) < over and not until():
            while self._due <= now:
                self.clients[self._turns % len(self.clients)].send(self._due)
                self._turns += 1
                self._due += self._turn_s
            took += self._read(self._due - now)
        return took

    def finish(self) -> list[float]:
        """Read until every message is back, or for a minute."""
        took: list[float] = []
        over = time.perf_counter() + PROMPT_MAX_S
        while self.lost and time.perf_counter() < over:
            took += self._read(0.1)
        return took

    @property
    def lost(self) -> int:
        """How many messages are not back."""
        return sum(client.sent - client.echoes for client in self.clients)

    def has_world(self) -> bool:
        """Tell whether every client has all that is sent first."""
        return all(client.bytes >= WORLD_BYTES for client in self.clients)

    def _read(self, seconds: float) -> list[float]:
        took: list[float] = []
        for key, _ in self._selector.select(max(0.0, seconds)):
            took += key.data.read()
        return took

    def close(self) -> None:
        """Close all of them."""
        self._selector.close()
        for client in self.clients:
            client.socket.close()


@dataclass
class Outcome:
    """What came of a run."""

    alone_ms: list[float] = field(default_factory=list)
    """The prompt clients' p99 without the slow ones, a figure a round."""
    beside_ms: list[float] = field(default_factory=list)
    """The same with them."""
    queued_bytes: int = 0
    """The most that waited for all clients together while the server was polite."""
    queued_most_bytes: int = 0
    """The most that ever waited for one client, also when it insisted."""
    private_growth_bytes: int = 0
    """By how much the server's private bytes have grown at the most."""
    lost: int = 0
    """Messages of the prompt clients that did not come back."""
    ends: dict[str, int] = field(default_factory=dict)
    """How the sessions of slow readers ended that were there when the server insisted."""

    @property
    def medians_ms(self) -> tuple[float, float]:
        """The median p99 without slow readers, and with them."""
        return statistics.median(self.alone_ms), statistics.median(self.beside_ms)

    def holds(self, factor: float = 2) -> bool:
        """Whether that of the others is no more than so many times as long, or by a quantum."""
        alone, beside = self.medians_ms
        return beside <= max(factor * alone, alone + QUANTUM_MS)

    @property
    def calm(self) -> bool:
        """Whether the rounds without slow readers agree among themselves, to a factor of 2."""
        return max(self.alone_ms) <= max(2 * min(self.alone_ms), QUANTUM_MS)


def p99_ms(took: list[float]) -> float:
    """Return what 99 of 100 did not exceed, in milliseconds."""
    return statistics.quantiles(took, n=100)[98] * 1000


def connect_slow(port: int, count: int) -> list[socket.socket]:
    """Connect clients that will not read, and take in as little as possible."""
    clients = [socket.socket() for _ in range(count)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        client.connect(("127.0.0.1", port))
    return clients


def measure(
    slow: int, prompt: int, seconds: float, rounds: int, python: str | None = None
) -> Outcome:
    """Run, so many rounds of twice so many seconds each."""
    outcome = Outcome()
    slow_clients: list[socket.socket] = []
    with ServerProcess(python, "observed.py") as server:
        port = int(server.first["port"])
        server.ask("polite")
        crowd = Crowd(port, prompt)
        try:
            crowd.play(PROMPT_MAX_S, crowd.has_world)
            assert crowd.has_world(), "the world has not come"
            crowd.play(1.0)
            private = server.ask("figures")["private"]
            for number in range(rounds):
                outcome.alone_ms.append(p99_ms(crowd.play(seconds) + crowd.finish()))
                slow_clients = connect_slow(port, slow)
                await_figures(server, crowd, lambda now: now["behind"] == slow)
                outcome.beside_ms.append(p99_ms(crowd.play(seconds) + crowd.finish()))
                figures = server.ask("figures")
                assert figures["behind"] == slow, "a slow reader has read"
                outcome.queued_bytes = max(outcome.queued_bytes, figures["queued"])
                if number < rounds - 1:
                    close(slow_clients)
                    await_figures(server, crowd, lambda now: now["open"] == prompt)
            before = server.ask("insist")["ends"]
            figures = await_figures(server, crowd, lambda now: now["open"] == prompt)
            server.ask("quiet")
            crowd.finish()
            outcome.ends = {
                end: count - before.get(end, 0)
                for end, count in figures["ends"].items()
                if count > before.get(end, 0)
            }
            outcome.queued_most_bytes = figures["queued most"]
            outcome.private_growth_bytes = figures["private most"] - private
            outcome.lost = crowd.lost
        finally:
            crowd.close()
            close(slow_clients)
    return outcome


def await_figures(
    server: ServerProcess, crowd: Crowd, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Return the first figures of which something holds; the prompt clients go on meanwhile."""
    until = time.monotonic() + PROMPT_MAX_S
    while not holds(figures := server.ask("figures")):
        assert time.monotonic() < until, figures
        crowd.play(0.2)
    return figures


def close(clients: list[socket.socket]) -> None:
    """Reset all of them."""
    while clients:
        clients.pop().close()


def main() -> int:
    """Print the figures; exit 1 if the others' p99 more than doubled, or something was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--prompt", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    options = parser.parse_args()
    outcome = measure(options.slow, options.prompt, options.seconds, options.rounds, options.python)
    print("| round | p99 ms alone | p99 ms beside slow readers |")
    print("| --- | ---: | ---: |")
    for number, (alone, beside) in enumerate(zip(outcome.alone_ms, outcome.beside_ms, strict=True)):
        print(f"| {number + 1} | {alone:.1f} | {beside:.1f} |")
    alone, beside = outcome.medians_ms
    print(f"| median | {alone:.1f} | {beside:.1f} |\n")
    print(f"waited for all clients, polite: {outcome.queued_bytes:,} bytes at most")
    print(f"waited for one client, ever: {outcome.queued_most_bytes:,} bytes at most")
    print(f"private bytes grew by {outcome.private_growth_bytes:,} at most")
    print(f"slow readers ended: {outcome.ends}; messages of the others lost: {outcome.lost}")
    return 0 if outcome.holds() and not outcome.lost else 1


if __name__ == "__main__":
    raise SystemExit(main())
