"""ModelServer: a server under one of the network models, as `models.serve` returns it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from ..engine import interrupt
from ..engine.kernel import Kernel
from ..errors import closed_error
from ..servers.framing.framed_session import FramedSession, Framer
from ..servers.layer import Layer, connect_layers
from ..servers.listening_socket import open_listening
from ..servers.tcp.session import Session
from ..servers.transport import Hooks, check_new
from ..winapi import SOMAXCONN
from .channel import Channel
from .connection import ModelConnection
from .limit import ModelLimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .loop import Loop

logger = logging.getLogger("pyiocp")

JOIN_MAX_S = 10.0
"""Seconds that threads have to end."""


class ModelServer:
    """A server under one of the network models. Made by ``models.serve``.

    ``model`` is the name of the model, ``address`` the address that it listens at, with the
    port number that the system chose if it was to. ``sessions`` are those that have not
    ended. Three numbers count what became of clients: ``accepted`` became sessions,
    ``refused`` came when the model could serve no more and were reset, ``failed`` were gone
    before they were sessions. ``refusal`` is the `ModelLimitError` of the last refused one,
    or None.

    Thread safety: any thread may read these, and call any method, also from a hook.

    Lifetime: leaving a ``with`` block closes it.
    """

    model: str
    address: Any
    refused = 0
    refusal: ModelLimitError | None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = False
        self._over = threading.Event()

    @property
    def sessions(self) -> set[Session]:
        """The sessions that have not ended."""
        raise NotImplementedError

    @property
    def accepted(self) -> int:
        """How many clients became sessions."""
        raise NotImplementedError

    @property
    def failed(self) -> int:
        """How many clients were gone, or their session could not be made, before that."""
        raise NotImplementedError

    def run(self) -> None:
        """Serve until `stop`, `close` or Ctrl-C; then everything has ended: it runs once.

        Before it returns, the sessions that are left are aborted, each in the thread that
        served it, and have had their ``on_close``.

        Raises KeyboardInterrupt on Ctrl-C in the main thread, after the hook under way; a
        second Ctrl-C interrupts that hook. RuntimeError if it runs, or ran, already,
        `PortClosedError` on a closed server.
        """
        with self._lock:
            if self._begun:
                raise RuntimeError(f"{self!r} runs already, or has run")
            if self._over.is_set():
                raise closed_error(self, "it cannot run")
            self._begun = True
        try:
            self._serve()
        finally:
            self._over.set()

    def stop(self) -> None:
        """Make `run` return, after the hooks under way; from any thread, also from a hook."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop, and wait until `run` has returned; called from a hook it does not wait.

        Closing twice does nothing.
        """
        self.stop()
        with self._lock:
            never_ran = not (self._begun or self._over.is_set())
            if never_ran:
                self._over.set()
        if never_ran:
            self._discard()
        if self._runs_here():
            return
        deadline = time.monotonic() + JOIN_MAX_S
        # In short waits: on Windows Ctrl-C does not end a long one.
        while not self._over.wait(0.05) and time.monotonic() < deadline:
            pass

    def _serve(self) -> None:
        """Serve until `stop`, and end everything."""
        raise NotImplementedError

    def _discard(self) -> None:
        """End what there is before it has run."""
        raise NotImplementedError

    def _runs_here(self) -> bool:
        """Return whether the calling thread serves."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.model!r} at {self.address}: "
            f"{len(self.sessions)} sessions>"
        )


