"""DatagramReceives: the receives of one datagram socket, of which many are always pending.

While none is pending Windows keeps what its buffer for the socket holds, and drops the rest
without a word. So each receive is posted again whatever it ended in; one that the system
refuses is tried again a little later.

Receives that are pending together may end on several threads at once. The system fills them in
the order in which they were posted, so in that order they are gone through, by one thread at a
time: a receive whose turn it is not waits for those before it, whose packets other threads have
in their hands. (Where a receive is overtaken that the kernel has yet to fill, nothing waits.)
Going through them is short: a datagram goes to its conversation. The hooks are called after
that, by several threads if there are.

What belongs here: receiving, in order. Whose a datagram is, is known to who made this.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from sys import getrefcount
from typing import TYPE_CHECKING

from ..errors import (
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    PeerResetError,
    PortClosedError,
    error_of_status,
    failed,
)
from ..handles.datagram_receive import ReceiveFromOperation
from ..operation import PENDING
from ..queue.inbox import Inbox
from ..queue.interrupt import calls_hooks
from ..winapi.errorcodes import STATUS_BUFFER_OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handles.datagram import Datagram
    from ..memory.buffer_pool import BufferPool
    from .conversation import Conversation
    from .session_port import SessionPort

logger = logging.getLogger("pyiocp")

_RECEIVES_MAX = 65536
"""The most receives that one socket has pending."""

_SIZE_MAX = 65527
"""Bytes of the longest datagram, which is one over IPv6."""

_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0


def check_receives(receives: int, datagram_size: int) -> None:
    """Raise ValueError for a number of receives, or a size of theirs, that is out of range."""
    if not 1 <= receives <= _RECEIVES_MAX:
        raise ValueError(f"receives must be between 1 and {_RECEIVES_MAX}, not {receives}")
    if not 1 <= datagram_size <= _SIZE_MAX:
        raise ValueError(f"datagram_size must be 1 to {_SIZE_MAX} bytes, not {datagram_size}")


class PooledReceive(ReceiveFromOperation):
    """A receive into a slice of a pool.

    ``arrived`` tells that its packet has come, with ``count`` bytes and the NTSTATUS ``outcome``.
    """

    __slots__ = ("_owner", "_references", "arrived", "count", "outcome")

    def __init__(self, datagram: Datagram, pool: BufferPool) -> None:
        slice_ = pool.take()
        super().__init__(datagram, (slice_,), peek=False)
        # Lifetime: the object under the slice; every view of its memory, and nothing else
        # but what is here, holds it, or holds what holds it.
        self._owner = slice_.obj
        self.arrived = False
        self.count = 0
        self.outcome = 0
        self._references = getrefcount(self._owner)

    def view(self) -> memoryview:
        """Return a view of what came."""
        return memoryview(self._owner).cast("B")[: self.count]

    @property
    def kept(self) -> bool:
        """Whether somebody has a view of the memory, which must then stay as it is."""
        return getrefcount(self._owner) != self._references


class DatagramReceives:
    """The receives of one socket. Any thread may call what has no underscore.

    count: how many are pending. size: bytes of each.
    take: called with each that has brought a datagram, and whether it was truncated; one
        thread at a time. It sees to it that `post` is called for it, and returns the
        conversation that has something to do now, if any.
    unreachable: called when a peer's host has answered that nobody has the port; likewise.
    """

    def __init__(
        self,
        port: SessionPort,
        datagram: Datagram,
        *,
        count: int,
        size: int,
        take: Callable[[PooledReceive, bool], Conversation | None],
        unreachable: Callable[[], Conversation | None],
    ) -> None:
        self.datagram = datagram
        self.paused = False
        self.unreachable = 0
        self.errors = 0
        self._port = port
        self._take = take
        self._on_unreachable = unreachable
        self._pool = port.buffer_pool(size, slices=count)
        self._order = Inbox(self._on_failure)
        #: The conversations that a thread has yet to see to.
        self._to_work: deque[Conversation] = deque()
        #: Those that are pending, or have arrived before their turn: in the order of posting.
        self._posted: deque[PooledReceive] = deque()
        self._early = 0
        #: Those that are not posted: receiving is paused, or the system has refused them.
        self._resting: list[PooledReceive] = []
        #: Held to post a receive and to take note of it, both or neither.
        self._lock = threading.Lock()
        self._retry_s = _RETRY_FIRST_S
        self._retrying = False
        self._count = count

    def start(self) -> None:
        """Post them all. Raises an `IocpError` if there is no memory for them."""
        for _ in range(self._count):
            self.post(self._new())

    @property
    def pending(self) -> int:
        """How many the system has, or has just given back."""
        return len(self._posted)

    def close(self) -> None:
        """Close the socket, with all that is under way on it. Twice does nothing."""
        self.datagram.close()
        self._pool.close()

    def pause(self) -> None:
        """Receive no more until `resume`; what has come by now is still taken."""
        with self._lock:
            self.paused = True
            posted = self._posted_now()
        for receive in posted:
            with contextlib.suppress(IocpError):  # one that cannot be cancelled brings one more
                receive.cancel()

    def _posted_now(self) -> list[PooledReceive]:
        """Return what is posted. Called with the lock: some of it may end, none is added."""
        while True:
            with contextlib.suppress(RuntimeError):  # it has changed meanwhile, without a GIL
                return list(self._posted)

    def resume(self) -> None:
        """Receive again."""
        with self._lock:
            self.paused = False
        self._post_resting()

    def post(self, receive: PooledReceive) -> None:
        """Post a receive again; or later, if the system refuses it now."""
        # A slice of a view outlives the view's release(), unnoticed: but whatever was made of
        # it holds the memory. Then that is the user's, and the receive gets other memory.
        if receive.kept or receive.unwritten:  # or the kernel has abandoned it
            try:
                receive = self._new()
            except IocpError as error:
                with self._lock:
                    self._resting.append(receive)
                    self._retry_later(error)
                return
            except ValueError:  # the pool is closed
                return
        with self._lock:
            if self.paused:
                self._resting.append(receive)
                return
            receive.arrived = False
            self._posted.append(receive)
            try:
                receive.post()
            except (HandleClosedError, PortClosedError):
                self._posted.pop()
            except IocpError as error:
                self._posted.pop()
                self._resting.append(receive)
                self._retry_later(error)
            except BaseException:  # of a signal handler
                if receive.state is not PENDING:
                    self._posted.pop()
                    self._resting.append(receive)
                    self._retry_soon()
                raise

    def _new(self) -> PooledReceive:
        receive = PooledReceive(self.datagram, self._pool)
        receive.receiver = self._on_received
        return receive

    def _retry_later(self, error: IocpError) -> None:
        """Try again to post what rests, after a while. Called with the lock."""
        if not self._retrying:
            logger.warning("%r tries again in %g s: %s", self.datagram.key, self._retry_s, error)
            self._retry_soon()
            self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    def _retry_soon(self) -> None:
        if not self._retrying:
            self._retrying = True
            with contextlib.suppress(PortClosedError):
                self._port.call_later(self._retry_s, self._retry)

    def _retry(self) -> None:
        with self._lock:
            self._retrying = False
        self._post_resting()

    def _post_resting(self) -> None:
        with self._lock:
            resting, self._resting = self._resting, []
        for receive in resting:
            self.post(receive)

    # What came

    @calls_hooks
    def _on_received(self, receive: PooledReceive, count: int, status: int) -> None:
        receive.count, receive.outcome = count, status
        self._order.deliver(self._arrived, receive)
        self._work()

    @calls_hooks
    def _work(self) -> None:
        """Have the conversations that have something to do do it."""
        while True:
            try:
                conversation = self._to_work.popleft()
            except IndexError:
                return
            if self._to_work:
                # A hook may block: another thread, if one is free, sees to the others.
                with contextlib.suppress(PortClosedError):
                    self._port.call_soon(self._work)
            conversation.inbox.work()

    @calls_hooks
    def _arrived(self, receive: PooledReceive) -> None:
        """Go through what has arrived, as far as it is its turn. One thread at a time."""
        receive.arrived = True
        posted = self._posted
        self._early += 1
        while posted and posted[0].arrived:
            self._early -= 1
            self._end(posted.popleft())
        if self._early and posted[0].unwritten:
            # The kernel has yet to fill it, and has filled later ones: it has an order of its own.
            with self._lock:
                filled = [each for each in posted if each.arrived or not each.unwritten]
            for each in filled:
                if not each.arrived:
                    break  # its packet is in another thread's hands
                posted.remove(each)
                self._early -= 1
                self._end(each)

    @calls_hooks
    def _end(self, receive: PooledReceive) -> None:
        """Do what the end of a receive asks for."""
        truncated = receive.outcome == STATUS_BUFFER_OVERFLOW
        if truncated or not failed(receive.outcome):
            self._retry_s = _RETRY_FIRST_S
            conversation = self._take(receive, truncated)
        else:
            conversation = self._failed(receive)
        if conversation is not None:
            self._to_work.append(conversation)

    @calls_hooks
    def _failed(self, receive: PooledReceive) -> Conversation | None:
        """Take note of an error, which is none of the next receive's."""
        if self.datagram.closed:
            return None
        error = error_of_status("WSARecvFrom", receive.outcome, None, self.datagram.winerror_of)
        conversation = None
        if isinstance(error, PeerResetError):
            self.unreachable += 1
            conversation = self._on_unreachable()
        elif not isinstance(error, OperationCancelledError):  # because of a pause, or by a user
            self.errors += 1
            with self._lock:
                self._resting.append(receive)
                self._retry_later(error)
            return None
        self.post(receive)
        return conversation

    def _on_failure(self, error: Exception) -> None:
        """What is called here sees to its own errors."""
        logger.error("a datagram of %r was lost", self.datagram.key, exc_info=error)
