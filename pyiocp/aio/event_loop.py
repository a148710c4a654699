"""EventLoop: asyncio's event loop, on a completion port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from ..engine import interrupt
from ..engine.timers import Call
from ..port import CompletionPort
from .asyncio_internals import BaseSelectorEventLoop
from .port_selector import PortSelector

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Coroutine

_T = TypeVar("_T")


def _nothing() -> None:
    """What a wake-up calls."""


class EventLoop(BaseSelectorEventLoop):
    """An asyncio event loop with a `CompletionPort`: ``port``.

    Whatever is on that port is served by the loop's thread.

    Lifetime: ``close`` closes the port too.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        self._port = CompletionPort(concurrency=1)
        self._queue = self._port._queue
        self._selector_of_port = PortSelector(self._queue)
        super().__init__(self._selector_of_port)
        self._selector_of_port.serve(self, self._ready)
        self.time = self._queue.kernel.monotonic  # type: ignore[method-assign]
        interrupt.uninstall()

    @property
    def port(self) -> CompletionPort:
        """The port that the loop waits on."""
        return self._port

    def run_forever(self) -> None:
        """Run until ``stop`` is called."""
        try:
            super().run_forever()
        finally:
            interrupt.uninstall()

    def close(self) -> None:
        """Close the loop and its port."""
        if not self.is_running():
            super().close()
            self._port.close()

    # The self-pipe of asyncio's own loops

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        if not self._queue.closed:
            self._queue.enqueue_call(Call(_nothing, ()))


def new_event_loop() -> EventLoop:
    """Return a new loop."""
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine in a new loop, as `asyncio.run` does."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
