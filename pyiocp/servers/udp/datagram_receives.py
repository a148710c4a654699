"""DatagramReceives: receives from one datagram socket, for all its peers.

One receive is pending. The thread that dequeues its packet fetches what else has come by then,
without operations, and posts it again: so there is one packet for each burst, not for each
datagram, and the kernel keeps one buffer locked. With one receive pending, one thread receives at
a time, and datagrams stay in the order in which they came. While no thread receives, Windows keeps
what its own buffer for the socket holds, and silently drops the rest. So the receive is always
posted again, however it ended; if the system refuses that, a little later.

Receiving is short: a datagram is copied and passed to its peer. The hooks are called after that,
by several threads if there are any.

Whatever is raised meanwhile, by a hook, or anywhere by a signal handler (see `queue`): what it has
left undone, `recover` does.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from ...engine.packet import IDLE
from ...engine.timers import Call
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
    from ...engine.packet import Event
    from ...engine.queue import CompletionQueue
    from ...handles.sockets.datagram import Datagram
    from ...handles.sockets.datagram_receive import ReceiveFromOperation

logger = logging.getLogger("pyiocp")

_BURST_MAX = 64
"""Datagrams received before the hooks are called and other handles of the port get a turn."""

_SIZE_MAX = 65527
"""Bytes of the longest datagram, over IPv6."""

_RETRY_FIRST_S = 0.02
_RETRY_MAX_S = 1.0


def check_size(datagram_size: int) -> None:
    """Raise ValueError for a size that no datagram can have."""
    if not 1 <= datagram_size <= _SIZE_MAX:
        raise ValueError(f"datagram_size must be 1 to {_SIZE_MAX} bytes, not {datagram_size}")


class DatagramReceives:
    """The receiving of one socket. Any thread may call what has no underscore.

    size: bytes of the longest datagram.
    take: called with the socket address of who sent it, each datagram, and whether it was
        truncated; by one thread at a time. It returns the inbox of the peer that has
        something to do now, if any.
    unreachable: called likewise when a peer's host has answered that the port is not in use.
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
        #: Whether the receive is not posted: not yet, because of a pause, or refused by the system.
        self._resting = True
        #: The inboxes that are to be worked off, and whether another thread has been asked to.
        self._to_work: deque[Inbox] = deque()
        # A loop takes from it without a call. It raises IndexError at the end.
        self._next_to_work = iter(self._to_work.popleft, None)
        self._asked = False
        #: Held to post the receive and to note that, both or neither.
        self._lock = threading.Lock()
        self._retry_s = _RETRY_FIRST_S
        self._retrying = False
        #: How many packets have come, with the one that is being handled; and which of them was the
        #: last during which something was raised.
        self._handled = 0
        self._broken = 0
        self._recovery: Event = Call(self._recover, ()), 0, 0
        home.on_exception.append(self._recovery)  # until `close`

    def _make(self) -> None:
        """Make the buffer and what receives into it; only while nothing is pending."""
        # Lifetime: `_fetch` is called between the packet of `_receive` and the next post.
        buffer = bytearray(self._size)
        self._view = memoryview(buffer)
        self._receive = self.datagram.receive_from_operation(buffer)
        self._receive.receiver = self._on_received
        self._rest = ImmediateReceive(self.datagram, buffer)

    @property
    def pending(self) -> bool:
        """Whether the receive is posted, or its packet is being handled."""
        return not self._resting

    def close(self) -> None:
        """Close the socket, with all operations on it. Closing twice does nothing.

        Whoever has made it calls this: until then, the port keeps it.
        """
        self.datagram.close()
        with contextlib.suppress(ValueError):  # it was closed before
            self._home.on_exception.remove(self._recovery)

    def pause(self) -> None:
        """Receive no more until `resume`; what has come by now is still taken."""
        with self._lock:
            self.paused = True
        with contextlib.suppress(IocpError):  # if it cannot be cancelled, one more comes
            self._receive.cancel()

    def resume(self) -> None:
        """Receive again."""
        with self._lock:
            self.paused = False
        self.start()

    def start(self) -> None:
        """Post the receive, unless it is posted."""
        with self._lock:
            if self._resting:
                self._post()

    def _post(self) -> None:
        """Post the receive, later if the system refuses it now. Called with the lock."""
        self._resting = True
        if self.paused:
            return
        if self._receive.unwritten:  # abandoned, but the kernel may still write to it
            self._make()
        handled = self._handled
        try:
            self._receive.post()
            self._resting = False
        except (HandleClosedError, PortClosedError):
            pass
        except IocpError as error:
            self._retry_later(error)
        except BaseException:  # of a signal handler
            self._resting = self._is_idle_since(handled)
            if self._resting:
                self._retry_soon()
            raise

    def _retry_later(self, error: IocpError) -> None:
        """Post it again after a while. Called with the lock."""
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

    def _is_idle_since(self, handled: int) -> bool:
        """Tell whether the receive is not posted, and no packet has come after that many.

        Called with the lock: nobody else posts it meanwhile.
        """
        # Lifetime: while a packet is being handled, the receive is idle as well, but its buffer is
        # in use. `_on_received` changes the two in the other order.
        return self._receive.state is IDLE and self._handled == handled

    def _recover(self) -> None:
        """Do what has been left undone, because something was raised somewhere."""
        with self._lock:
            if self._broken and self._is_idle_since(self._broken) and not self.datagram.closed:
                self._post()
        self._work()

    # What came

    def _on_received(self, receive: ReceiveFromOperation, count: int, status: int) -> None:
        # Lifetime: no call before the state is set; see `_is_idle_since`.
        self._handled = handled = self._handled + 1
        receive.state = IDLE
        refusal = None
        try:
            try:
                truncated = status == STATUS_BUFFER_OVERFLOW
                if truncated or not failed(status):
                    self._retry_s = _RETRY_FIRST_S
                    self._arrived(receive.sender, count, truncated)
                    refusal = self._fetch()
                else:
                    winerror_of = self.datagram.winerror_of
                    error = error_of_status("WSARecvFrom", status, None, winerror_of)
                    refusal = self._failed(error)
            finally:
                with self._lock:
                    if refusal is None:
                        self._post()
                    else:
                        self._resting = True
                        self._retry_later(refusal)
        except BaseException:
            self._broken = handled  # if another thread handles the next one by now, that stands
            raise
        self._work()

    def _fetch(self) -> IocpError | None:
        """Receive what else has come by now; return an error that ends that."""
        rest = self._rest
        for _ in range(_BURST_MAX - 1):
            if self.paused:
                break
            try:
                code = rest.receive()
            except HandleClosedError:
                break
            if not code:
                self._arrived(rest.sender, rest.count, False)
            elif code == WSAEWOULDBLOCK:
                break
            elif code == WSAEMSGSIZE:
                self._arrived(rest.sender, rest.count, True)
            else:
                refusal = self._failed(error_of_code("recvfrom", code, None, self.datagram))
                if refusal is not None:
                    return refusal
        return None

    def _arrived(self, sender: bytes, count: int, truncated: bool) -> None:
        """Pass on a datagram."""
        inbox = self._take(sender, self._view[:count].tobytes(), truncated)
        if inbox is not None:
            self._to_work.append(inbox)

    def _failed(self, error: IocpError) -> IocpError | None:
        """Count an error; return it if the next receive would meet it, too."""
        if self.datagram.closed:
            return None
        if isinstance(error, PeerResetError):
            self.unreachable += 1
            inbox = self._on_unreachable()
            if inbox is not None:
                self._to_work.append(inbox)
        elif not isinstance(error, OperationCancelledError):  # by a pause, or by the user
            self.errors += 1
            return error
        return None

    # Calling the hooks

    def _work(self) -> None:
        """Work off the inboxes of the peers."""
        to_work = self._to_work
        try:
            for inbox in self._next_to_work:
                try:
                    if to_work and not self._asked:
                        # A hook may block: another thread, if one is free, takes the others.
                        self._asked = True
                        with contextlib.suppress(PortClosedError):
                            self._home.call_soon(self._help)
                    inbox.work()
                except BaseException:
                    to_work += (inbox,)  # it has perhaps not been looked at
                    raise
        except IndexError:
            if to_work:
                raise

    def _help(self) -> None:
        self._asked = False  # the next hook may block as well
        self._work()
