"""Load: many clients on one port, from the first connect to the last close.

Its phases: connecting, until every client has connected or failed; measuring, for the time asked
for; finishing, in which nothing more is sent and what is under way comes back. Clients send as
soon as they are connected, but only what comes back in the measuring phase counts for the rates.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..port import CompletionPort
from .client import Client
from .content import Messages, SameSize
from .latencies import Latencies

CONNECT_MAX_S = 60.0
"""Seconds that connecting may take."""

FINISH_MAX_S = 10.0
"""Seconds that what is under way may take to come back."""

_TICK_S = 1.0


@dataclass
class Figures:
    """What has been counted, over some stretch of time."""

    phase: str
    seconds: float
    connections: int
    messages: int = 0
    bytes: int = 0
    round_trips: Latencies = field(default_factory=Latencies)

    @property
    def messages_per_s(self) -> float:
        """Messages that came back in a second."""
        return self.messages / self.seconds if self.seconds else 0.0

    @property
    def megabytes_per_s(self) -> float:
        """Millions of bytes that came back in a second; as many went out."""
        return self.bytes / self.seconds / 1e6 if self.seconds else 0.0


@dataclass
class Outcome:
    """What came of a run."""

    measured: Figures
    """The measuring phase."""
    connect_s: float
    messages: int
    """Messages that came back, of all phases."""
    sent_bytes: int
    received_bytes: int
    faults: list[str]
    """What went wrong, a line for each client affected."""
    completed: list[int]
    """Messages that came back, of all phases, by client."""

    def rates(self) -> dict[str, Any]:
        """Return what every command reports in JSON: the duration of a run, and how much came."""
        return {
            "python": platform.python_version(),
            "connect_s": round(self.connect_s, 3),
            "seconds": round(self.measured.seconds, 3),
            "messages": self.measured.messages,
            "messages_per_s": round(self.measured.messages_per_s, 1),
            "megabytes_per_s": round(self.measured.megabytes_per_s, 3),
        }


@dataclass(frozen=True)
class Plan:
    """What the clients are to do."""

    clients: int
    seconds: float
    seed: int
    size_max: int
    """The largest message, or the size of all of them."""
    same_size: bool = False
    depth: int = 2
    """Messages that a client has under way."""
    goes_on: bool = False
    """Whether the other clients go on when one has a fault or loses its connection."""

    def messages(self, client: int) -> Messages | SameSize:
        """Return what a client sends."""
        kind = SameSize if self.same_size else Messages
        return kind(self.seed, client, self.size_max)


class Load:
    """Runs the clients of one plan, once."""

    def __init__(
        self,
        port: CompletionPort,
        address: Any,
        plan: Plan,
        on_tick: Callable[[float, Figures], None],
    ) -> None:
        self.plan = plan
        self.finishing = False
        self.round_trips_s: deque[float] = deque()
        """Where clients put each round trip; emptied by the ticks."""
        self._connect_s = 0.0
        self._port = port
        self._address = address
        self._on_tick = on_tick
        self._lock = threading.Lock()
        self._phase = "connecting"
        self._connected = 0
        self._ended = 0
        self._failure: Exception | None = None
        self._begun_at = self._phase_at = self._shown_at = time.perf_counter()
        self._shown = (0, 0)
        self._measured_from = (0, 0)
        self._measured_at = 0.0
        self._measured = Figures("measuring", 0.0, 0)
        self._clients = [
            Client(self, number, plan.messages(number), plan.depth)
            for number in range(plan.clients)
        ]

    def run(self) -> Outcome:
        """Connect, measure, finish; return when every client has ended."""
        # Within `run`: only there does Ctrl-C wait for what would otherwise be left half done.
        self._port.call_soon(self._connect_all)
        self._tick_timer = self._port.call_later(_TICK_S, self._tick)
        self._port.run()
        if self._failure is not None:
            raise self._failure
        messages, received_bytes = self._counts()
        return Outcome(
            self._measured,
            self._connect_s,
            messages,
            sum(client.sent_bytes for client in self._clients),
            received_bytes,
            [f"client {c.number}: {c.fault}" for c in self._clients if c.fault is not None],
            [client.completed for client in self._clients],
        )

    def _connect_all(self) -> None:
        try:
            for client in self._clients:
                self._port.connect(self._address, partial(_same, client), timeout=CONNECT_MAX_S)
        except Exception as error:  # noqa: BLE001, such as a bad address: raised by `run`
            self._failure = error
            self._port.stop()

    # What clients call

    def on_client_connected(self) -> None:
        """A client has connected; with the last of them, measuring begins."""
        with self._lock:
            self._connected += 1
            begins = self._begin_measuring()
        if begins:
            self._port.call_later(self.plan.seconds, self.finish)

    def on_wrong(self) -> None:
        """A client has received something other than it sent."""
        if not self.plan.goes_on:
            self.finish()

    def on_client_ended(self, client: Client) -> None:
        """A client has ended; with the last of them, the run is over."""
        with self._lock:
            self._ended += 1
            over = self._ended == self.plan.clients
            begins = self.plan.goes_on and not over and self._begin_measuring()
        if begins:
            self._port.call_later(self.plan.seconds, self.finish)
        if over or (client.fault is not None and not self.plan.goes_on):
            self.finish()
        if over:
            self._port.stop()

    def finish(self) -> None:
        """Send nothing more; give what is under way some time to come back."""
        with self._lock:
            if self.finishing:
                return
            self.finishing = True
            now, counts = time.perf_counter(), self._counts()
            if self._phase == "measuring":
                self._show(now, counts)
                self._measured.seconds = now - self._measured_at
                self._measured.connections = self._connected
                self._measured.messages = counts[0] - self._measured_from[0]
                self._measured.bytes = counts[1] - self._measured_from[1]
            self._phase = "finishing"
            self._begin_phase(now, counts)
        self._port.call_later(FINISH_MAX_S, self._give_up)

    # The phases

    def _begin_measuring(self) -> bool:
        """Begin to measure if every client has connected or failed. Called with the lock."""
        if self._phase != "connecting" or self._connected + self._ended < self.plan.clients:
            return False
        self._phase = "measuring"
        self._measured_at = time.perf_counter()
        self._connect_s = self._measured_at - self._begun_at
        self._measured_from = self._counts()
        self._take_round_trips()
        self._begin_phase(self._measured_at, self._measured_from)
        return True

    def _counts(self) -> tuple[int, int]:
        """Return the messages and bytes that came back so far."""
        messages = sum(client.completed for client in self._clients)
        return messages, sum(client.received_bytes for client in self._clients)

    def _take_round_trips(self) -> Latencies:
        """Return the round trips since the last time."""
        taken = Latencies()
        for _ in range(len(self.round_trips_s)):
            taken.add(self.round_trips_s.popleft())
        return taken

    def _begin_phase(self, now: float, counts: tuple[int, int]) -> None:
        """Count from here. Called with the lock."""
        self._tick_timer.cancel()
        self._phase_at = self._shown_at = now
        self._shown = counts
        self._tick_timer = self._port.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Show the figures of the last second; come again at the next full one."""
        now = time.perf_counter()
        with self._lock:
            self._show(now, self._counts())
            full = (now - self._phase_at) // _TICK_S + 1
            next_at = self._phase_at + full * _TICK_S
            self._tick_timer = self._port.call_later(max(0.0, next_at - now), self._tick)

    def _show(self, now: float, counts: tuple[int, int]) -> None:
        """Show the figures since the last time, if that was not just now. With the lock."""
        seconds = now - self._shown_at
        round_trips = self._take_round_trips()
        if self._phase == "measuring":
            self._measured.round_trips.merge(round_trips)
        if seconds < _TICK_S / 2:
            return
        figures = Figures(
            self._phase,
            seconds,
            self._connected - self._ended,
            counts[0] - self._shown[0],
            counts[1] - self._shown[1],
            round_trips,
        )
        self._shown_at, self._shown = now, counts
        self._on_tick(now - self._phase_at, figures)

    def _give_up(self) -> None:
        """End the clients whose messages do not come back."""
        for client in self._clients:
            client.abort()


def _same(client: Client) -> Client:
    """Return a client made earlier: each is connected once."""
    return client
