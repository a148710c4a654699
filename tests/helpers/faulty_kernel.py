"""FaultyKernel: the real kernel, of which some calls fail or are watched.

Tests use it, through ``CompletionPort(kernel=…)``, for what the real kernel does not do
when it is asked to: run out of memory, return early, answer in an odd moment. All calls
but the one in question reach the real system.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyiocp import Kernel
from pyiocp.winapi import OVERLAPPED_ENTRY, SOCKET_ERROR, WSAEWOULDBLOCK

#: Functions that are looked up on a socket, and called through what the look-up returns.
LOOKED_UP = (
    "AcceptEx",
    "ConnectEx",
    "DisconnectEx",
    "GetAcceptExSockaddrs",
    "TransmitFile",
    "TransmitPackets",
    "WSARecvMsg",
    "WSASendMsg",
)

WAKE_KEY = 0xFFFFFFFF


class FaultyKernel(Kernel):
    """A kernel whose functions can be wrapped: before a port is made with it."""

    def wrap(self, name: str, wrapper: Callable[..., Any]) -> None:
        """Have `wrapper`, called with the real function and its arguments, stand for it.

        What goes wrong with operations that send does so only if there are some: with WSASend
        wrapped, the system takes nothing without one.
        """
        if name == "WSASend":
            self.wrap("send", Refusal(WSAEWOULDBLOCK, SOCKET_ERROR))
        real = getattr(self, name)
        if name not in LOOKED_UP:
            setattr(self, name, functools.partial(wrapper, real))
            return

        @functools.wraps(real)
        def look_up(socket: int) -> Callable[..., Any]:
            return functools.partial(wrapper, real(socket))

        setattr(self, name, look_up)


class Refusal:
    """A wrapper that fails the call with a code, `times` over, and then lets it through."""

    def __init__(self, code: int, result: Any, times: int | None = None) -> None:
        self.calls = 0
        self.refused = 0
        self.enabled = True
        self._code = code
        self._result = result
        self._times = times

    def __call__(self, real: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        if self.enabled and (self._times is None or self.refused < self._times):
            self.refused += 1
            ctypes.set_last_error(self._code)
            return self._result
        return real(*arguments)


class Calls(Counter[str]):
    """Counts the calls of some functions of a kernel: before a port is made with it."""

    def __init__(self, kernel: FaultyKernel, *names: str) -> None:
        super().__init__()
        for name in names:
            setattr(kernel, name, self.counted(name, getattr(kernel, name)))

    def counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return what calls the function, and counts that."""

        def call(*arguments: Any) -> Any:
            self[name] += 1
            return real(*arguments)

        return call


def entries_of(arguments: tuple[Any, ...]) -> list[OVERLAPPED_ENTRY]:
    """Return the packets that a call of GetQueuedCompletionStatusEx has dequeued."""
    count = arguments[3]._obj.value
    return [arguments[1]._obj[n] for n in range(count)]


class WakeCounter:
    """Counts the empty packets that wake a thread: all of them, and the most at one time.

    One is under way from just before it is posted until it has been dequeued.
    """

    def __init__(self, kernel: FaultyKernel) -> None:
        self.posted = 0
        self.outstanding = 0
        self.outstanding_max = 0
        self._lock = threading.Lock()
        kernel.wrap("PostQueuedCompletionStatus", self._on_post)
        kernel.wrap("GetQueuedCompletionStatusEx", self._on_dequeue)

    def _on_post(self, real: Callable[..., Any], port: int, n: int, key: int, ov: Any) -> Any:
        if ov is None:
            with self._lock:
                self.posted += 1
                self.outstanding += 1
                self.outstanding_max = max(self.outstanding_max, self.outstanding)
        return real(port, n, key, ov)

    def _on_dequeue(self, real: Callable[..., Any], *arguments: Any) -> Any:
        result = real(*arguments)
        if result:
            wakes = sum(
                not entry.lpOverlapped and entry.lpCompletionKey == WAKE_KEY
                for entry in entries_of(arguments)
            )
            with self._lock:
                self.outstanding -= wakes
        return result
