"""The model "overlapped-polled": start operations, and check whether they have ended.

**How it works.** A receive is posted with an OVERLAPPED, and the thread goes on. Whenever it
likes it asks WSAGetOverlappedResult, without waiting: it says WSA_IO_INCOMPLETE, or how the
operation has ended. C has a macro for the same check, HasOverlappedIoCompleted: the kernel
writes the result into the OVERLAPPED itself, so checking only reads memory.

**What a message costs.** WSARecv and WSASend, and no wait. But everything in
flight has to be checked over and over, with a call each (here; HasOverlappedIoCompleted needs
none), and the more there is, the longer that takes. After a round in which nothing had ended the
thread sleeps a millisecond: so a message waits for up to one, and a server without any work wakes
up a thousand times a second. A program that never slept would have
the shortest latency there is, and a processor at 100 %.

**Its limit.** None but the time that one round of checks takes.

**When to choose it.** In a program that has a loop anyway, such as a game that draws a
picture every 16 ms and looks for messages in between. Elsewhere it is the worst of two
worlds.

Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsagetoverlappedresult
"""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING

from ..winapi import DWORD, SOCKET, WSA_IO_INCOMPLETE
from .overlapped import OverlappedLoop

if TYPE_CHECKING:
    from ..engine.operation import Operation
    from .loop import Server

_PAUSE_S = 0.001
"""How long the thread sleeps after a round in which nothing had ended."""


class OverlappedPolledLoop(OverlappedLoop):
    """A thread that checks its operations."""

    model = "overlapped-polled"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._accept_at = 0.0
        self._socket, self._count, self._flags = SOCKET(), DWORD(), DWORD()

    def wait(self, timeout_ms: int) -> None:
        """Check everything in flight; sleep a little if nothing has ended.

        So short a sleep needs no waker to end it.
        """
        now = self.kernel.monotonic()
        if now >= self._accept_at:
            self._accept_at = now + _PAUSE_S
            self.accept_clients()
        ended = [operation for operation in self.operations() if self._has_ended(operation)]
        for operation in ended:
            self.on_end(operation)
        if not ended and timeout_ms:
            time.sleep(_PAUSE_S)

    def _has_ended(self, operation: Operation) -> bool:
        channel = operation.handle
        if channel.closed:
            return not operation.unwritten  # its number may be another socket's by now
        self._socket.value = channel.number
        return bool(
            self.kernel.WSAGetOverlappedResult(
                self._socket,
                ctypes.byref(operation.overlapped),
                ctypes.byref(self._count),
                False,
                ctypes.byref(self._flags),
            )
            or self.kernel.last_error() != WSA_IO_INCOMPLETE
        )
