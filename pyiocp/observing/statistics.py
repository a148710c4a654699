"""Statistics: what is in flight on a port, what it locks, and peaks and totals.

What is in flight is known anyway: it is counted on request, and costs nothing until then. For
peaks and totals each operation has to be counted, which costs some microseconds each: a port
does it after `watch`.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..engine.packet import IDLE
from ..memory.pages import pages_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..engine.in_flight import InFlightTable
    from ..engine.packet import Packet
    from ..memory.buffer_pool import BufferPool, PoolStatistics
    from ..memory.pages import Extent


class Locked(NamedTuple):
    """So many operations, and the bytes of their buffers and the pages under them."""

    operations: int = 0
    bytes: int = 0
    pages: int = 0

    def __str__(self) -> str:
        return f"{self.operations:,} operations, {self.bytes:,} bytes, {self.pages:,} pages"


class Batches(NamedTuple):
    """How many packets came in how many system calls, and in one at most."""

    calls: int = 0
    packets: int = 0
    largest: int = 0


@dataclass(frozen=True, repr=False)
class Statistics:
    """What a port says of itself; a plain value.

    ``in_flight`` is what the kernel has now, ``in_flight_by_kind`` the same for each kind of
    operation. Pages are those under the buffers, each counted once, so the kinds may add up
    to more than the whole. ``pools`` are the port's buffer pools.

    The rest is None or empty unless ``port.watch()`` was called, and begins there: ``peak``
    and ``peak_by_kind``, where each figure is the highest that it was; ``completions`` of each
    kind; ``batches``, in which packets came from the kernel.
    """

    in_flight: Locked
    in_flight_by_kind: dict[str, Locked]
    pools: tuple[PoolStatistics, ...] = ()
    peak: Locked | None = None
    peak_by_kind: dict[str, Locked] = field(default_factory=dict)
    completions: dict[str, int] = field(default_factory=dict)
    batches: Batches | None = None

    def __repr__(self) -> str:
        return f"<Statistics: {self.in_flight} in flight; print() shows all>"

    def __str__(self) -> str:
        lines = [f"in flight: {self.in_flight}"]
        lines += [f"  {kind}: {locked}" for kind, locked in self.in_flight_by_kind.items()]
        if self.peak is not None:
            lines.append(f"at the peak: {self.peak}")
            lines += [f"  {kind}: {locked}" for kind, locked in self.peak_by_kind.items()]
            ended = ", ".join(f"{count:,} {kind}" for kind, count in self.completions.items())
            lines.append(f"completed: {ended or 'nothing'}")
        if self.batches is not None:
            calls, packets, largest = self.batches
            lines.append(f"{packets:,} packets in {calls:,} batches, {largest:,} at most in one")
        lines += [
            f"pool of {pool.slice_size:,} bytes: {pool.in_use:,} of {pool.slices:,} slices in use,"
            f" {pool.in_use_peak:,} at most; {pool.bytes:,} bytes, {pool.bytes_locked:,} locked"
            for pool in self.pools
        ]
        return "\n".join(lines)


def locked_now(packets: Iterable[Packet]) -> tuple[Locked, dict[str, Locked]]:
    """Return what some packets lock, altogether and by kind."""
    extents: dict[str, list[list[Extent]]] = {}
    for packet in packets:
        if _counts(packet):
            extents.setdefault(packet.kind, []).append(_extents(packet))
    pages: set[int] = set()
    by_kind = {}
    for kind, operations in extents.items():
        pages_of_kind = pages_of(extent for operation in operations for extent in operation)
        pages |= pages_of_kind
        size = sum(size for operation in operations for _, size in operation)
        by_kind[kind] = Locked(len(operations), size, len(pages_of_kind))
    return (
        Locked(
            sum(locked.operations for locked in by_kind.values()),
            sum(locked.bytes for locked in by_kind.values()),
            len(pages),
        ),
        by_kind,
    )


def statistics_of(
    in_flight: InFlightTable, pools: Iterable[BufferPool], watch: Watch | None
) -> Statistics:
    """Return the statistics of a port, with those of its watch if it has one."""
    now, by_kind = locked_now(list(in_flight.values()))
    statistics = Statistics(now, by_kind, tuple(pool.statistics() for pool in pools))
    return statistics if watch is None else watch.add_to(statistics)


def _counts(packet: Packet) -> bool:
    """Tell whether it is counted: it is not the port's own."""
    return not packet.internal


