"""CompletionQueue: a kernel port, what is in flight on it, and what has ended.

How a completion travels. An operation is entered in the in-flight table, keyed by the
address of its OVERLAPPED, and submitted. It ends in one of two ways:

- the kernel queues a packet. A `Poller` dequeues packets in batches
  (GetQueuedCompletionStatusEx), takes each operation out of the table by the address in
  its packet, and appends it to the ready queue;
- it finishes on the spot and the kernel, told to skip the packet, queues nothing. The
  submitter itself appends it to the ready queue.

Both end up in one queue, first in, first out, and the kernel is asked again after each
round through it. So a connection whose data is always there comes after the packets that
were there before it, and cannot starve the others.

Several threads may wait at once. A thread that is about to block says so in `waiting`
and then looks at the ready queue again; a thread that appends to it looks at
`waiting` afterwards. So one of the two sees the other, and nobody sleeps while there is
work. A thread is woken by an empty packet, at most one of which is under way.

A signal handler of the user's may raise wherever it finds the main thread. CPython calls it
after a call has returned, and at the end of a loop's body; so what leaves one place and enters
another does so with neither in between, and comments say where that is the reason for the way
a thing is written. `interrupt` sees to Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import weakref
from collections import Counter, deque
from functools import partial
from itertools import islice
from opcode import opmap
from operator import call
from typing import TYPE_CHECKING, Any

from ..errors import closed_error, error_of_code
from ..winapi import INVALID_HANDLE_VALUE
from ..winapi.errorcodes import ERROR_INTERNAL_ERROR
from . import interrupt
from .completion import Completion
from .endless_calls import error_codes
from .in_flight import InFlightTable
from .inbox import Inbox
from .late_packets import Markers, Senders, Tags
from .packet import COMPLETED, PENDING, Packet, PostedPacket
from .poller import Poller
from .signals import Signals
from .timers import Call, ScheduledCall, Timers
from .waker import Waker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ..handles.handle import Handle
    from .in_flight import Tracer, Watcher
    from .kernel import Kernel
    from .operation import Operation
    from .packet import Event

logger = logging.getLogger("pyiocp")

SPARE_LOCKS_MAX = 256
"""How many locks of handles that are gone are kept for others."""

#: How many packets are dispatched between two looks at the timers. At 2,000 connections, a
#: look a round only let timers be 1.9 s late.
_TIMERS_EVERY = 64


_RESUME = opmap["RESUME"]
"""The instruction that a function begins with. CPython looks for signals in it."""


class CompletionQueue:
    """The engine of one `CompletionPort`.

    port: whose it is. Lifetime: the port has its queue and not the other way round, so that a
        port that is dropped is closed at once; a handle has both.

    Raises ValueError for a number out of range.
    """

    handle = 0
    """The kernel port; 0 while there is none: not yet, or no more."""

    def __init__(self, port: Any, *, concurrency: int, batch: int, kernel: Kernel) -> None:
        if not 0 <= concurrency <= 0xFFFFFFFF:
            raise ValueError(f"concurrency must be 0 or a number of threads, not {concurrency}")
        if not 1 <= batch <= 65536:
            raise ValueError(f"batch must be between 1 and 65536 packets, not {batch}")
        self._port = weakref.ref(port)
        self._name = type(port).__name__
        self.closing = False
        self.closed = False
        self.concurrency = concurrency
        self.batch_size = batch
        self.kernel = kernel
        interrupt.trust_all_of(kernel)
        self.error_codes = error_codes(kernel.last_error)
        #: Every packet that the kernel may still write to, by the address of its OVERLAPPED.
        # Lifetime: this table is the only owner; see operation.py.
        self.in_flight = InFlightTable()
        #: Counts what has happened, once statistics are asked for.
        self.watcher: Watcher | None = None
        #: Writes down what operations and threads do, while there is a trace.
        self.tracer: Tracer | None = None
        self.handles: set[Handle] = set()
        self.ifs_handles_by_family: dict[int, bool] = {}
        #: Locks that nobody holds any more, of handles that are gone. Up to CPython 3.12 a lock is
        #: a semaphore of the kernel's: 20 to 40 us under Wine to make and to drop.
        self.spare_locks: deque[threading.RLock] = deque(maxlen=SPARE_LOCKS_MAX)
        #: Held by what lets a handle or a packet in, and by close(), which lets nothing more in.
        #: Reentrant: the user's signal handler may post or stop, and interrupts the main
        #: thread wherever it is.
        self.entry_lock = threading.RLock()
        self.waiting: set[int] = set()
        #: Of the threads that ask the kernel, or have just been answered.
        self.polling: set[Poller] = set()
        self.pollers = threading.local()
        """``of_thread`` is the thread's own, once it has waited."""
        self.dispatching: set[int] = set()
        """The threads that are calling receivers, and so perhaps hooks."""
        self.timers = Timers(kernel.monotonic)
        #: What sends packets of its own making, and what stands for an OVERLAPPED in others.
        self.senders = Senders()
        self.tags = Tags()
        #: What tells when all that was queued has been routed.
        self.markers = Markers(self, self.post, self.polling)
        # Lifetime: an OVERLAPPED whose operation is over keeps its address to itself for as
        # long as a packet may come that names it; see `settle`.
        self.retired: dict[int, memoryview] = {}
        #: What has ended, first in, first out.
        self.ready: deque[Event] = deque()
        self.on_exception: list[Event] = []
        """Recovery callbacks, for what a receiver that has raised may have left undone."""
        # An iterator: a loop takes from it without a call. It raises IndexError at the end.
        self._next_ready = iter(self.ready.popleft, None)
        self._timer_heap = self.timers.heap
        #: Completions that were dispatched and that no `wait` has returned yet.
        self.unclaimed: deque[Completion] = deque()
        self._next_unclaimed = iter(self.unclaimed.popleft, None)
        self.waker = Waker(self)
        self.signals = Signals(self)
        #: Reentrant, as the entry lock is.
        self.close_lock = threading.RLock()
        #: The thread that closes the port: the one that waits on.
        self.closer: int | None = None

    def open(self) -> None:
        """Make the kernel port.

        Last of all: if a signal handler raises before this, there is no kernel port to leak.

        Raises an `IocpError` if the system gives none.

        Source: https://learn.microsoft.com/windows/win32/fileio/createiocompletionport
        """
        handle = self.kernel.CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, self.concurrency)
        if handle is None:
            raise error_of_code("CreateIoCompletionPort", self.kernel.last_error())
        self.handle = handle

    @property
    def port(self) -> Any:
        """The `CompletionPort`; while that is being dropped, this, which shows the same."""
        return self._port() or self

    # What gets in

    def enqueue(self, event: Event) -> None:
        """Append an operation that has ended, and wake a thread if all of them sleep."""
        self.ready.append(event)
        if self.waiting:
            self.wake()

    def post(self, packet: PostedPacket, count: int) -> None:
        """Queue a packet with the kernel, or raise an `IocpError`; see `CompletionPort.post`.

        Source: https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus
        """
        kernel = self.kernel
        post = partial(
            kernel.PostQueuedCompletionStatus,
            self.handle,
            count,
            0,
            ctypes.byref(packet.overlapped),
        )
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
            raise error_of_code("PostQueuedCompletionStatus", code, None, self.port)

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
        self.complete(address, event)
        words = self.retired.get(address)
        if words is not None:
            self.markers.call_when_passed(partial(self._release, address, words))

    def _release(self, address: int, words: memoryview) -> None:
        """Let go of a retired OVERLAPPED, unless its address has another tenant by now."""
        if self.retired.get(address) is words:
            del self.retired[address]

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

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the port call a function; see `CompletionPort.call_soon`."""
        self.enqueue_call(Call(function, arguments))

    def enqueue_call(self, wanted: Call) -> None:
        """Have a call made; see `call_soon`."""
        if self.closed:
            self.check_open("calls nothing any more")
        self.ready.append((wanted, 0, 0))
        if self.waiting:
            self.wake()

    def call_later(
        self, seconds: float, function: Callable[..., object], *arguments: Any
    ) -> ScheduledCall:
        """Have the port call a function after a while; see `CompletionPort.call_later`."""
        if self.closed:
            self.check_open("calls nothing any more")
        scheduled = self.timers.add(seconds, function, arguments)
        # A waiting thread sleeps until the timer that was the next one before.
        if self.waiting and self.timers.next_due() == scheduled.due:
            self.wake()
        return scheduled

    def wake(self) -> None:
        """Make one waiting thread return."""
        self.waker.wake()

    def check_open(self, then: str, *, closing: bool = False) -> None:
        """Raise `PortClosedError` on a closed port: "… is closed: it", and `then`.

        closing: also on one that has begun to close.
        """
        if self.closed or (closing and self.closing):
            raise closed_error(self, f"it {then}")

    # What gets out

    def wait(self, timeout: float | None, limit: int) -> list[Completion]:
        """Return completions, when there are any; see `CompletionPort.wait`."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout}")
        if self.closing and (self.closed or self.closer != threading.get_ident()):
            raise closed_error(self, "nothing can be waited for")
        deadline = None if timeout is None else self.kernel.monotonic() + timeout
        completions: list[Completion] = []
        try:  # not by poller(): a call for each wait
            poller = self.pollers.of_thread
        except AttributeError:
            poller = self.poller()
        while True:
            try:
                if self.unclaimed:
                    with contextlib.suppress(IndexError):  # no more
                        completions.extend(islice(self._next_unclaimed, limit))
                    if completions:
                        deadline = 0.0
                over = poller.gather(deadline)
                self.dispatch(completions, limit)
                if interrupt.presses_noted:
                    interrupt.raise_noted()
            except BaseException:
                # Raised with nothing in hand: what was dequeued waits for the next call.
                self.unclaimed.extendleft(reversed(completions))
                if self.waiting and (completions or self.ready):
                    self.wake()
                raise
            if completions:
                return completions
            # Sessions and calls may leave the ready queue never empty: the time is over then too.
            over = over or (deadline is not None and self.kernel.monotonic() >= deadline)
            if (over or self.closing) and not self.unclaimed:
                return completions

    def poller(self) -> Poller:
        """Return what this thread asks the kernel with."""
        try:
            poller: Poller = self.pollers.of_thread
        except AttributeError:
            poller = self.pollers.of_thread = Poller(self)
        return poller

    def keep_for_wait(self, completions: list[Completion]) -> None:
        """Have `wait` return these, on this or another thread."""
        self.unclaimed.extend(completions)
        if self.waiting:
            self.wake()

    def dispatch(self, completions: list[Completion], limit: int) -> None:
        """Hand one round of the ready queue to its receivers, the rest to `completions`.

        One round is what is there now: what is appended meanwhile waits until the kernel
        has been asked again.
        """
        if len(completions) >= limit:
            return
        ready, tracer = self.ready, self.tracer
        begun_ns = 0
        ident = threading.get_ident()
        outermost = ident not in self.dispatching
        self.dispatching.add(ident)
        try:
            if tracer is not None:
                begun_ns = tracer.now()
            # The loop takes an event and names it without a call in between: see the module.
            for n, (packet, count, status) in enumerate(islice(self._next_ready, len(ready)), 1):
                packet.state = COMPLETED
                try:
                    if packet.receiver is None:
                        # Not append(): after it, a handler might raise into the clause below.
                        completions += (packet.finish(count, status),)
                    else:
                        packet.receiver(packet, count, status)
                except BaseException as error:
                    # Receivers see to their own errors. One that did not must not take the
                    # other packets of the round, and the worker, with it.
                    if packet.receiver is None:
                        completions.append(_unfinished(packet, count, status, error))
                    elif _not_begun(error):
                        ready.append((packet, count, status))
                    ready += self.on_exception
                    if self.waiting:  # this thread may not go on
                        self.wake()
                    if not isinstance(error, Exception):
                        raise
                    logger.exception("the completion of %r could not be dealt with", packet)
                if tracer is not None:
                    tracer.worked(packet, begun_ns)
                    begun_ns = tracer.now()  # not with the next event in hand
                if len(completions) >= limit:
                    return
                if not n % _TIMERS_EVERY and self._timer_heap:
                    self.enqueue_due_timers()
        except IndexError:
            return  # other threads were faster
        finally:
            if outermost:
                self.dispatching.discard(ident)

    def enqueue_due_timers(self) -> None:
        """Put timers that are due before all that is ready: a game's tick does not queue."""
        due: list[Event] = []
        try:
            self.timers.pop_due(due)
        finally:  # also those that were popped before a signal handler raised
            if due:
                self.ready.extendleft(due[::-1])

    # What there is

    def in_flight_by_kind(self) -> dict[str, int]:
        """Return how many operations are in flight; see `CompletionPort.in_flight_by_kind`."""
        counts: Counter[str] = Counter()
        for packet in list(self.in_flight.values()):
            if not packet.internal:
                counts[packet.kind] += 1
        return dict(counts)

    def __repr__(self) -> str:
        if self.closed:
            return f"<{self._name} closed>"
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.in_flight_by_kind().items())
        return f"<{self._name} {self.handle:#x}: {kinds or 'nothing'} in flight>"