class LoopServer(ModelServer):
    """The server of every model but the completion port: loops, with a thread each.

    make_loop: makes a loop.
    loops_max: how many there may be; the first runs in the thread that calls `run`, and accepts.
    """

    def __init__(
        self,
        make_loop: Callable[[LoopServer], Loop],
        address: Any,
        factory: Callable[[], Session],
        kernel: Kernel | None,
        loops_max: int = 1,
    ) -> None:
        if not callable(factory):
            raise TypeError(f"factory must be callable and return a Session, not {factory!r}")
        super().__init__()
        self.kernel = Kernel() if kernel is None else kernel
        self.stopping = False
        self._factory = factory
        self._make_loop = make_loop
        self._loops_max = loops_max
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None
        self._accepted = self._failed = 0
        first = make_loop(self)
        self.model = first.model
        self._loops = [first]
        try:
            self._listening = first.listening = _listen(first, address)
        except BaseException:
            first.waker.close()
            raise
        self.address = self._listening.local_address()

    @property
    def sessions(self) -> set[Session]:
        """The sessions that have not ended: a new set."""
        return {c.session for loop in list(self._loops) for c in list(loop.connections)}

    @property
    def accepted(self) -> int:
        """How many clients became sessions."""
        return self._accepted

    @property
    def failed(self) -> int:
        """How many clients were gone, or their session could not be made, before that."""
        return self._failed

    def stop(self) -> None:
        """Make `run` return; see `ModelServer.stop`."""
        self.stopping = True
        for loop in list(self._loops):
            loop.waker.wake()

    def _serve(self) -> None:
        try:
            self._loops[0].run()
        finally:
            self.stop()
            self._listening.close()
            for thread, loop in zip(self._threads, self._loops[1:], strict=True):
                thread.join(JOIN_MAX_S)
                if not thread.is_alive():  # a client may have been handed over just too late
                    loop.do_what_is_ready()
        interrupt.raise_noted()
        if self._failure is not None:
            raise self._failure

    def _discard(self) -> None:
        self._listening.close()
        self._loops[0].waker.close()

    def _runs_here(self) -> bool:
        return any(loop.calls_hooks_here() for loop in list(self._loops))

    # What loops call

    def place(self, number: int, family: int, peer: Any) -> None:
        """Give an accepted socket to a loop with room, or reset it; for the first loop only."""
        with self._lock:
            loop = self._loop_with_room()
            if loop is not None:
                loop.places_taken += 1
        if loop is None:
            self._refuse(number, family)
        elif loop.runs_here():
            loop.take(number, family, peer)
        else:
            loop.call_soon(loop.take, number, family, peer)

    def _loop_with_room(self) -> Loop | None:
        loop = min(self._loops, key=lambda loop: loop.places_taken)
        if not loop.full:
            return loop
        if len(self._loops) >= self._loops_max:
            return None
        loop = self._make_loop(self)
        thread = threading.Thread(
            target=self._run,
            args=(loop,),
            name=f"pyiocp {self.model} {len(self._loops)}",
            daemon=True,
        )
        self._loops.append(loop)
        self._threads.append(thread)
        thread.start()
        return loop

    def _run(self, loop: Loop) -> None:
        """Serve in another thread; what goes wrong there ends the server, and `run` raises it."""
        try:
            loop.run()
        except BaseException as failure:  # noqa: BLE001, raised by `run`
            self._failure = failure
            self.stop()

    def _refuse(self, number: int, family: int) -> None:
        first = self._loops[0]
        error = first.limit_error(self._loops_max)
        if self.refusal is None:
            logger.error("%r refuses clients: %s", self, error)
        self.refusal = error  # before the client can notice
        self.refused += 1
        channel = Channel(first, number, family=family)
        channel.reset_on_close()
        channel.close()

    def leave(self, loop: Loop) -> None:
        """A connection of the loop has ended: it has room for one more."""
        with self._lock:
            loop.places_taken -= 1

    def lost(self, error: Exception) -> None:
        """Count a client that did not become a session."""
        with self._lock:
            self._failed += 1
        logger.warning("%r: a client was lost", self, exc_info=error)

    def new_connection(self, loop: Loop) -> ModelConnection:
        """Return the connection of a new session, served by the loop.

        Raises TypeError if the factory makes no `Session`, ValueError if it is not new.
        """
        session = self._factory()
        check_new(session, Session)

        def on_end(_session: Session) -> None:
            loop.connections.discard(connection)
            self.leave(loop)

        kinds: list[Callable[[Any, Hooks], Layer]] = []
        if isinstance(session, FramedSession):
            kinds.append(Framer)
        connection = connect_layers(
            session, kinds, lambda hooks: ModelConnection(loop, session, on_end, hooks)
        )
        with self._lock:
            self._accepted += 1
        return connection


def _listen(loop: Loop, address: Any) -> Channel:
    """Return a non-blocking channel that listens at the address."""
    listening = open_listening(
        loop,
        address,
        backlog=SOMAXCONN,
        exclusive=True,
        dual_stack=False,
        no_delay=True,
        kind=Channel,
    )
    assert isinstance(listening, Channel), "the kind that was asked for"
    listening.set_blocking(False)
    return listening
