"""Intake: what gets into a completion queue, and what there is of it meanwhile.

Operations that have ended without a packet, packets of one's own, functions to call now or
later. What is submitted to the kernel is entered in the in-flight table; what has ended, on
the spot or by a packet, is in the ready queue.

What belongs here: that state, and the ways in. How it gets out again is in `delivery`.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any

from ..errors import PortClosedError, error_of_code
from ..winapi import INVALID_HANDLE_VALUE
from .endless_calls import error_codes
from .in_flight import InFlightTable
from .keyed_packets import Senders, Tags
from .late_packets import Markers
from .operation import PENDING, Operation, Packet, PostedPacket
from .timers import Call, Timer, Timers
from .waker import Waker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handles.handle import Handle
    from ..statistics import Watch
    from ..trace import Trace
    from .batch import Batch
    from .port_settings import PortSettings

    Event = tuple[Packet | Call, int, int]
    """A packet whose operation has ended, its byte count and its NTSTATUS; or a call."""


SPARE_LOCKS_MAX = 256
"""How many locks of handles that are gone are kept for others."""


class Intake:
    """The ways into a completion queue; users make a `CompletionPort`."""

    handle = 0
    """The kernel port; 0 while there is none: not yet, or no more."""

    def __init__(self, settings: PortSettings) -> None:
        self.closing = False
        self.closed = False
        self.concurrency = settings.concurrency
        self.kernel = settings.kernel
        self.error_codes = error_codes(self.kernel.last_error)
        #: Every packet that the kernel may still write to, by the address of its OVERLAPPED.
        # Lifetime: this table is the only owner; see operation.py.
        self.in_flight = InFlightTable()
        #: What counts what has been, once somebody has asked for it.
        self.watcher: Watch | None = None
        #: What writes down who does what, and when, while somebody wants it.
        self.tracer: Trace | None = None
        self.handles: set[Handle] = set()
        self.ifs_handles_by_family: dict[int, bool] = {}
        #: Locks that nobody holds any more, of handles that are gone. Up to CPython 3.12 a lock is
        #: a semaphore of the kernel's: 20 to 40 us under Wine to make and to drop.
        self.spare_locks: deque[threading.RLock] = deque(maxlen=SPARE_LOCKS_MAX)
        #: Held by what lets a handle or a packet in, and by close(), which shuts the door.
        #: Reentrant: the user's signal handler may post or stop, and interrupts the main
        #: thread wherever it is.
        self.door = threading.RLock()
        self.waiting: set[int] = set()
        #: Of the threads that ask the kernel, or have just been answered.
        self.polling: set[Batch] = set()
        self.timers = Timers(self.kernel.monotonic)
        #: What sends packets of its own making, and what stands for an OVERLAPPED in others.
        self.senders = Senders()
        self.tags = Tags()
        #: What tells when all that was queued has been routed.
        self.markers = Markers(self)
        # Lifetime: an OVERLAPPED whose operation is over keeps its address to itself for as
        # long as a packet may come that names it; see `settle`.
        self.retired: dict[int, memoryview] = {}
        #: What has ended, first in, first out.
        self.ready: deque[Event] = deque()
        self.waker = Waker(self)

    def _open(self) -> None:
        """Make the kernel port: last of all, for a port that a signal cuts short is none.

        Raises an `IocpError` if the system gives none.

        Source: https://learn.microsoft.com/windows/win32/fileio/createiocompletionport
        """
        handle = self.kernel.CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, self.concurrency)
        if handle is None:
            raise error_of_code("CreateIoCompletionPort", self.kernel.last_error())
        self.handle = handle

    def enqueue(self, event: Event) -> None:
        """Append an operation that has ended, and wake a thread if all of them sleep."""
        self.ready.append(event)
        if self.waiting:
            self.wake()

    def post(self, key: Any, count: int = 0) -> PostedPacket:
        """Queue a packet of your own; it comes back as a completion with this key.

        key: any object. count: 0 to 2**32 - 1, what the completion gives as ``bytes``.

        Raises `PortClosedError`, ValueError for a count out of range, or an `IocpError`
        if the kernel has no room for the packet; then nothing has been queued. Any thread
        may call it; this is the way to tell a waiting thread something.

        Source: https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus
        """
        if not 0 <= count <= 0xFFFFFFFF:
            raise ValueError(f"count must fit in 32 bits, not {count}")
        packet = PostedPacket(key)
        with self.door:
            if self.closing:
                raise PortClosedError(f"{self!r} is closed: it takes no packet")
            self.post_packet(packet, count)
        return packet

    def settle(self, operation: Operation, address: int) -> None:
        """Complete an operation that has ended, whether or not a packet comes for it.

        address: that of the OVERLAPPED which it was submitted with.

        Called with the lock of its handle; again, if a signal handler has raised meanwhile.
        The operation gets a fresh OVERLAPPED, and the old one is retired until a packet that
        names it would have come: so that cannot be taken for the next submission's.
        """
        event = operation, operation.transferred, operation.status
        if operation.address == address:
            # Before it is off the table: who does not find it there looks here.
            self.retired[address] = operation.words
            operation.renew()
        if self.complete(address, event):
            self.markers.call_when_passed(partial(self.retired.pop, address, None))

    def complete(self, address: int, event: Event) -> bool:
        """Take what was submitted with this address off the table, and append how it ended.

        Returns False if it is not there: its packet has come. Called again, it does nothing.
        """
        try:
            del self.in_flight[address]
        except KeyError:
            return False
        except BaseException:  # an observer of the table was interrupted
            self.in_flight.pop(address, None)
            self.ready.append(event)
            raise
        self.ready.append(event)
        if self.waiting:
            self.wake()
        return True

    def post_packet(self, packet: PostedPacket, count: int) -> None:
        """Queue a packet, or raise an `IocpError`; see `post`.

        Source: https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus
        """
        kernel = self.kernel
        overlapped = ctypes.byref(packet.overlapped)
        post = partial(kernel.PostQueuedCompletionStatus, self.handle, count, 0, overlapped)
        # As in Operation: no bytecode between the two, and no call until they are made.
        attempt = map(call, (post, kernel.last_error))
        packet.state = PENDING
        try:
            self.in_flight[packet.address] = packet
        except BaseException:  # an observer of the table was interrupted
            self.in_flight.pop(packet.address, None)
            raise
        posted, code = attempt
        if not posted:
            del self.in_flight[packet.address]
            raise error_of_code("PostQueuedCompletionStatus", code, None, self)

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the port call a function, after what is ready now; from any thread.

        It is called by a thread in `wait` or `run`. What it raises is logged. Raises
        `PortClosedError` once the port is closed.
        """
        if self.closed:
            raise PortClosedError(f"{self!r} is closed: it calls nothing any more")
        self.enqueue((Call(function, arguments), 0, 0))

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Have the port call a function after some seconds; from any thread.

        Returns the timer, whose ``cancel()`` prevents the call. What the function raises
        is logged. Raises ValueError if `seconds` is negative, `PortClosedError` once the
        port is closed.
        """
        if self.closed:
            raise PortClosedError(f"{self!r} is closed: it calls nothing any more")
        timer = self.timers.add(seconds, function, arguments)
        # Whoever waits does so until the timer that was the next one before.
        if self.waiting and self.timers.next_due() == timer.due:
            self.wake()
        return timer

    def wake(self) -> None:
        """Make one waiting thread return."""
        self.waker.wake()
