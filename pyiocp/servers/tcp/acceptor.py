"""Acceptor: the accepts of one listening socket, posted again whatever happens.

Several AcceptEx are always pending, so a burst of clients finds sockets ready. The next accept is
posted before anything of the user's is called for the last one's client. If the system refuses it,
out of memory or sockets, it is tried again a little later.

An accept is in one place at a time: pending; or an `Arrival` has it, which looks at its client; or
it is among `resting` and IDLE, to be posted now, or when the pause or the shortage is over. A
signal handler of the user's may raise after any call (see `queue`), and CPython has no lock against
that. So an accept goes from one place to the next without a call in between; and what an exception
has left undone, `recover` does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ...engine.packet import IDLE
from ...errors import HandleClosedError, PortClosedError
from ..retry import Retry
from .arrival import Arrival
from .silent_clients import SilentClients, silent_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.queue import CompletionQueue
    from ...handles.sockets.accept import AcceptOperation
    from ...handles.sockets.stream import Stream

ACCEPTS_MAX = 4096
"""How many AcceptEx one listening socket may have pending."""

_RETRY_FIRST_S = 0.05
_RETRY_MAX_S = 1.0


class Acceptor:
    """The accepts of one listening socket, from `start` on. Any thread may call any method.

    owner: whose they are, for the log.
    accepts: how many are free for clients at any time.
    first_data: bytes of first data to accept with. While clients that send none occupy
        accepts, as many more are posted that wait for no data: so others get in.
    first_data_timeout: seconds that a client has for it.
    on_arrival: called with the arrival, the byte count and the status of an accept that has
        ended. It has the arrival give the accept back.
    on_silent: called with how many clients have just been closed for their silence.
    """

    def __init__(
        self,
        owner: object,
        home: CompletionQueue,
        stream: Stream,
        *,
        accepts: int,
        first_data: int,
        first_data_timeout: float,
        on_arrival: Callable[[Arrival, int, int], None],
        on_silent: Callable[[int], None],
    ) -> None:
        self.owner = owner
        self.stream = stream
        self.address = stream.local_address()
        self.paused = False
        self.resting: deque[AcceptOperation] = deque()
        """Those to be posted, when there is no pause and no shortage."""
        self.arrivals: dict[Arrival, None] = {}
        """Clients on their way to a session."""
        self.waiting: dict[Arrival, None] = {}
        """Those of them that wait for something."""
        self.home = home
        self._accepts = accepts
        self._first_data = first_data
        self._first_data_timeout = first_data_timeout
        self._on_arrival = on_arrival
        self._on_silent = on_silent
        #: Those with room for first data, if that was asked for; else all.
        self._operations: set[AcceptOperation] = set()
        #: Those without, although it was asked for.
        self._plain: set[AcceptOperation] = set()
        self._plain_wanted = 0
        # A loop takes from it without a call. It raises IndexError at the end.
        self._next_resting = iter(self.resting.popleft, None)
        self._retry = Retry(home, self.post_resting, first_s=_RETRY_FIRST_S, max_s=_RETRY_MAX_S)
        self._silent_clients: SilentClients | None = None

    def start(self) -> None:
        """Accept: clients may come before this returns. If it raises, close it."""
        for _ in range(self._accepts):
            self._add(self._first_data, self._operations).post()
        if self._first_data:
            self._silent_clients = SilentClients(
                self.home, self._first_data_timeout, lambda: list(self._operations), self._on_look
            )

    def _add(self, room: int, to: set[AcceptOperation]) -> AcceptOperation:
        operation = self.stream.accept_operation(room)
        operation.receiver = self._on_accept
        to.add(operation)
        return operation

    @property
    def operations(self) -> set[AcceptOperation]:
        """All accepts: a new set."""
        return self._operations | self._plain

    def waits_for_data(self, arrival: Arrival) -> bool:
        """Whether this client was accepted without the first data that it shall send."""
        return arrival.operation in self._plain

    def pause(self) -> None:
        """Accept no more until `resume`, but for clients that are connected already."""
        self.paused = True
        for operation in self.operations:
            self._cancel(operation)

    def resume(self) -> None:
        """Accept again."""
        self.paused = False
        self.post_resting()

    def close(self) -> None:
        """Close the listening socket. Closing twice does nothing."""
        self.stream.close()
        if self._silent_clients is not None:
            self._silent_clients.stop()

    def recover(self) -> None:
        """Look after all arrivals and accepts, because something was raised somewhere."""
        now = self.home.kernel.monotonic()
        for arrival in list(self.arrivals):
            if arrival.lost:
                arrival.drop()
            elif arrival.timer is not None and arrival.timer.due <= now:
                self.go_on(arrival)
        self.post_resting()
        if self._silent_clients is not None:
            self._silent_clients.recover()

    # Accepting

    def _on_accept(self, operation: AcceptOperation, count: int, status: int) -> None:
        try:
            arrival = Arrival(self, operation)
        except BaseException:
            self.home.ready += ((operation, count, status),)
            raise
        self.arrivals[arrival] = None
        try:
            self._on_arrival(arrival, count, status)
        except BaseException as error:  # noqa: BLE001, it is raised on, or logged
            arrival.lost = True
            arrival.fail(error)

    def go_on(
        self, arrival: Arrival, then: Callable[..., None] | None = None, *arguments: Any
    ) -> None:
        """Go on with a client that has waited, unless another thread does.

        then: what to do; by default what it has waited for.
        """
        try:
            del self.waiting[arrival]
        except KeyError:
            return
        try:
            then = then or arrival.then
            assert then is not None, "it has waited for that"
            then(arrival, *arguments)
        except BaseException as error:  # noqa: BLE001, it is raised on, or logged
            arrival.lost = True
            arrival.fail(error)

    def post_resting(self) -> None:
        """Post the resting accepts; if the system refuses one, try again a little later."""
        while self.resting and not (self.paused or self.stream.closed):
            try:
                for operation in self._next_resting:  # noqa: B007
                    break
            except IndexError:
                return
            try:
                if self._plain and self._is_surplus(operation):
                    continue
                operation.post()
                if self._retry.refused:
                    self._retry.reset()
            except (HandleClosedError, PortClosedError):
                return
            except BaseException as error:
                if operation.state is not IDLE:  # it has been posted
                    raise
                self.resting += (operation,)
                if operation.unwritten:
                    self._replace_abandoned()
                if not isinstance(error, Exception):
                    raise
                self._retry.later(self.owner, error)
                return
            if self.paused:  # by another thread, which may not have seen it pending yet
                self._cancel(operation)  # type: ignore[unreachable]

    def _replace_abandoned(self) -> None:
        """Make new accepts for those that the kernel may still write to, though they ended."""
        for operation in list(self.resting):
            if operation.unwritten:
                self.resting.remove(operation)
                plain = operation in self._plain
                kind, room = (self._plain, 0) if plain else (self._operations, self._first_data)
                kind.discard(operation)
                self.resting.append(self._add(room, kind))

    def _is_surplus(self, operation: AcceptOperation) -> bool:
        """Whether there are enough of these without it; it then is one of ours no more."""
        if operation in self._plain and len(self._plain) > self._plain_wanted:
            self._plain.discard(operation)
            return True
        return False

    def _cancel(self, operation: AcceptOperation) -> None:
        """Cancel an accept, unless a client is connected and has yet to send."""
        if operation in self._plain or not self._first_data or silent_seconds(operation) is None:
            operation.cancel()

    # Silent clients

    def _on_look(self, silent: int, closed: int) -> None:
        self._plain_wanted = min(silent, ACCEPTS_MAX - self._accepts)
        self._on_silent(closed)
        while len(self._plain) < self._plain_wanted and not self.stream.closed:
            self.resting.append(self._add(0, self._plain))
        self.post_resting()
        for operation in list(self._plain)[self._plain_wanted :]:
            operation.cancel()
