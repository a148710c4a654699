"""Monitor: shows a running port to programs of the same user, on the same machine.

It is asked through a named pipe, or at a loopback address (`monitor_endpoints`), on the port
itself, and answers each question with a sample (`monitor_clients`). Clients compute rates from the
differences between two samples: all counts only grow.

A port without a monitor pays nothing. With a monitor that no client has asked yet, it adds up
what a session has done when that ends. From the first question on it counts every operation, as
after ``port.watch()``. The monitor's own connections and operations are not counted.

The slowest sessions are those whose bytes wait to be sent: first the one whose queue has not
moved for longest, then the one with the longest queue; after them, those that have received the
fewest messages a second since they connected. Whether a queue has moved is seen from one sample
to the next.
"""

from __future__ import annotations

import heapq
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ..handles.sockets.address_text import show_address
from .host import Host
from .monitor_clients import CLIENTS_MAX, SLOWEST_MAX, Clients
from .monitor_endpoints import LoopbackEndpoint, PipeEndpoint
from .session_state import CONNECTING, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..observing.statistics import Statistics
    from .monitor_endpoints import Endpoint
    from .tcp.listener import Listener
    from .tcp.session import Session
    from .tcp.session_statistics import SessionStatistics
    from .udp.datagram_session import DatagramSession
    from .udp.datagram_statistics import DatagramSessionStatistics

    AnySession = Session | DatagramSession
    Figures = SessionStatistics | DatagramSessionStatistics

FORMAT = 1
"""The version of the samples' format; ``"pyiocp_monitor"`` in each."""


class MonitoredService(Host, Protocol):
    """The `Service` of the port that a monitor shows."""

    @property
    def listeners(self) -> set[Listener]:
        """The listeners that are open."""


class Monitor:
    r"""Shows a port to clients on this machine; made by ``port.monitor``.

    ``address`` is where it is asked: the path of a named pipe, such as ``\\.\pipe\pyiocp-1234``
    for the process 1234, or ``(host, port)``. Any thread may call any method.
    """

    def __init__(
        self,
        service: MonitoredService,
        address: Any,
        statistics: Callable[[], Statistics],
        watch: Callable[[], None],
    ) -> None:
        """Accept clients; see `CompletionPort.monitor`."""
        self._service = service
        self._statistics = statistics
        self._watch = watch
        #: Held while a session moves from the living to the ended.
        self._lock = threading.Lock()
        self._ended = dict.fromkeys(_COUNTS, 0)
        self._ended_sessions = 0
        #: Of sessions with bytes waiting: how many were taken, and since when that is unchanged.
        self._queues: dict[AnySession, tuple[int, float]] = {}
        home = service.home
        self._endpoint: Endpoint = (
            PipeEndpoint(home) if address is None else LoopbackEndpoint(home, address, CLIENTS_MAX)
        )
        self.address = self._endpoint.address
        try:
            self._clients = Clients(home, self._endpoint, self._look)
        except BaseException:
            self._endpoint.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._endpoint.closed

    def close(self) -> None:
        """Accept no more clients, and end the connections. Closing twice does nothing."""
        self._clients.close()

    def _look(self, slowest: int) -> dict[str, Any]:
        """Return a sample for a client, and count every operation from now on."""
        self._watch()
        return self.sample(slowest)

    def session_ended(self, session: AnySession) -> None:
        """Add up what a session has done, and remove it from the living."""
        with self._lock:
            self._queues.pop(session, None)  # nobody may ask again, and it would stay
            if session in self._service.sessions:
                self._service.sessions.discard(session)
                self._ended_sessions += 1
                add_counts(self._ended, session.statistics())

    def sample(self, slowest: int = 5) -> dict[str, Any]:
        """Return what the port is doing, ready for JSON.

        slowest: how many sessions to list, 0 to 100; see the module for which.

        It takes a few microseconds for each session and each operation in flight. Raises
        ValueError for another number.
        """
        if not 0 <= slowest <= SLOWEST_MAX:
            raise ValueError(f"slowest must be 0 to {SLOWEST_MAX}, not {slowest}")
        service = self._service
        now = service.home.kernel.monotonic()
        with self._lock:
            living = [(session, session.statistics()) for session in list(service.sessions)]
            counts = dict(self._ended)
            ended = self._ended_sessions
        for _, figures in living:
            add_counts(counts, figures)
        states = [session.state for session, _ in living]
        statistics = self._statistics()
        return {
            "pyiocp_monitor": FORMAT,
            "process": os.getpid(),
            "time_s": now,
            "listeners": [
                {"address": show_address(listener.address), "accepted": listener.accepted}
                for listener in service.listeners
            ],
            "sessions": {
                "open": states.count(OPEN),
                "connecting": states.count(CONNECTING),
                "closing": len(states) - states.count(OPEN) - states.count(CONNECTING),
                "ended": ended,
            },
            **counts,
            "in_flight": statistics.in_flight._asdict(),
            "in_flight_by_kind": {
                kind: locked._asdict() for kind, locked in statistics.in_flight_by_kind.items()
            },
            "completions": statistics.completions,
            "batches": statistics.batches and statistics.batches._asdict(),
            "slowest": self._slowest(living, slowest, now),
        }

    def _slowest(
        self, living: list[tuple[AnySession, Figures]], count: int, now: float
    ) -> list[dict[str, Any]]:
        """Return the slowest sessions, the very slowest first."""
        queues: dict[AnySession, tuple[int, float]] = {}
        ranked = []
        for session, figures in living:
            since = now
            if figures.send_queue_bytes:
                taken, seen_at = self._queues.get(session, (None, now))
                since = seen_at if taken == figures.bytes_sent else now
                queues[session] = (figures.bytes_sent, since)
            rate = figures.messages_received / figures.age_s if figures.age_s else 0.0
            ranked.append((-(now - since), -figures.send_queue_bytes, rate, session, figures))
        self._queues = queues
        return [
            {
                "peer": show_address(session.peer_address),
                "type": type(session).__name__,
                "state": session.state.value,
                "send_queue_bytes": -queued,
                "stalled_s": round(-stalled, 3),
                "messages_per_s": round(rate, 3),
                "messages_received": figures.messages_received,
                "messages_sent": figures.messages_sent,
                "age_s": round(figures.age_s, 3),
            }
            for stalled, queued, rate, session, figures in heapq.nsmallest(
                count, ranked, key=lambda row: row[:3]
            )
        ]

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self._clients.accepted} have looked"
        return f"<Monitor at {show_address(self.address)}: {state}>"


_COUNTS = ("bytes_received", "bytes_sent", "messages_received", "messages_sent")
"""What is added up over all sessions, including those that have ended."""


def add_counts(counts: dict[str, int], statistics: Figures) -> None:
    """Add what one session has done."""
    for name in _COUNTS:
        counts[name] += getattr(statistics, name)