def _extents(packet: Packet) -> list[Extent]:
    try:
        return packet.extents
    except ValueError:  # it has just completed, and its owner has released the memory
        return []


class _Tally:
    """What one kind of operation locks, now and at the peak."""

    __slots__ = ("bytes", "bytes_peak", "operations", "operations_peak", "pages", "pages_peak")

    def __init__(self) -> None:
        self.operations = self.operations_peak = 0
        self.bytes = self.bytes_peak = 0
        #: How many buffers are on each page.
        self.pages: dict[int, int] = {}
        self.pages_peak = 0

    @property
    def peak(self) -> Locked:
        return Locked(self.operations_peak, self.bytes_peak, self.pages_peak)

    def add(self, pages: set[int], size: int) -> None:
        self.operations += 1
        self.bytes += size
        for page in pages:
            self.pages[page] = self.pages.get(page, 0) + 1
        self.operations_peak = max(self.operations_peak, self.operations)
        self.bytes_peak = max(self.bytes_peak, self.bytes)
        self.pages_peak = max(self.pages_peak, len(self.pages))

    def subtract(self, pages: set[int], size: int) -> None:
        self.operations -= 1
        self.bytes -= size
        for page in pages:
            buffers = self.pages[page] - 1
            if buffers:
                self.pages[page] = buffers
            else:
                del self.pages[page]


class Watch:
    """Counts every operation of a port from now on. Any thread may call it."""

    def __init__(self, table: InFlightTable) -> None:
        #: Reentrant: a signal handler may post while its thread holds it.
        self._lock = threading.RLock()
        self._counted: dict[int, tuple[str, set[int], int]] = {}
        self._all = _Tally()
        self._by_kind: dict[str, _Tally] = {}
        self._completions: Counter[str] = Counter()
        self._batches = Batches()
        table.observe(self)
        for address, packet in list(table.items()):
            with self._lock:
                if address in table and address not in self._counted:
                    self.taken(packet)

    def taken(self, packet: Packet) -> None:
        """Count an operation that is submitted."""
        if not _counts(packet):
            return
        extents = _extents(packet)
        pages, size = pages_of(extents), sum(size for _, size in extents)
        with self._lock:
            self._counted[packet.address] = (packet.kind, pages, size)
            self._all.add(pages, size)
            self._by_kind.setdefault(packet.kind, _Tally()).add(pages, size)

    def given_back(self, packet: Packet) -> None:
        """Count the end of an operation."""
        with self._lock:
            counted = self._counted.pop(packet.address, None)
            if counted is None:
                return
            kind, pages, size = counted
            self._all.subtract(pages, size)
            self._by_kind[kind].subtract(pages, size)
            if packet.state is not IDLE:
                self._completions[kind] += 1

    def cancel_asked(self, packet: Packet) -> None:
        """Do nothing: it changes no figure."""

    def batch(self, packets: int) -> None:
        """Count one system call that brought so many packets."""
        with self._lock:
            calls, total, largest = self._batches
            self._batches = Batches(calls + 1, total + packets, max(largest, packets))

    def add_to(self, now: Statistics) -> Statistics:
        """Return the statistics with peaks and totals."""
        with self._lock:
            return Statistics(
                now.in_flight,
                now.in_flight_by_kind,
                now.pools,
                self._all.peak,
                {kind: tally.peak for kind, tally in self._by_kind.items()},
                dict(self._completions),
                self._batches,
            )
