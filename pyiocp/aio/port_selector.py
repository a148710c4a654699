"""PortSelector: asks a completion port what has happened, in the place of asyncio's selector.

``select`` only gathers. What has ended is dispatched by a callback that goes behind those that are
ready already, as in asyncio's own loops: a protocol may rely on ``call_soon`` being faster than the
next data.
"""

from __future__ import annotations

import selectors
import sys
from asyncio import Handle
from typing import TYPE_CHECKING, Any

from ..engine import interrupt

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections import deque
    from collections.abc import Mapping

    from ..engine.completion import Completion
    from ..engine.queue import CompletionQueue


class PortSelector(selectors.BaseSelector):
    """A selector of asyncio's loop; see the module. Only the loop's thread calls it."""

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self._monotonic = queue.kernel.monotonic
        self._ready: deque[Handle] | None = None
        self._keys: dict[int, selectors.SelectorKey] = {}

    def serve(self, loop: AbstractEventLoop, ready: deque[Handle]) -> None:
        """Append what is to be dispatched to a loop's callbacks."""
        self._ready = ready
        self._dispatching = Handle(self._dispatch, (), loop)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Gather what the port has; wait for up to `timeout` seconds if it has nothing."""
        queue = self._queue
        if timeout is not None:
            timeout = self._monotonic() + timeout if timeout > 0 else 0
        try:  # not by poller(): a call for each round
            poller = queue.pollers.of_thread
        except AttributeError:
            poller = queue.poller()
        poller.gather(timeout)
        if interrupt.presses_noted:
            interrupt.raise_noted()
        if queue.ready and self._ready is not None:
            self._ready.append(self._dispatching)
        return []

    def _dispatch(self) -> None:
        """Call the receivers of what has ended."""
        unclaimed: list[Completion] = []
        try:
            self._queue.dispatch(unclaimed, sys.maxsize)
        finally:
            if unclaimed:
                self._queue.keep_for_wait(unclaimed)
            if interrupt.presses_noted:
                interrupt.raise_noted()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket; see `selectors.BaseSelector`."""
        raise NotImplementedError

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a socket no more; see `selectors.BaseSelector`."""
        raise NotImplementedError

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched, by the socket's number."""
        return self._keys
