"""SessionPort: a port with sessions on it, of whatever kind, and the workers that serve them.

What belongs here: which sessions there are, who calls their hooks, and what is sent to many of
them. How they come about is in `port`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from ..errors import PortClosedError
from ..handle_port import HandlePort
from .conversation import DATAGRAM_BYTES_MAX
from .datagram_session import DatagramSession
from .resolver import Resolver
from .session import Session
from .session_state import SessionState
from .work_pool import WorkPool
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from typing_extensions import Buffer

    from ..engine.port_settings import PortSettings
    from .datagram_server import DatagramServer
    from .work_pool import Work

_T = TypeVar("_T")
_S = TypeVar("_S", bound=Session | DatagramSession)


class SessionPort(HandlePort):
    """A port with sessions and workers; users make a `CompletionPort`.

    Thread safety: any thread may call any method.
    """

    def __init__(self, settings: PortSettings) -> None:
        super().__init__(settings)
        self.sessions: set[Session | DatagramSession] = set()
        self.datagram_servers: set[DatagramServer] = set()
        self.resolver = Resolver()
        self._shutting_down = False
        self._workers = Workers(self)
        self._work_pool = WorkPool(self)

    def check_open(self, wanted: str) -> None:
        """Raise `PortClosedError` if there may be no new connections; `wanted` says why."""
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it cannot {wanted}")
        if self._shutting_down:
            raise PortClosedError(f"{self!r} is shutting down: it cannot {wanted}")

    def forget(self, session: Session | DatagramSession) -> None:
        """No longer count a session, which has ended."""
        self.sessions.discard(session)
        if self._shutting_down and not self.sessions:
            self.stop()
        if self.closing:
            self.wake()  # close() waits for the last one

    # Workers

    def run(self, threads: int | None = None) -> None:
        """Serve until `stop`, `close` or Ctrl-C: call hooks as completions come.

        threads: how many workers, this thread among them. By default one, or on a
            free-threaded build as many as there are processors.

        Completions of operations that are nobody's but the caller's are kept for `wait`.

        Raises KeyboardInterrupt on Ctrl-C in the main thread, after the hook under way;
        a second Ctrl-C interrupts the hook, or leaves one that is on another thread: the
        port runs until that has ended. RuntimeError if the port runs already,
        `PortClosedError` on a closed port, ValueError for a bad number of threads.
        """
        self._workers.run(threads)

    def stop(self) -> None:
        """Make `run` return, after the hooks under way; from any thread, also from a hook.

        Nothing is closed: `run` may be called again. Without a `run` under way, the next
        one returns at once.
        """
        self._workers.stop()

    def submit(self, function: Callable[..., _T], *arguments: Any) -> Work[_T]:
        """Have a thread of the port's own call a function that takes long, or blocks.

        Returns a `concurrent.futures.Future`, whose ``add_done_callback(fn)`` has `fn`
        called on the port with it when the function has returned, raised or been
        cancelled. Like any call on the port that is none of a session's hooks.

        There are as many threads as are needed, up to 32 and to the number of processors
        and 4; what is submitted beyond that waits. `close` cancels what has not begun and
        waits for what has, for its timeout at most.

        Any thread may call it. Raises `PortClosedError` on a closed port, TypeError for
        what is not callable, RuntimeError if the system gives not even a first thread.
        """
        return self._work_pool.submit(function, arguments)

    def broadcast(self, sessions: Iterable[_S], data: Buffer) -> list[_S]:
        """Send the same bytes to many sessions, which share them.

        sessions: any, such as ``port.sessions``, of streams and of datagrams; what it contains
            may change meanwhile.
        data: any buffer. ``bytes`` are taken as they are, everything else is copied once.

        Returns those sessions whose ``send`` said False, and those that are not connected
        yet, which get nothing: who is behind, or gone. Any thread may call it.

        Raises TypeError for what is no buffer; ValueError for what no datagram can carry, if
        one of the sessions is a `DatagramSession`: then nobody gets it.
        """
        message = data if isinstance(data, bytes) else bytes(memoryview(data))
        members = list(sessions)
        if len(message) > DATAGRAM_BYTES_MAX:
            for session in members:
                if isinstance(session, DatagramSession):
                    session.check_length(len(message))
        return [
            session
            for session in members
            if session.state is SessionState.CONNECTING or not session.send(message)
        ]

    def _hooks_elsewhere(self) -> bool:
        # Within a hook of one session there is no waiting for that session's end.
        outside = threading.get_ident() not in self._dispatching
        return outside and (bool(self.sessions) or self._work_pool.busy)
