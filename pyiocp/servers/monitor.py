"""Monitor: shows a running port to programs on the same machine.

It listens at a loopback address, on the port itself. A client sends a line with a JSON object,
such as ``{"slowest": 5}``, and gets a line with another: a sample. Clients compute rates from
the differences between two samples: all counts only grow.

A port without a monitor pays nothing. With a monitor that no client has asked yet, it adds up
what a session has done when that ends. From the first sample on it counts every operation, as
after ``port.watch()``. The monitor's own connections and operations are not counted.

The slowest sessions are those whose bytes wait to be sent: first the one whose queue has not
moved for longest, then the one with the longest queue; after them, those that have received the
fewest messages a second since they connected. Whether a queue has moved is seen from one sample
to the next.
"""

from __future__ import annotations

import heapq
import ipaddress
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ..handles.sockets.address_text import show_address
from .admission import Limits
from .framing.framed_session import FramedSession
from .framing.framing import Delimited
from .host import Host
from .layer import connection_of
from .listening_socket import open_listening
from .session_state import CONNECTING, OPEN
from .tcp.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..handles.sockets.stream import Stream
    from ..observing.statistics import Statistics
    from .tcp.session import Session
    from .tcp.session_statistics import SessionStatistics
    from .udp.datagram_session import DatagramSession
    from .udp.datagram_statistics import DatagramSessionStatistics

    AnySession = Session | DatagramSession
    Figures = SessionStatistics | DatagramSessionStatistics

FORMAT = 1
"""The version of the samples' format; ``"pyiocp_monitor"`` in each."""

SLOWEST_MAX = 100
"""The most sessions that a sample lists."""

_CLIENTS_MAX = 16


class Shown(Host, Protocol):
    """The `Service` of the port that a monitor shows."""

    monitor_sessions: set[Session]

    @property
    def listeners(self) -> set[Listener]:
        """The listeners that are open."""


class Monitor:
    """Shows a port to clients on this machine; made by ``port.monitor``.

    ``address`` is where it listens: ``(host, port)``. Any thread may call any method.
    """

    def __init__(
        self,
        service: Shown,
        address: Any,
        statistics: Callable[[], Statistics],
        watch: Callable[[], None],
    ) -> None:
        """Listen; see `CompletionPort.monitor`."""
        self._service = service
        self._statistics = statistics
        #: Held while a session moves from the living to the ended.
        self._lock = threading.Lock()
        self._ended = dict.fromkeys(_COUNTS, 0)
        self._ended_sessions = 0
        #: Of sessions with bytes waiting: how many were taken, and since when that is unchanged.
        self._queues: dict[AnySession, tuple[int, float]] = {}
        self._listener = Listener(
            service,
            lambda: _open_unseen(service.home, _on_loopback(address)),
            lambda: MonitorSession(self.sample, watch),
            accepts=1,
            first_data=0,
            first_data_timeout=10.0,
            limits=Limits(sessions=_CLIENTS_MAX),
        )
        self.address = self._listener.address

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._listener.closed

    def close(self) -> None:
        """Stop listening, and close its connections. Closing twice does nothing."""
        self._listener.close()
        for session in list(self._service.monitor_sessions):
            session.close()

    def session_ended(self, session: AnySession) -> None:
        """Add up what a session has done, and remove it from the living."""
        with self._lock:
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
        state = "closed" if self.closed else f"{self._listener.accepted} have looked"
        return f"<Monitor at {show_address(self.address)}: {state}>"


_COUNTS = ("bytes_received", "bytes_sent", "messages_received", "messages_sent")
"""What is added up over all sessions, including those that have ended."""


def add_counts(counts: dict[str, int], statistics: Figures) -> None:
    """Add what one session has done."""
    for name in _COUNTS:
        counts[name] += getattr(statistics, name)


class MonitorSession(FramedSession):
    """A client of a monitor: each line that it sends is answered with one.

    Anything else is answered with ``{"error": "…"}``, and the connection is closed.
    """

    framing = Delimited(b"\n", maximum=1024)
    zero_byte_after = 0.0  # it locks no page while it waits

    def __init__(self, sample: Callable[[int], dict[str, Any]], look: Callable[[], object]) -> None:
        self._sample = sample
        self._look = look

    def on_connect(self) -> None:
        """Make the port count, but not this connection."""
        connection_of(self).open_stream.internal = True
        self._look()

    def on_frame(self, frame: memoryview) -> None:
        """Answer, and take no further question while the client does not take the answer."""
        try:
            answer = self._sample(slowest_wanted(bytes(frame)))
        except ValueError as error:
            self._answer({"error": str(error)})
            self.close()
        else:
            self._answer(answer)

    def _answer(self, value: dict[str, Any]) -> None:
        if not self.send(json.dumps(value).encode() + b"\n"):
            self.pause_receiving()

    def on_writable(self) -> None:
        """There is room for another answer."""
        self.resume_receiving()


def slowest_wanted(question: bytes) -> int:
    """Return how many sessions a client wants to see.

    Raises ValueError for anything but such a question.
    """
    try:
        wanted = json.loads(question)
    except ValueError:
        raise ValueError("a line with a JSON object is needed") from None
    if not isinstance(wanted, dict):
        raise ValueError(f"a JSON object is needed, not {wanted!r}")
    unknown = sorted(wanted.keys() - {"slowest"})
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; there is slowest")
    slowest = wanted.get("slowest", 5)
    if type(slowest) is not int:
        raise ValueError(f"slowest must be a whole number, not {slowest!r}")
    return slowest


def _open_unseen(home: Home, address: tuple[str, int]) -> Stream:
    """Return a stream that listens, and whose accepts are not counted."""
    stream = open_listening(
        home, address, backlog=_CLIENTS_MAX, exclusive=True, dual_stack=False, no_delay=True
    )
    stream.internal = True
    return stream


def _on_loopback(address: Any) -> tuple[str, int]:
    """Return a checked address; names are not looked up, they could mean any address."""
    if not isinstance(address, tuple) or len(address) != 2:
        raise TypeError(f"address must be (host, port), not {address!r}")
    host, number = address
    host = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            f"a monitor listens at an address of this machine's loopback, such as 127.0.0.1 or"
            f" ::1, not {host!r}: whoever can reach it sees who is connected"
        )
    return host, number
