"""Recording: a trace of every port that is made meanwhile, in one file.

It is for tracing a program without changing it, as `cli.trace` does with a script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .trace import EVENTS_MAX, Trace, save_traces

if TYPE_CHECKING:
    import os

    from ..engine.queue import CompletionQueue

#: The recordings that are on. A new port looks here once.
recordings: list[Recording] = []


class Recording:
    """Traces every port that is made within its ``with`` block, by any thread.

    events_max: how many events to keep of each port; beyond that the oldest go.

    ``traces`` has the `Trace` of each port, in the order in which they were made. Lifetime:
    these keep their ports from being collected, not from being closed.
    """

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self.traces: list[Trace] = []
        self._events_max = events_max

    def port_made(self, queue: CompletionQueue) -> None:
        """Trace a new port, from the beginning."""
        self.traces.append(Trace(queue, self._events_max))

    @property
    def events(self) -> int:
        """How many events were recorded, and kept."""
        return sum(trace.recorded for trace in self.traces)

    @property
    def dropped(self) -> int:
        """How many events there was no room for."""
        return sum(trace.dropped for trace in self.traces)

    def __repr__(self) -> str:
        state = "recording" if self in recordings else "stopped"
        return f"<Recording: {state}, {len(self.traces)} ports, {self.events:,} events>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to one file; see `Trace.save`."""
        save_traces(self.traces, path)

    def __enter__(self) -> Self:
        recordings.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        recordings.remove(self)
        for trace in self.traces:
            trace.stop()
