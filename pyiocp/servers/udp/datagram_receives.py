"""DatagramReceives: receives from one datagram socket, whoever sends to it.

One receive is pending. Whoever dequeues its packet fetches what else has come by then, without
operations, and posts it again: so there is a packet for each burst, not for each datagram, and
the kernel keeps one buffer locked. Since one receive is pending, one thread is at it at a time,
and datagrams stay in the order in which they have come. While nobody is, Windows keeps what its
own buffer for the socket holds, and drops the rest without a word. So the receive is posted again
whatever it ended in; if the system refuses that, a little later.

Receiving is short: a datagram is copied, and goes to its peer. The hooks are called after
that, by several threads if there are.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from ...engine.packet import PENDING
from ...errors import (
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    PeerResetError,
    PortClosedError,
    error_of_code,
    error_of_status,
    failed,
)
from ...handles.sockets.datagram_receive import ImmediateReceive
from ...winapi.errorcodes import STATUS_BUFFER_OVERFLOW, WSAEMSGSIZE, WSAEWOULDBLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.inbox import Inbox
    from ...engine.queue import CompletionQueue
    from ...handles.sockets.datagram import Datagram
    from ...handles.sockets.datagram_receive import ReceiveFromOperation

logger = logging.getLogger("pyiocp")

_BURST_MAX = 64
"""Datagrams received before the hooks are called, and other handles of the port have a turn."""

_SIZE_MAX = 65527
"""Bytes of the longest datagram, which is one over IPv6."""

_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0


def check_size(datagram_size: int) -> None:
    """Raise ValueError for a size that no datagram has."""
    if not 1 <= datagram_size <= _SIZE_MAX:
        raise ValueError(f"datagram_size must be 1 to {_SIZE_MAX} bytes, not {datagram_size}")


class DatagramReceives:
    """The receiving of one socket. Any thread may call what has no underscore.

    size: bytes of the longest datagram.
    take: called with the socket address of who sent it, each datagram, and whether it was
        truncated; by one thread at a time. It returns the inbox of the peer that has
        something to do now, if any.
    unreachable: called when a peer's host has answered that nobody has the port; likewise.
    """

    def __init__(
        self,
        home: CompletionQueue,
        datagram: Datagram,
        *,
        size: int,
        take: Callable[[bytes, bytes, bool], Inbox | None],
        unreachable: Callable[[], Inbox | None],
    ) -> None:
        self.datagram = datagram
        self.paused = False
        self.unreachable = 0
        self.errors = 0
        self._home = home
        self._size = size
        self._take = take
        self._on_unreachable = unreachable
        self._make()
        #: Whether it is not posted: not yet, because of a pause, or the system has refused it.
        self._resting = True
        #: The inboxes that a thread has yet to work off, and whether one has been asked to.
        self._to_work: deque[Inbox] = deque()
        self._asked = False
        #: Held to post the receive and to take note of it, both or neither.
        self._lock = threading.Lock()
        self._retry_s = _RETRY_FIRST_S
        self._retrying = False

    def _make(self) -> None:
        """Make what receives into one buffer: when nothing is pending there, and never else."""
        # Lifetime: `_fetch` is called between the packet of `_receive` and the next post.
        buffer = bytearray(self._size)
        self._view = memoryview(buffer)
        self._receive = self.datagram.receive_from_operation(buffer)
        self._receive.receiver = self._on_received
        self._rest = ImmediateReceive(self.datagram, buffer)

    @property
    def pending(self) -> bool:
        """Whether the system has the receive, or has just given it back."""
        return not self._resting

    def close(self) -> None:
        """Close the socket, with all that is under way on it. Twice does nothing."""
        self.datagram.close()

    def pause(self) -> None:
        """Receive no more until `resume`; what has come by now is still taken."""
        with self._lock:
            self.paused = True
        with contextlib.suppress(IocpError):  # if it cannot be cancelled, it brings one more
            self._receive.cancel()

    def resume(self) -> None:
        """Receive again."""
        with self._lock:
            self.paused = False
        self.start()

    def start(self) -> None:
        """Post the receive, if it rests."""
        with self._lock:
            if self._resting:
                self._post()

    def _post(self) -> None:
        """Post the receive; or later, if the system refuses it now. Called with the lock."""
        self._resting = True
        if self.paused:
            return
        if self._receive.unwritten:  # the kernel has abandoned it, and may yet write to it
            self._make()
        try:
            self._receive.post()
            self._resting = False
        except (HandleClosedError, PortClosedError):
            pass
        except IocpError as error:
            self._retry_later(error)
        except BaseException:  # of a signal handler
            self._resting = self._receive.state is not PENDING
            if self._resting:
                self._retry_soon()
            raise

    def _retry_later(self, error: IocpError) -> None:
        """Try again to post it, after a while. Called with the lock."""
        logger.warning("%r tries again in %g s: %s", self.datagram.key, self._retry_s, error)
        self._retry_soon()
        self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    def _retry_soon(self) -> None:
        if not self._retrying:
            self._retrying = True
            with contextlib.suppress(PortClosedError):
                self._home.call_later(self._retry_s, self._retry)

    def _retry(self) -> None:
        with self._lock:
            self._retrying = False
        self.start()

    # What came

    def _on_received(self, receive: ReceiveFromOperation, count: int, status: int) -> None:
        refusal = None
        try:
            truncated = status == STATUS_BUFFER_OVERFLOW
            if truncated or not failed(status):
                self._retry_s = _RETRY_FIRST_S
                self._arrived(receive.sender, count, truncated)
                refusal = self._fetch()
            else:
                winerror_of = self.datagram.winerror_of
                refusal = self._failed(error_of_status("WSARecvFrom", status, None, winerror_of))
        except BaseException:  # of a signal handler: somebody has to see to what came before
            with contextlib.suppress(PortClosedError):
                self._home.call_soon(self._help)
            raise
        finally:
            with self._lock:
                if refusal is None:
                    self._post()
                else:
                    self._resting = True
                    self._retry_later(refusal)
        self._work()

    def _fetch(self) -> IocpError | None:
        """Receive what else has come by now; return an error after which there is no going on."""
        rest = self._rest
        for _ in range(_BURST_MAX - 1):
            if self.paused:
                break
            try:
                code = rest.receive()
            except HandleClosedError:
                break
            if code == WSAEWOULDBLOCK:
                break
            if code in (0, WSAEMSGSIZE):
                self._arrived(rest.sender, rest.count, code == WSAEMSGSIZE)
            else:
                refusal = self._failed(error_of_code("recvfrom", code, None, self.datagram))
                if refusal is not None:
                    return refusal
        return None

    def _arrived(self, sender: bytes, count: int, truncated: bool) -> None:
        """Give a datagram to who takes it."""
        inbox = self._take(sender, self._view[:count].tobytes(), truncated)
        if inbox is not None:
            self._to_work.append(inbox)

    def _failed(self, error: IocpError) -> IocpError | None:
        """Take note of an error; return it if the next receive would have it, too."""
        if self.datagram.closed:
            return None
        if isinstance(error, PeerResetError):
            self.unreachable += 1
            inbox = self._on_unreachable()
            if inbox is not None:
                self._to_work.append(inbox)
        elif not isinstance(error, OperationCancelledError):  # because of a pause, or by a user
            self.errors += 1
            return error
        return None

    # Who has something to do

    def _work(self) -> None:
        """Have the peers that have something to do do it."""
        while True:
            try:
                inbox = self._to_work.popleft()
            except IndexError:
                return
            if self._to_work and not self._asked:
                # A hook may block: another thread, if one is free, sees to the others.
                self._asked = True
                with contextlib.suppress(PortClosedError):
                    self._home.call_soon(self._help)
            inbox.work()

    def _help(self) -> None:
        self._asked = False  # the next hook may block as well
        self._work()
