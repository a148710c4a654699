"""SignalHandlers: calls functions in the loop when a signal comes.

The interpreter runs a handler in the main thread, between two bytecodes; the engine sees to it that
a signal ends the main thread's sleep at once (`engine.signals`). The handler here only has the
loop call the function.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class SignalHandlers:
    """The functions of one loop, by their signals.

    soon: has a loop call a handle, from within a signal handler.

    Thread safety: only the main thread may set and remove signal handlers.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, soon: Callable[[asyncio.Handle], None]
    ) -> None:
        self._loop = loop
        self._soon = soon
        self._handles: dict[int, asyncio.Handle] = {}

    def add(self, sig: int, callback: Any, arguments: tuple[Any, ...]) -> None:
        """Have a function called when a signal comes; see `EventLoop.add_signal_handler`."""
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check(sig)
        before = self._handles.get(sig)
        self._handles[sig] = asyncio.Handle(callback, arguments, self._loop, None)
        try:
            signal.signal(sig, self._on_signal)
        except (ValueError, OSError) as error:
            if before is None:
                del self._handles[sig]
            else:
                self._handles[sig] = before
            raise RuntimeError(f"signal {sig} cannot be handled by this loop: {error}") from error

    def remove(self, sig: int) -> bool:
        """Have nothing called any more; return whether anything would have been."""
        _check(sig)
        if self._handles.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        # Compared as equal: each access to a method makes another object.
        if signal.getsignal(sig) == self._on_signal:
            signal.signal(sig, default)
        return True

    def clear(self) -> None:
        """Remove all; what another thread cannot remove calls nothing any more."""
        for sig in list(self._handles):
            with contextlib.suppress(ValueError):
                self.remove(sig)

    def _on_signal(self, sig: int, _frame: FrameType | None) -> None:
        handle = self._handles.get(sig)
        if handle is None or self._loop.is_closed():
            return
        if handle.cancelled():
            self.remove(sig)
        else:
            self._soon(handle)


def _check(sig: int) -> None:
    """Raise what asyncio raises for a bad signal."""
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