def _not_begun(error: BaseException) -> bool:
    """Tell whether a receiver has done nothing yet: a signal handler interrupted its beginning.

    error: as it has come out of the receiver.
    """
    traceback = error.__traceback__
    receiver = None if traceback is None else traceback.tb_next
    if receiver is None:
        return False
    if _at_its_beginning(receiver):
        return True
    called = receiver.tb_next
    # Receivers that call this do nothing else: a test sees to that.
    hands_on = called is not None and called.tb_frame.f_code is Inbox.deliver_end.__code__
    return hands_on and called is not None and _at_its_beginning(called)


def _at_its_beginning(traceback: TracebackType) -> bool:
    """Tell whether a function was interrupted before its first line."""
    # An instruction and its argument are a byte each.
    beginning = 2 * traceback.tb_frame.f_code.co_code[::2].index(_RESUME)
    return traceback.tb_lasti <= beginning


def _unfinished(packet: Packet, count: int, status: int, error: BaseException) -> Completion:
    """Return the completion of a packet whose `finish` has raised."""
    if isinstance(error, OSError):
        return Completion(packet, packet.key, count, status, error)
    internal = error_of_code(packet.function_name, ERROR_INTERNAL_ERROR, None, packet)
    internal.__cause__ = error
    return Completion(packet, packet.key, count, status, internal)
