"""Delivery: the way of a packet from the kernel to who is to have it.

A completion that was dequeued, or has ended on the spot, goes through the ready queue, and the
kernel is asked again after each round through it: see `completion_queue` for the whole of it.

A signal handler of the user's may raise wherever it finds the main thread. CPython calls it
after a call has returned, and at the end of a loop's body; so what leaves one place and enters
another does so with neither in between, and comments say where that is the reason for the way
a thing is written. `interrupt` sees to Ctrl-C.

What belongs here: asking the kernel, finding the operation of a packet, and dispatching. What
gets in without a packet is in `intake`; who waits, and the end, in `completion_queue`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import AddressUnavailableError, PortClosedError, ResourceLimitError, error_of_code
from ..memory.kept_memory import keep_unwritten
from ..winapi import ERROR_ABANDONED_WAIT_0, WAIT_TIMEOUT
from ..winapi.errorcodes import ERROR_INTERNAL_ERROR, STATUS_PENDING
from . import interrupt
from .batch import Batch
from .completion import Completion
from .intake import Intake
from .keyed_packets import FIRST_KEY
from .operation import COMPLETED, Packet, StrayPacket
from .waker import WAKE_KEY

if TYPE_CHECKING:
    from .intake import Event
    from .port_settings import PortSettings
    from .signals import SignalReceiver

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


class Delivery(Intake):
    """The ways out of a completion queue; users make a `CompletionPort`."""

    def __init__(self, settings: PortSettings) -> None:
        super().__init__(settings)
        self._batch_size = settings.batch
        self._batches = threading.local()
        # An iterator: a loop takes from it without a call. It raises IndexError at the end.
        self._next_ready = iter(self.ready.popleft, None)
        self._timer_heap = self.timers.heap
        self._dispatching: set[int] = set()
        #: The thread that closes the port: the one that waits on.
        self._closer: int | None = None
        self._main_wanted = False
        self._main_returns = 0
        self._make_signal_receiver = settings.signal_receiver
        self._signals: SignalReceiver | None = None

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
        if self._timer_heap:
            self._enqueue_due_timers()
        # Among what was dequeued may be the packet that should wake another thread.
        if len(self.ready) > 1 and self.waiting:
            self.wake()
        return over and not self.ready

    def _make_batch(self) -> Batch:
        kernel = self.kernel
        return Batch(
            kernel.GetQueuedCompletionStatusEx, self.error_codes, self.handle, self._batch_size
        )

    def _sleep(self, batch: Batch, deadline: float | None) -> bool:
        """Wait for packets; return whether `deadline` was over already."""
        main = batch.ident == interrupt.MAIN_THREAD
        look_again = math.inf
        if main:  # without a call of hold_signals(): 100 ns less
            signals = None if self.closing else self._signals
            look_again = self.hold_signals() if signals is None else signals.hold()
        while self._main_wanted and not main:
            time.sleep(0.001)
        try:
            self.waiting.add(batch.ident)
            # Only now: who came before we were in `waiting` did not wake us.
            milliseconds, over = self._time_to_wait(deadline, look_again)
            if self.ready or (
                batch.ident != self._closer and (self.closing or (main and interrupt.noted()))
            ):
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
        if len(completions) >= limit:
            return
        ready, tracer = self.ready, self.tracer
        begun_ns = 0
        ident = threading.get_ident()
        outermost = ident not in self._dispatching
        self._dispatching.add(ident)
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
                if not n % _TIMERS_EVERY and self._timer_heap:
                    self._enqueue_due_timers()
        except IndexError:
            return  # other threads were faster
        finally:
            if outermost:
                self._dispatching.discard(ident)

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
            self.waker.arrived()
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
        if deadline is None and not self._timer_heap:  # 300 ns less
            return _WAIT_MAX_MS if seconds > 1 else math.ceil(seconds * 1000), False
        timer = self.timers.next_due()
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


def _unfinished(packet: Packet, count: int, status: int, error: BaseException) -> Completion:
    """Return the completion of a packet whose `finish` has raised."""
    if isinstance(error, OSError):
        return Completion(packet, packet.key, count, status, error)
    internal = error_of_code(packet.function_name, ERROR_INTERNAL_ERROR, None, packet)
    internal.__cause__ = error
    return Completion(packet, packet.key, count, status, internal)
