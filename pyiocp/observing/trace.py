"""Trace: what the operations and the threads of a port did, and when.

It observes the in-flight table: an operation is submitted when it is entered, and has ended when
it is removed. Perfetto (https://ui.perfetto.dev) or chrome://tracing show a trace as a timeline:
each operation from its submission to its completion, and below them each thread, asleep in the
kernel or at work on a completion.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..engine.packet import IDLE
from ..winapi.errorcodes import STATUS_CANCELLED, status_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..engine.packet import Packet
    from ..engine.queue import CompletionQueue
    from ..engine.timers import Call, ScheduledCall

EVENTS_MAX = 1_000_000
"""The most events that are kept by default: some 200 MB."""


class TraceEvent(NamedTuple):
    """Something that happened: a plain value.

    ``what`` is "submitted", "completed", "cancelled" (a completion that says so), "refused"
    (by the system: no completion comes), "cancel asked", "asleep" or "at work"; ``time_ns`` is
    on the clock of ``time.perf_counter_ns``, ``duration_ns`` how long it took, for the last
    two; ``thread`` the identity of the thread. ``number`` is the same for all events of one
    submission; 0 where there is none. ``kind`` is the operation's, or names what was called;
    ``handle`` is the repr of its handle; ``bytes`` and ``status`` are those of its end.
    """

    what: str
    time_ns: int
    duration_ns: int
    thread: int
    number: int
    kind: str
    handle: str
    bytes: int
    status: int


class Trace:
    """What happens on a port, from when it is made until `stop`; see ``port.trace``.

    It is a context manager that stops at the end of the block.

    ``dropped`` counts the events that were left out, oldest first, for want of room.
    Any thread may call any method.

    Lifetime: events are plain values, which keep nothing of the port.
    """

    def __init__(self, queue: CompletionQueue, events_max: int = EVENTS_MAX) -> None:
        if events_max < 1:
            raise ValueError(f"events_max must be at least 1, not {events_max}")
        self._queue = queue
        #: A list: threads can append to it and copy it atomically, even without a GIL. It is cut
        #: when it is twice as long as it should be.
        self._events: list[TraceEvent] = []
        self._events_max = events_max
        self._lock = threading.Lock()
        self._left_out = 0
        self._numbers = itertools.count(1)
        self._under_way: dict[int, tuple[int, str]] = {}
        self._threads: dict[int, str] = {}
        queue.tracer = self
        queue.in_flight.observe(self)

    # Called by the port; see `in_flight`

    def taken(self, packet: Packet) -> None:
        """Take note of a submission."""
        if packet.internal:
            return  # the port's own
        handle = repr(getattr(packet, "handle", None) or self._queue)
        number = next(self._numbers)
        self._under_way[packet.address] = number, handle
        self._record("submitted", time.perf_counter_ns(), 0, number, packet.kind, handle)

    def given_back(self, packet: Packet) -> None:
        """Take note of its end."""
        now = time.perf_counter_ns()
        number, handle = self._under_way.pop(packet.address, (0, ""))
        if not number:
            return  # submitted before the trace began, or not recorded
        if packet.state is IDLE:
            self._record("refused", now, 0, number, packet.kind, handle)
            return
        what = "cancelled" if packet.status == STATUS_CANCELLED else "completed"
        ended = packet.transferred, packet.status
        self._record(what, now, 0, number, packet.kind, handle, *ended)

    def cancel_asked(self, packet: Packet) -> None:
        """Take note that somebody has asked for its end."""
        number, handle = self._under_way.get(packet.address, (0, ""))
        self._record("cancel asked", time.perf_counter_ns(), 0, number, packet.kind, handle)

    def now(self) -> int:
        """Return the time, in nanoseconds."""
        return time.perf_counter_ns()

    def slept(self, since_ns: int) -> None:
        """Take note that this thread was asleep in the kernel, until now."""
        self._record("asleep", since_ns, time.perf_counter_ns() - since_ns)

    def worked(self, on: Packet | Call | ScheduledCall, since_ns: int) -> None:
        """Take note that this thread was at work on a completion or a call, until now."""
        kind = getattr(on, "kind", None) or repr(on)
        handle = repr(getattr(on, "handle", ""))
        self._record("at work", since_ns, time.perf_counter_ns() - since_ns, 0, kind, handle)

    def _record(
        self,
        what: str,
        time_ns: int,
        duration_ns: int,
        number: int = 0,
        kind: str = "",
        handle: str = "",
        count: int = 0,
        status: int = 0,
    ) -> None:
        thread = threading.get_ident()
        if thread not in self._threads:
            self._threads[thread] = threading.current_thread().name
        self._events.append(
            TraceEvent(what, time_ns, duration_ns, thread, number, kind, handle, count, status)
        )
        if len(self._events) >= 2 * self._events_max:
            self._cut()

    def _cut(self) -> None:
        """Drop the oldest events beyond the limit."""
        with self._lock:
            excess = len(self._events) - self._events_max
            if excess > 0:
                del self._events[:excess]
                self._left_out += excess

    # Called by the user

    def stop(self) -> None:
        """Record no more. Stopping twice does nothing."""
        self._queue.in_flight.ignore(self)
        if self._queue.tracer is self:
            self._queue.tracer = None

    @property
    def events(self) -> list[TraceEvent]:
        """What was recorded, in the order in which it was noted."""
        return list(self._events)[-self._events_max :]

    @property
    def recorded(self) -> int:
        """How many they are."""
        return min(len(self._events), self._events_max)

    @property
    def dropped(self) -> int:
        """How many events there was no room for."""
        with self._lock:
            return self._left_out + len(self._events) - self.recorded

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file in the Trace Event Format, which Perfetto and Chrome show.

        Source: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
        """
        save_traces([self], path)

    def trace_events(self, first_id: int = 0) -> list[dict[str, Any]]:
        """Return what the file has of it.

        first_id: added to the numbers of submissions, which are unique in one trace only.
        """
        process = os.getpid()
        shown: list[dict[str, Any]] = [
            {
                "ph": "M",
                "name": "thread_name",
                "pid": process,
                "tid": thread,
                "args": {"name": name},
            }
            for thread, name in list(self._threads.items())
        ]
        for event in self.events:
            common = {"pid": process, "tid": event.thread, "ts": event.time_ns / 1000}
            if event.what in ("asleep", "at work"):
                duration = {"ph": "X", "dur": event.duration_ns / 1000, "cat": "thread"}
                arguments = {"handle": event.handle} if event.handle else {}
                shown.append(
                    common | duration | {"name": event.kind or event.what, "args": arguments}
                )
                continue
            phase = {"submitted": "b", "cancel asked": "n"}.get(event.what, "e")
            told: dict[str, Any] = {"what": event.what, "handle": event.handle}
            if phase == "e":
                told |= {"bytes": event.bytes, "status": status_name(event.status)}
            operation = {
                "ph": phase,
                "cat": "operation",
                "id": first_id + event.number,
                "name": event.kind,
            }
            shown.append(common | operation | {"args": told})
        return shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "recording" if self._queue.tracer is self else "stopped"
        return f"<Trace of {self._queue.port!r}: {state}, {self.recorded:,} events>"


def save_traces(traces: Iterable[Trace], path: str | os.PathLike[str]) -> None:
    """Write the traces of several ports to one file; see `Trace.save`."""
    events = [
        event
        for number, trace in enumerate(traces)
        # More numbers than a trace has submissions, and still exact in JavaScript.
        for event in trace.trace_events(first_id=number << 32)
    ]
    with Path(path).open("w", encoding="utf-8") as file:
        json.dump({"traceEvents": events, "displayTimeUnit": "ns"}, file)
