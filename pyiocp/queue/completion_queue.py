"""The completion queue: a kernel port, the in-flight table and the ready queue.

How a completion travels. An operation is entered in the in-flight table, keyed by the
address of its OVERLAPPED, and submitted. It ends in one of two ways:

- the kernel queues a packet. `CompletionQueue.gather` dequeues packets in batches
  (GetQueuedCompletionStatusEx), takes each operation out of the table by the address in
  its packet, and appends it to the ready queue;
- it finishes on the spot and the kernel, told to skip the packet, queues nothing. The
  submitter itself appends it to the ready queue.

Both end up in one queue, first in, first out, and the kernel is asked again after each
round through it. So a connection whose data is always there comes after the packets that
were there before it, and cannot starve the others.

Several threads may wait at once. A thread that is about to block says so in `waiting`
and then looks at the ready queue again; whoever appends to the ready queue looks at
`waiting` afterwards. So one of the two sees the other, and nobody sleeps while there is
work. A thread is woken by an empty packet, at most one of which is under way.

A signal handler of the user's may raise wherever it finds the main thread. CPython calls it
after a call has returned, and at the end of a loop's body; so what leaves one place and enters
another does so with neither in between, and comments say where that is the reason for the way
a thing is written. `interrupt` sees to Ctrl-C.

What belongs here: the way of a packet from the kernel to its operation. Which kinds of
handles and operations there are, and what servers do with them, is not known here.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import sys
import threading
import time
import warnings
from collections import Counter, deque
from functools import partial
from itertools import islice
from operator import call
from typing import TYPE_CHECKING, Any

from ..completion import Completion
from ..errors import (
    AddressUnavailableError,
    PortClosedError,
    ResourceLimitError,
    error_of_code,
)
from ..kernel import Kernel
from ..memory.kept_memory import keep_for_ever, keep_unwritten
from ..operation import COMPLETED, PENDING, Operation, Packet, PostedPacket, StrayPacket
from ..winapi import ERROR_ABANDONED_WAIT_0, INVALID_HANDLE_VALUE, WAIT_TIMEOUT
from ..winapi.errorcodes import ERROR_INTERNAL_ERROR, STATUS_PENDING
from . import interrupt
from .attempts import error_codes
from .batch import Batch
from .in_flight import InFlightTable
from .keyed_packets import FIRST_KEY, Senders, Tags
from .marker import Markers
from .timers import Call, Timer, Timers
from .waker import WAKE_KEY, Waker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handles.handle import Handle
    from ..statistics import Watch
    from ..trace import Trace
    from .signal_receiver import SignalReceiver

    Event = tuple[Packet | Call, int, int]
    """A packet whose operation has ended, its byte count and its NTSTATUS; or a call."""

logger = logging.getLogger("pyiocp")

#: Batches dequeued in a row before what they brought is dispatched.
_BATCHES_MAX = 64

#: How many packets are dispatched between two looks at the timers. At 2,000 connections, a
#: look a round only let timers be 1.9 s late.
_TIMERS_EVERY = 64

#: What bounds a wait when nothing else does. Two things cannot be signalled: a wake-up
#: packet that the kernel refused, and a Ctrl-C while other code holds the interpreter's
#: wake-up socket. They are noticed after this long.
_WAIT_MAX_MS = 1000

#: After how long close() asks again for what is in flight to be cancelled.
_CANCEL_AGAIN_S = 0.2

#: How long close() waits for threads to return that it has woken.
_RELEASE_MAX_S = 5.0


class CompletionQueue:
    """An I/O completion port and the memory of everything in flight on it.

    This is ring 2 without its kinds of handle; users make a `CompletionPort`.

    concurrency: how many threads the kernel lets run at a time while packets are queued;
        0 means one per processor.
    batch: how many packets one system call may dequeue.
    kernel: what stands for the operating system.
    signal_receiver: makes what wakes the main thread's waits when a signal comes.
    """

    handle = 0
    """The kernel port; 0 while there is none: not yet, or no more."""

    def __init__(
        self,
        *,
        concurrency: int,
        batch: int,
        kernel: Kernel | None,
        signal_receiver: Callable[[CompletionQueue], SignalReceiver],
    ) -> None:
        if not 0 <= concurrency <= 0xFFFFFFFF:
            raise ValueError(f"concurrency must be 0 or a number of threads, not {concurrency}")
        if not 1 <= batch <= 65536:
            raise ValueError(f"batch must be between 1 and 65536 packets, not {batch}")
        self.closing = False
        self.closed = False
        self.kernel = Kernel() if kernel is None else kernel
        handle = self.kernel.CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, concurrency)
        if handle is None:
            raise error_of_code("CreateIoCompletionPort", self.kernel.last_error())
        self.handle = handle
        self.concurrency = concurrency
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
        #: Held by what lets a handle or a packet in, and by close(), which shuts the door.
        #: Reentrant: the user's signal handler may post or stop, and interrupts the main
        #: thread wherever it is.
        self.door = threading.RLock()
        self.waiting: set[int] = set()
        #: Of the threads that ask the kernel, or have just been answered.
        self.polling: set[Batch] = set()
        self._dispatching: set[int] = set()
        self._main_wanted = False
        self._main_returns = 0
        self.timers = Timers(self.kernel.monotonic)
        #: What sends packets of its own making, and what stands for an OVERLAPPED in others.
        self.senders = Senders()
        self.tags = Tags()
        #: What tells when all that was queued has been routed.
        self.markers = Markers(self)
        # Lifetime: an OVERLAPPED whose operation is over keeps its address to itself for as
        # long as a packet may come that names it; see `settle`.
        self.retired: dict[int, memoryview] = {}
        #: What has ended, first in, first out. Taken by `_next_ready`: see there.
        self.ready: deque[Event] = deque()
        self._unclaimed: deque[Completion] = deque()
        # Iterators: a loop takes from them without a call. They raise IndexError at the end.
        self._next_ready = iter(self.ready.popleft, None)
        self._next_unclaimed = iter(self._unclaimed.popleft, None)
        self._batch_size = batch
        self._batches = threading.local()
        self._waker = Waker(self)
        self._close_lock = threading.Lock()
        self._closer: int | None = None
        self._make_signal_receiver = signal_receiver
        self._signals: SignalReceiver | None = None

    # Getting packets in

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
        self._waker.wake()

    # Getting completions out

    def wait(self, timeout: float | None = None, limit: int = 64) -> list[Completion]:
        """Wait until at least one operation has ended; return the completions there are.

        timeout: seconds; None waits for ever, 0 only looks. Below a millisecond it is
            rounded up, not down to a busy loop.
        limit: the most completions to return.

        Returns an empty list when the time is over, or when the port was closed meanwhile.
        The order is that in which the kernel, or the submitter, reported the ends.

        Raises KeyboardInterrupt on Ctrl-C (in the main thread), without losing a
        completion; `PortClosedError` on a closed port; ValueError for a negative timeout
        or a limit below 1. Several threads may wait at once: each completion goes to one.

        Source: https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout}")
        if self.closed or (self.closing and self._closer != threading.get_ident()):
            raise PortClosedError(f"{self!r} is closed: nothing can be waited for")
        deadline = None if timeout is None else self.kernel.monotonic() + timeout
        completions: list[Completion] = []
        while True:
            try:
                if self._unclaimed:
                    with contextlib.suppress(IndexError):  # no more
                        completions.extend(islice(self._next_unclaimed, limit))
                if completions:
                    deadline = 0.0
                over = self.gather(deadline)
                self.dispatch(completions, limit)
                interrupt.raise_noted()
            except BaseException:
                # Raised with nothing in hand: what was dequeued waits for the next call.
                self._unclaimed.extendleft(reversed(completions))
                if completions and self.waiting:
                    self.wake()
                raise
            if completions:
                return completions
            # Sessions and calls may leave the ready queue never empty: the time is over then too.
            over = over or (deadline is not None and self.kernel.monotonic() >= deadline)
            if (over or self.closing) and not self._unclaimed:
                return completions

    def keep_for_wait(self, completions: list[Completion]) -> None:
        """Have `wait` return these, on this or another thread."""
        self._unclaimed.extend(completions)
        if self.waiting:
            self.wake()

    def gather(self, deadline: float | None) -> bool:
        """Bring what the kernel has into the ready queue; wait if both are empty.

        Returns True when `deadline` (on the kernel's monotonic clock) is over, False when
        there is something to dispatch or to look at: a packet, a timer, a wake-up.
        """
        try:
            batch = self._batches.of_thread
        except AttributeError:
            batch = self._batches.of_thread = self._make_batch()
        if batch in self.polling:
            # Called by a signal handler that has interrupted this very thread in here.
            batch = self._make_batch()
        try:
            batch.rounds += 1
            self.polling.add(batch)
            # Only now: close() gives the port's number away when nobody is in `polling`.
            if self.closed:
                return True
            if self.ready:
                over = False
                if self._signals is None:
                    self.hold_signals()
                self._poll(batch, 0)
            else:
                over = self._sleep(batch, deadline)
        finally:
            self.polling.discard(batch)
        self._enqueue_due_timers()
        # Among what was dequeued may be the packet that should wake another thread.
        if len(self.ready) > 1 and self.waiting:
            self.wake()
        return over and not self.ready

    def _make_batch(self) -> Batch:
        kernel = self.kernel
        return Batch(
            kernel.GetQueuedCompletionStatusEx, kernel.last_error, self.handle, self._batch_size
        )

    def _sleep(self, batch: Batch, deadline: float | None) -> bool:
        """Wait for packets; return whether `deadline` was over already."""
        main = interrupt.in_main_thread()
        look_again = self.hold_signals()
        while self._main_wanted and not main:
            time.sleep(0.001)
        try:
            self.waiting.add(batch.ident)
            # Only now: who came before we were in `waiting` did not wake us.
            milliseconds, over = self._time_to_wait(deadline, look_again)
            if self.ready or self.closing or (main and interrupt.noted()):
                milliseconds = 0
            tracer = self.tracer
            begun_ns = 0 if tracer is None else time.perf_counter_ns()
            self._poll(batch, milliseconds)
            if tracer is not None:
                tracer.slept(begun_ns)
        finally:
            self.waiting.discard(batch.ident)
            if main:
                self._main_returns += 1
        return over

    def rouse_main(self) -> None:
        """Have the main thread return from its sleep, if it sleeps; called by another one.

        The kernel hands a packet to whichever thread it likes. So those that it wakes
        instead keep away from it until the main thread has had one.
        """
        main, returns = threading.main_thread().ident, self._main_returns
        self._main_wanted = True
        try:
            while main in self.waiting and self._main_returns == returns:
                self.wake()
                time.sleep(0.001)
        finally:
            self._main_wanted = False

    def dispatch(self, completions: list[Completion], limit: int) -> None:
        """Hand one round of the ready queue to its receivers, the rest to `completions`.

        One round is what is there now: what is appended meanwhile waits until the kernel
        has been asked again.
        """
        ident = threading.get_ident()
        outermost = ident not in self._dispatching
        self._dispatching.add(ident)
        try:
            self._dispatch_round(completions, limit)
        finally:
            if outermost:
                self._dispatching.discard(ident)

    def _dispatch_round(self, completions: list[Completion], limit: int) -> None:
        ready = self.ready
        tracer = self.tracer
        begun_ns = 0
        if len(completions) >= limit:
            return
        try:
            # The loop takes an event and names it without a call in between: see the module.
            for n, (packet, count, status) in enumerate(islice(self._next_ready, len(ready)), 1):
                packet.state = COMPLETED
                if tracer is not None:
                    begun_ns = time.perf_counter_ns()
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
                    if not isinstance(error, Exception):
                        raise
                    logger.exception("the completion of %r could not be dealt with", packet)
                if tracer is not None:
                    tracer.worked(packet, begun_ns)
                if len(completions) >= limit:
                    return
                if not n % _TIMERS_EVERY:
                    self._enqueue_due_timers()
        except IndexError:
            return  # other threads were faster

    def _poll(self, batch: Batch, milliseconds: int) -> None:
        """Dequeue what the kernel has into the ready queue, batch by batch.

        All of it, not one batch: the rest would wait in the kernel behind everything that
        finishes on the spot meanwhile. At 1,000 connections, one batch a round let the
        slowest one have 0.4 times the messages of the mean.
        """
        try:
            if batch.interrupted:
                self._route(batch)
                batch.interrupted = False
            for _ in range(_BATCHES_MAX):
                count = batch.fill(milliseconds)
                if not count:
                    code = batch.error
                    if code == WAIT_TIMEOUT or (code == ERROR_ABANDONED_WAIT_0 and self.closing):
                        return
                    raise error_of_code("GetQueuedCompletionStatusEx", code, None, self)
                if self.watcher is not None:
                    self.watcher.batch(count)
                self._route(batch)
                if count < batch.size:
                    return
                milliseconds = 0
        except BaseException:
            # Other threads may wait for what has been dequeued; and if this is interrupted as
            # well, the thread's next poll goes on with it.
            batch.interrupted = True
            self._route(batch)
            batch.interrupted = False
            raise

    def _route(self, batch: Batch) -> None:
        """Append each packet's operation to the ready queue, found by its OVERLAPPED."""
        in_flight = self.in_flight
        ready = self.ready
        last_key = self.senders.last_key
        for entry in batch.entries():
            key, address, status, count = entry
            event: Event | None = None
            try:
                # First of all: what a sender's packet has in the place of an address is none.
                if FIRST_KEY <= key <= last_key:
                    self.senders.deliver(key, address, count & 0xFFFFFFFF)
                    continue
                try:
                    packet = in_flight[address]
                    if packet.words[0] == STATUS_PENDING and packet.unwritten:
                        count, status = keep_unwritten(packet, status & 0xFFFFFFFF)
                    event = (packet, count & 0xFFFFFFFF, status & 0xFFFFFFFF)
                    # No call from here to append(), if nobody observes the table.
                    del in_flight[address]
                except KeyError:
                    event = None
                    event = self._event_of_other(key, address, status, count)
            except BaseException:
                # In the senders' code or here, or in an observer's.
                if event is None:
                    batch.put_back(entry)
                else:
                    in_flight.pop(address, None)
                raise
            finally:
                if event is not None:
                    ready.append(event)

    def _event_of_other(self, key: int, address: int, status: int, count: int) -> Event | None:
        """Return what a packet is that no operation waits for, if it is for the user at all.

        Called again if it is interrupted.
        """
        if address == 0 and key == WAKE_KEY:
            self._waker.arrived()
        elif address not in self.retired and (key or not self.tags.is_one(address)):
            return StrayPacket(key), count & 0xFFFFFFFF, status & 0xFFFFFFFF
        return None

    def _enqueue_due_timers(self) -> None:
        """Put timers that are due before all that is ready: a game's tick does not queue."""
        due: list[Event] = []
        try:
            self.timers.pop_due(due)
        finally:  # also those that were popped before a signal handler raised
            self.ready.extendleft(due[::-1])

    def _time_to_wait(self, deadline: float | None, seconds: float) -> tuple[int, bool]:
        """Return how many milliseconds to sleep, and whether the deadline is over.

        That is until the deadline or the next timer, and for `seconds` at most.
        """
        timer = self.timers.next_due()
        if deadline is None and timer is None:
            return math.ceil(min(seconds * 1000, _WAIT_MAX_MS)), False  # 130 ns less
        now = self.kernel.monotonic()
        until = now + seconds
        if deadline is not None:
            until = min(until, deadline)
        if timer is not None and timer < until:
            until = timer
        over = deadline is not None and now >= deadline
        # Rounded up: a wait that ends early would spin until the deadline.
        return max(0, math.ceil(min((until - now) * 1000, _WAIT_MAX_MS))), over

    def hold_signals(self) -> float:
        """Have signals end the main thread's sleep; return for how many seconds they do.

        Does nothing on another thread, for as long as you like.
        """
        if not interrupt.in_main_thread():
            return math.inf
        if self._signals is None and not self.closing:
            # Closed by another thread, just now; or too much memory is locked, or sockets or
            # their numbers have run out: then the next wait tries again, and until then a
            # signal is noticed within a second.
            with contextlib.suppress(PortClosedError, ResourceLimitError, AddressUnavailableError):
                self._signals = self._make_signal_receiver(self)
        if self._signals is None or self.closing:
            return math.inf
        return self._signals.hold()

    # The end

    def close(self, timeout: float = 5.0) -> list[Completion]:
        """Cancel what is in flight, dequeue it all, then close every handle and the port.

        timeout: how many seconds to wait for the kernel to give back what it holds.

        Returns the completions that nobody had waited for. What is still in flight when
        the time is over is kept alive for the life of the process, on purpose, because
        the kernel may yet write to it, and named in a ResourceWarning.

        Closing twice does nothing. Threads that wait return. Any thread may call it.
        """
        completions: list[Completion] = []
        if self._closer == threading.get_ident():
            return completions  # called by a hook that the draining below calls
        with self._close_lock:
            if self.closed:
                return completions
            self._closer = threading.get_ident()
            try:
                self._drain(completions, self.kernel.monotonic() + timeout)
            except BaseException:
                # A hook has ended it. The port is not closed yet: close() may be called again.
                self._unclaimed.extendleft(reversed(completions))
                raise
            finally:
                self._closer = None
        completions.extend(self._unclaimed)
        self._unclaimed.clear()
        if self.in_flight:
            keep_for_ever(self.in_flight)
            kinds = ", ".join(f"{n} {kind}" for kind, n in self.in_flight_by_kind().items())
            warnings.warn(
                f"{self!r} closed with operations in flight after {timeout} s:"
                f" {kinds or 'the port itself has some'}."
                " Their memory is kept for the life of the process.",
                ResourceWarning,
                stacklevel=2,
            )
        interrupt.raise_noted()
        return completions

    def _drain(self, completions: list[Completion], deadline: float) -> None:
        """Take back what is in flight, send every thread away, close handles and port."""
        with self.door:
            self.closing = True
        if self._signals is not None:
            self._signals.cancel()
        cancel_at = 0.0
        while self.in_flight or self.ready or self._hooks_elsewhere():
            now = self.kernel.monotonic()
            # Again and again: Wine forgets to cancel a send that is moving bytes just then.
            if now >= cancel_at:
                cancel_at = now + _CANCEL_AGAIN_S
                for handle in list(self.handles):
                    handle.cancel()
            self.gather(min(deadline, cancel_at))
            self.dispatch(completions, sys.maxsize)
            # Calls may beget calls: the time is over then, too, however full the queue is.
            if self.kernel.monotonic() >= deadline:
                break
        with self.door:
            for handle in list(self.handles):
                handle.close()
            if self._signals is not None:
                self._signals.release()
            self.closed = True
        self._release_pollers()
        number, self.handle = self.handle, 0
        self.kernel.CloseHandle(number)

    def _hooks_elsewhere(self) -> bool:
        """Whether a hook on another thread has yet to end; of servers, see `CompletionPort`."""
        return False

    def _release_pollers(self) -> None:
        """Wake the threads that still ask the kernel, one after the other, until none does.

        One that came later would ask whatever port gets the number next.
        """
        deadline = self.kernel.monotonic() + _RELEASE_MAX_S
        own = threading.get_ident()  # of a signal handler that has interrupted it, perhaps
        while any(batch.ident != own for batch in list(self.polling)):
            if self.kernel.monotonic() >= deadline:
                return
            self.wake()
            time.sleep(0.001)

    def in_flight_by_kind(self) -> dict[str, int]:
        """Return how many operations are in flight, by kind: ``{"receive": 3, "send": 1}``.

        What the port itself has pending, to hear of signals, is not counted.
        """
        counts: Counter[str] = Counter()
        for packet in list(self.in_flight.values()):
            if not packet.internal:
                counts[packet.kind] += 1
        return dict(counts)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.handle:
            message = f"unclosed {self!r}"
            # A collection may come between somebody's call and their last_error().
            code = ctypes.get_last_error()
            # The kernel may be writing to what is in flight: it is drained, or kept, before
            # the warning, which may be an exception.
            with contextlib.suppress(OSError):
                self.close(timeout=1.0)
            ctypes.set_last_error(code)
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        if self.closed:
            return f"<{type(self).__name__} closed>"
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.in_flight_by_kind().items())
        return f"<{type(self).__name__} {self.handle:#x}: {kinds or 'nothing'} in flight>"


def _unfinished(packet: Packet, count: int, status: int, error: BaseException) -> Completion:
    """Return the completion of a packet whose `finish` has raised."""
    if isinstance(error, OSError):
        return Completion(packet, packet.key, count, status, error)
    internal = error_of_code(packet.function_name, ERROR_INTERNAL_ERROR, None, packet)
    internal.__cause__ = error
    return Completion(packet, packet.key, count, status, internal)
