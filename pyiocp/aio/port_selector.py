"""PortSelector: asks a completion port what has happened, in the place of asyncio's selector.

``select`` only gathers. What has ended is dispatched by a callback that goes behind those that are
ready already, as in asyncio's own loops: a protocol may rely on ``call_soon`` being faster than the
next data.

Sockets that are registered are watched by polls (`SocketPolls`), whose answers are completions as
any: they are reported when they are dispatched, not by ``select``.
"""

from __future__ import annotations

import selectors
import sys
from asyncio import Handle
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..engine import interrupt
from ..handles.readiness.socket_polls import READABLE, WRITABLE, SocketPolls

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections import deque
    from collections.abc import Callable

    from ..engine.completion import Completion
    from ..engine.queue import CompletionQueue

    Report = Callable[[list[tuple[selectors.SelectorKey, int]]], None]

_BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE
assert (selectors.EVENT_READ, selectors.EVENT_WRITE) == (READABLE, WRITABLE)


class PortSelector(selectors.BaseSelector):
    """A selector of asyncio's loop; see the module. Only the loop's thread calls it."""

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self._monotonic = queue.kernel.monotonic
        self._polls = SocketPolls(queue, self._on_ready)
        self._keys: dict[int, selectors.SelectorKey] = {}

    def serve(self, loop: AbstractEventLoop, ready: deque[Handle], report: Report) -> None:
        """Serve a loop.

        ready: its callbacks. report: takes what ``select`` of other selectors returns.
        """
        self._loop_ready = ready
        self._report = report
        self._dispatching = Handle(self._dispatch, (), loop)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Gather what the port has; wait for up to `timeout` seconds if it has nothing."""
        queue = self._queue
        if self._polls.waits:
            self._polls.update(dealt_with=not self._loop_ready)
        if timeout is not None:
            timeout = self._monotonic() + timeout if timeout > 0 else 0
        try:  # not by poller(): a call for each round
            poller = queue.pollers.of_thread
        except AttributeError:
            poller = queue.poller()
        poller.gather(timeout)
        if interrupt.presses_noted:
            interrupt.raise_noted()
        if queue.ready:
            self._loop_ready.append(self._dispatching)
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

    # Readiness

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket; see `selectors.BaseSelector`.

        Raises ValueError for other events and for what has no number, KeyError if it is registered
        already, OSError for what is no socket.
        """
        if not events or events & ~_BOTH:
            raise ValueError(f"Invalid events: {events!r}")
        number = _number_of(fileobj)
        if number in self._keys:
            raise KeyError(f"{fileobj!r} (FD {number}) is already registered")
        self._polls.watch(number, events)
        self._keys[number] = key = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a socket no more; KeyError if it is not registered."""
        number = self._registered(fileobj)
        self._polls.forget(number)
        return self._keys.pop(number)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket for other events; see `selectors.BaseSelector`."""
        if not events or events & ~_BOTH:
            raise ValueError(f"Invalid events: {events!r}")
        number = self._registered(fileobj)
        self._polls.watch(number, events)
        self._keys[number] = key = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched, by the socket or its number."""
        return _Registered(self._keys)

    def _registered(self, fileobj: Any) -> int:
        return _Registered(self._keys)[fileobj].fd

    def _on_ready(self, number: int, events: int) -> None:
        key = self._keys.get(number)
        if key is not None:
            self._report([(key, events)])


class _Registered(Mapping[Any, selectors.SelectorKey]):
    """Keys by their sockets and by their numbers."""

    def __init__(self, keys: dict[int, selectors.SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        try:
            return self._keys[_number_of(fileobj)]
        except ValueError:  # it has been closed since
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _number_of(fileobj: Any) -> int:
    """Return a socket's number; ValueError if it has none."""
    try:
        number = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if number < 0:
        raise ValueError(f"Invalid file descriptor: {number}")
    return number
