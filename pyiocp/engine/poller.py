"""Poller: one thread's way to the kernel: it dequeues packets and routes them, or sleeps."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from ..errors import error_of_code
from ..memory.kept_memory import keep_unwritten
from ..winapi import ERROR_ABANDONED_WAIT_0, WAIT_TIMEOUT
from ..winapi.errorcodes import STATUS_PENDING
from . import interrupt
from .batch import Batch
from .late_packets import FIRST_KEY
from .packet import StrayPacket
from .waker import WAKE_KEY

if TYPE_CHECKING:
    from .packet import Event
    from .queue import CompletionQueue

#: Batches dequeued in a row before what they brought is dispatched.
_BATCHES_MAX = 64

#: What bounds a wait when nothing else does. Two things cannot be signalled: a wake-up
#: packet that the kernel refused, and a Ctrl-C while other code holds the interpreter's
#: wake-up socket. They are noticed after this long.
_WAIT_MAX_MS = 1000


class Poller:
    """Asks the kernel for one thread. Only that calls its methods.

    ``ident`` is the thread's, ``rounds`` how often it has asked.
    """

    def __init__(self, queue: CompletionQueue) -> None:
        self.ident = threading.get_ident()
        self.rounds = 0
        self._queue = queue
        self._main = interrupt.find_main_thread()
        self._in_flight = queue.in_flight
        self._ready = queue.ready
        self._senders = queue.senders
        self._signals = queue.signals
        self._timer_heap = queue.timers.heap
        self._batch = Batch(
            queue.kernel.GetQueuedCompletionStatusEx,
            queue.error_codes,
            queue.handle,
            queue.batch_size,
        )
        #: Whether something raised while there were packets in the batch.
        self._interrupted = False

    def gather(self, deadline: float | None) -> bool:
        """Bring what the kernel has into the ready queue; wait if both are empty.

        deadline: on the kernel's monotonic clock; None waits for ever.

        Returns True when the deadline is over, False when there is something to dispatch or to
        look at: a packet, a timer, a wake-up.
        """
        queue = self._queue
        polling = queue.polling
        if self in polling:
            # Called by a signal handler that has interrupted this very thread in here.
            return Poller(queue).gather(deadline)
        ready = self._ready
        try:
            self.rounds += 1
            polling.add(self)
            # Only now: close() gives the port's number away when nobody is in `polling`.
            if queue.closed:
                return True
            if ready:
                over = False
                if self._signals.receiver is None:
                    self._signals.hold()
                self._poll(0)
            else:
                over = self._sleep(deadline)
        finally:
            polling.discard(self)
        if self._timer_heap:
            queue.enqueue_due_timers()
        # Among what was dequeued may be the packet that should wake another thread.
        if len(ready) > 1 and queue.waiting:
            queue.wake()
        return over and not ready

    def _sleep(self, deadline: float | None) -> bool:
        """Wait for packets; return whether `deadline` was over already."""
        queue = self._queue
        signals = self._signals
        ident, main = self.ident, self._main
        if main:
            receiver = None if queue.closing else signals.receiver
            # Mostly without a call of signals.hold(): 100 ns less.
            look_again = signals.hold() if receiver is None else receiver.hold()
        else:
            look_again = math.inf
            while signals.main_wanted:
                time.sleep(0.001)
        try:
            queue.waiting.add(ident)
            # Only now: who came before we were in `waiting` did not wake us.
            milliseconds, over = self._time_to_wait(deadline, look_again)
            if queue.ready or (
                ident != queue.closer and (queue.closing or (main and interrupt.presses_noted))
            ):
                milliseconds = 0
            tracer = queue.tracer
            begun_ns = 0 if tracer is None else tracer.now()
            self._poll(milliseconds)
            if tracer is not None:
                tracer.slept(begun_ns)
        finally:
            queue.waiting.discard(ident)
            if main:
                signals.main_returns += 1
        return over

    def _poll(self, milliseconds: int) -> None:
        """Dequeue what the kernel has into the ready queue, batch by batch.

        All of it, not one batch: the rest would wait in the kernel behind everything that
        finishes on the spot meanwhile. At 1,000 connections, one batch a round let the
        slowest one have 0.4 times the messages of the mean.
        """
        batch = self._batch
        try:
            if self._interrupted:
                self._route()
                self._interrupted = False
            for _ in range(_BATCHES_MAX):
                count = batch.fill(milliseconds)
                if not count:
                    code = batch.error
                    if code == WAIT_TIMEOUT or (
                        code == ERROR_ABANDONED_WAIT_0 and self._queue.closing
                    ):
                        return
                    raise error_of_code("GetQueuedCompletionStatusEx", code, None, self._queue.port)
                if self._queue.watcher is not None:
                    self._queue.watcher.batch(count)
                self._route()
                if count < batch.size:
                    return
                milliseconds = 0
        except BaseException:
            # Other threads may wait for what has been dequeued; and if this is interrupted as
            # well, the thread's next poll goes on with it.
            self._interrupted = True
            self._route()
            self._interrupted = False
            raise

    def _route(self) -> None:
        """Append each packet's operation to the ready queue, found by its OVERLAPPED."""
        in_flight = self._in_flight
        ready = self._ready
        last_key = self._senders.last_key
        for entry in self._batch.entries():
            key, address, status, count = entry
            event: Event | None = None
            try:
                # First of all: what a sender's packet has in the place of an address is none.
                if FIRST_KEY <= key <= last_key:
                    self._senders.deliver(key, address, count & 0xFFFFFFFF)
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
                    self._batch.put_back(entry)
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
        queue = self._queue
        if address == 0 and key == WAKE_KEY:
            queue.waker.arrived()
        elif address not in queue.retired and (key or not queue.tags.is_one(address)):
            return StrayPacket(key), count & 0xFFFFFFFF, status & 0xFFFFFFFF
        return None

    def _time_to_wait(self, deadline: float | None, seconds: float) -> tuple[int, bool]:
        """Return how many milliseconds to sleep, and whether the deadline is over.

        That is until the deadline or the next timer, and for `seconds` at most.
        """
        if deadline is None and not self._timer_heap:  # 300 ns less
            return _WAIT_MAX_MS if seconds > 1 else math.ceil(seconds * 1000), False
        queue = self._queue
        timer = queue.timers.next_due()
        now = queue.kernel.monotonic()
        until = now + seconds
        if deadline is not None:
            until = min(until, deadline)
        if timer is not None and timer < until:
            until = timer
        over = deadline is not None and now >= deadline
        # Rounded up: a wait that ends early would spin until the deadline.
        return max(0, math.ceil(min((until - now) * 1000, _WAIT_MAX_MS))), over
