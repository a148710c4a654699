"""Loop: one thread that waits for events on its sockets and calls the hooks.

Each model adds the one thing that makes it a model, `wait`: how a thread learns which of many
sockets something has happened to. Everything else is here: a queue of operations that have
ended, calls from other threads, timers, accepting, and shutting down.

To the rest of pyiocp a loop looks like a completion port's queue (see `Home`), so the servers'
connections run on it unchanged.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..engine import interrupt
from ..engine.endless_calls import error_codes
from ..engine.in_flight import InFlightTable
from ..engine.packet import COMPLETED
from ..engine.queue import SPARE_LOCKS_MAX
from ..engine.timers import Call, ScheduledCall, Timers
from ..errors import error_of_code
from ..memory.kept_memory import keep_for_ever
from ..servers.tcp.idle_operations import IdleOperations
from ..winapi import INVALID_SOCKET, SOCKADDR_STORAGE, WSAEWOULDBLOCK, address_of
from .channel import Channel
from .limit import ModelLimitError
from .waker import LoopWaker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..engine.kernel import Kernel
    from ..engine.operation import Operation
    from ..handles.handle import Handle
    from ..servers.tcp.connection import Connection

_ACCEPTS_MAX = 64
"""How many clients are accepted before the connections get a turn again."""

_END_MAX_S = 5.0
"""Seconds to wait for the operations in flight when a loop ends."""

_WAIT_MAX_MS = 1000
"""The longest wait, when nothing else limits it."""


class Server(Protocol):
    """What a loop asks of its server. Any thread may call any method."""

    kernel: Kernel
    stopping: bool

    def stop(self) -> None:
        """End all loops."""

    def place(self, number: int, family: int, peer: Any) -> None:
        """Give an accepted socket to a loop with room for it, or reset it."""

    def leave(self, loop: Loop) -> None:
        """A connection of the loop has ended: it has room for one more."""

    def lost(self, error: Exception) -> None:
        """Count a client that did not become a session."""

    def new_connection(self, loop: Loop) -> Connection:
        """Return the connection of a new session, served by the loop."""


class Loop:
    """One thread's loop. Other threads may call what is under "From any thread"."""

    model: ClassVar[str]
    """The model's name."""
    channel_class: ClassVar[type[Channel]]
    """The class of its sockets."""
    connections_max: int | None = None
    """How many connections it can serve; None: no limit but memory."""
    limit: ClassVar[tuple[str, str]] = ("", "")
    """The name of that limit, and the reason for it."""

    closing = closed = False
    handle = 0
    waiting: Collection[int] = ()
    """Threads that a port would wake; nobody has to be woken here, only the loop posts."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.kernel = server.kernel
        interrupt.trust_all_of(self.kernel)
        self.listening: Channel | None = None
        self.connections: set[Connection] = set()
        self.places_taken = 0
        """How many connections it has, or is about to have; guarded by the server's lock."""
        self.idle_operations = IdleOperations()
        # What streams and operations need of their `Home`.
        self.error_codes = error_codes(self.kernel.last_error)
        self.entry_lock = threading.RLock()
        self.handles: set[Handle] = set()
        self.ifs_handles_by_family: dict[int, bool] = {}
        self.spare_locks: deque[threading.RLock] = deque(maxlen=SPARE_LOCKS_MAX)
        # Lifetime: memory that the kernel may write to is kept here until it gives it back.
        self.in_flight = InFlightTable()
        self.waker = LoopWaker()
        self._timers = Timers(self.kernel.monotonic)
        self.ready: deque[Any] = deque()
        self._thread_id = 0

    # What a model is

    def open(self) -> None:
        """Create what the model waits with; called first, in the loop's thread."""

    def wait(self, timeout_ms: int) -> None:
        """Wait that long at most; queue operations that have ended, and accept clients."""
        raise NotImplementedError

    def release(self) -> None:
        """Close what the model waited with."""

    # From any thread

    @property
    def port(self) -> Loop:
        """The loop itself: a session's stream has no other port."""
        return self

    def wake(self) -> None:
        """Make the loop's thread return from its wait."""
        self.waker.wake()

    def settle(self, operation: Operation, address: int) -> None:
        """Queue an operation that has ended on the spot: no packet comes for it here."""
        del self.in_flight[address]
        self.enqueue((operation, operation.transferred, operation.status))

    def enqueue(self, event: Any) -> None:
        """Queue an operation that has ended, or a call."""
        self.ready.append(event)
        if not self.runs_here():
            self.waker.wake()

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop's thread call a function."""
        self.enqueue((Call(function, arguments), 0, 0))

    def call_later(
        self, seconds: float, function: Callable[..., object], *arguments: Any
    ) -> ScheduledCall:
        """Have the loop's thread call a function after some time; the timer can be cancelled."""
        timer = self._timers.add(seconds, function, arguments)
        if not self.runs_here():
            self.waker.wake()
        return timer

    def starts_here(self) -> bool:
        """Return whether the calling thread may start operations: only the loop's own may.

        Windows cancels the overlapped I/O of a thread that ends (unless it is on a
        completion port), and a completion routine runs in the thread that started the
        operation. Models without overlapped I/O do the same, and so need no locks.
        """
        return self.runs_here()

    def runs_here(self) -> bool:
        """Return whether the calling thread is the loop's."""
        return threading.get_ident() == self._thread_id

    def calls_hooks_here(self) -> bool:
        """Return whether the calling thread may be in a hook."""
        return self.runs_here()

    # In the loop's thread

    def run(self) -> None:
        """Serve until the server stops; then end what is left."""
        self._thread_id = threading.get_ident()
        with contextlib.ExitStack() as stack:
            stack.callback(self.waker.close)
            self.open()
            stack.callback(self.release)
            stack.enter_context(self.waker.woken_by_signals())
            while not self.server.stopping:
                self._turn(_WAIT_MAX_MS)
                if interrupt.noted() and interrupt.in_main_thread():
                    self.server.stop()
            self._end()

    def _turn(self, longest_ms: int) -> None:
        """Wait, then do everything that is ready, once."""
        self.wait(0 if self.ready else self._timeout_ms(longest_ms))
        due: list[Any] = []
        self._timers.pop_due(due)
        self.ready.extend(due)
        self.do_what_is_ready()

    def do_what_is_ready(self) -> None:
        """Report what has ended and make the calls queued so far, not those added meanwhile."""
        for _ in range(len(self.ready)):
            packet, count, status = self.ready.popleft()
            packet.state = COMPLETED
            packet.receiver(packet, count, status)

    def _timeout_ms(self, longest_ms: int) -> int:
        due = self._timers.next_due()
        if due is None:
            return longest_ms
        seconds = due - self.kernel.monotonic()
        return max(0, min(-int(-seconds * 1000 // 1), longest_ms))  # rounded up: no busy loop

    # Accepting

    def accept_clients(self) -> None:
        """Accept the clients that wait, and find a loop for each."""
        for _ in range(_ACCEPTS_MAX):
            if not self.accept_client():
                return

    def accept_client(self) -> bool:
        """Accept one client, and find a loop for it; False if no client waits."""
        listening = self.listening
        if listening is None or listening.closed or self.server.stopping:
            return False
        storage = SOCKADDR_STORAGE()
        size = ctypes.c_int(ctypes.sizeof(storage))
        number = self.kernel.accept(listening.number, ctypes.byref(storage), ctypes.byref(size))
        if number == INVALID_SOCKET:
            code = self.kernel.last_error()
            if code != WSAEWOULDBLOCK:  # that client went away while it waited, or no memory
                self.server.lost(error_of_code("accept", code, None, listening))
            return False
        self.server.place(number, listening.family, address_of(storage))
        return True

    def take(self, number: int, family: int, peer: Any) -> None:
        """Serve a socket that has been accepted; in the loop's thread."""
        channel = self.channel_class(self, number, family=family, peer=peer)
        if self.server.stopping:  # it was on its way from one thread to another
            channel.close()
            self.server.leave(self)
            return
        try:
            channel.begin()
            connection = self.server.new_connection(self)
        except Exception as error:  # noqa: BLE001, a factory is the user's
            channel.close()
            self.server.leave(self)
            self.server.lost(error)
            return
        self.connections.add(connection)
        channel.attach(connection, peer)

    @property
    def full(self) -> bool:
        """Whether no further connection fits."""
        most = self.connections_max
        return most is not None and self.places_taken >= most

    def limit_error(self, loops: int) -> ModelLimitError:
        """Return the error that says why this many loops are full."""
        assert self.connections_max is not None, "a loop without a limit is never full"
        return ModelLimitError(self.model, loops * self.connections_max, *self.limit)

    # The end

    def _end(self) -> None:
        """Abort every session, and wait until the kernel has given everything back."""
        for connection in list(self.connections):
            connection.abort()
        monotonic = self.kernel.monotonic
        deadline = monotonic() + _END_MAX_S
        while self.unfinished() and monotonic() < deadline:
            self._turn(10)
        self.closing = self.closed = True
        if self.in_flight:
            # Lifetime: the kernel may still write there: keep it for ever, and warn.
            left = ", ".join(sorted({packet.kind for packet in self.in_flight.values()}))
            keep_for_ever(dict(self.in_flight))
            warnings.warn(
                f"{self!r} ended with operations in flight ({left}); their memory is kept",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def unfinished(self) -> bool:
        """Return whether there is something left to end."""
        return bool(self.connections or self.in_flight or self.ready)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.model!r}: {len(self.connections)} connections>"
