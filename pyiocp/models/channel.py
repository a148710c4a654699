"""Channel: a connected socket, on no completion port but under one of the other models.

A session uses it like any `Stream`: it posts operations and is told how they end. Each model
has its own class of operation, which says what posting does, and its own loop, which finds out
what has ended.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..engine.operation import Operation
from ..handles.sockets.stream import Stream
from ..winapi import DWORD, STATUS_CANCELLED, STATUS_SUCCESS

if TYPE_CHECKING:
    from ..servers.tcp.connection import Connection
    from .loop import Loop

FAILED_WITH = 0x80070000
"""Added to a Winsock code: reported to a session as if it were an NTSTATUS.

It is how COM writes a Win32 code in 32 bits (HRESULT_FROM_WIN32)."""


class Channel(Stream):
    """A stream socket that belongs to a loop. Any thread may call its methods."""

    kind = "channel"
    may_skip = False
    takes_at_once = False  # how it sends is what makes the model

    def __init__(
        self, loop: Loop, number: int, *, family: int, key: Any = None, peer: Any = None
    ) -> None:
        self.loop = loop
        super().__init__(loop, number, family=family, key=key, peer=peer)

    def _associate(self) -> None:
        """Stay on no port."""

    def _close(self, cancel: bool) -> None:
        """Close; the loop may hold something of it even when no operation is pending."""
        super()._close(cancel=True)

    def begin(self) -> None:
        """Do what the model needs before the first operation."""

    def attach(self, connection: Connection, peer: Any) -> None:
        """Start the connection."""
        connection.attach(self, peer)


class DirectOperation(Operation):
    """A receive or send without an OVERLAPPED: when the call returns, it is over.

    What a non-blocking socket cannot do yet has not begun: the call is made again.
    """

    def _calls(
        self, name: str, function: Callable[..., int], failure: int, *arguments: Any
    ) -> None:
        """Leave the OVERLAPPED out, and ask for the number of bytes instead."""
        # WSARecv and WSASend: s, buffers, how many, bytes, flags, OVERLAPPED, routine.
        socket, buffers, count, _bytes, flags, _overlapped, _routine = arguments
        self._moved = DWORD()
        moved = ctypes.byref(self._moved)
        super()._calls(name, function, failure, socket, buffers, count, moved, flags, None, None)

    @property
    def waits_only(self) -> bool:
        """Whether it is a receive without a buffer, which is over when something is there."""
        return self.kind == "receive" and not self.buffers

    def attempt(self) -> int:
        """Make the call; return 0, or Winsock's code if it failed."""
        for result, code in self._endless:  # noqa: B007, see `endless_calls`
            break
        if result == self._failure:
            return int(code)
        self.words[0], self.words[1] = STATUS_SUCCESS, self._moved.value
        return 0

    def end(self, code: int) -> None:
        """Have the loop report how it ended: 0 for success, or Winsock's code."""
        if code:
            self.handle.home.enqueue((self, 0, FAILED_WITH | code))
        else:
            self.handle.home.enqueue((self, self.transferred, STATUS_SUCCESS))

    def end_cancelled(self) -> None:
        """Have the loop report that it was cancelled."""
        self.handle.home.enqueue((self, 0, STATUS_CANCELLED))
