"""The model "completion-routines": the kernel calls a function in the thread that waits.

**How it works.** WSARecv and WSASend take a function besides the OVERLAPPED, a *completion
routine*. When the operation has ended, the kernel queues a call to it for the thread that
started the operation (an asynchronous procedure call, APC), and the thread makes the call
the next time that it waits *alertably*: in SleepEx, or here in WSAWaitForMultipleEvents with
fAlertable. So there is no handle to wait for, no limit, and no lock: all of it happens in one
thread, at a place that it chooses.

The routine is also called for an operation that was over when its call returned. Here it only
notes that; hooks are called after the wait. If a hook ran inside the routine and waited alertably
itself, the next routine would run inside it, and so on down the stack.

**What a message costs.** Two calls, WSARecv and WSASend, and the waits: on a quiet server
two of them, one that the receive ends and one that the send ends. A wait runs *all* the routines
that are queued, so on a busy server several messages share it. And the kernel calls back into
the interpreter twice.

**Its limit.** No number. But everything that a thread starts comes back to that thread: another
cannot help when it is busy, and a second processor only serves connections that were given to a
second thread from the start. Completion ports were made to solve that.

**When to choose it.** For one thread with many connections, in C, whose thread has to wait
alertably anyway. Accepting is not part of it: AcceptEx takes no routine, so the listening
socket has an event.

Source: https://learn.microsoft.com/windows/win32/api/winsock2/nc-winsock2-lpwsaoverlapped_completion_routine
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ..engine.operation import Operation
from ..errors import error_of_code
from ..winapi import LPWSAOVERLAPPED_COMPLETION_ROUTINE, WSA_WAIT_FAILED, WSAEVENT
from .bell import Bell
from .overlapped import OverlappedChannel, OverlappedLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Server

_LOOK_S = 0.05
"""How long new clients and other threads may have to wait while routines keep coming."""


class RoutineOperation(Operation):
    """An operation with a completion routine."""

    def _calls(
        self, name: str, function: Callable[..., int], failure: int, *arguments: Any
    ) -> None:
        """Pass the routine as the last argument."""
        loop = cast("CompletionRoutinesLoop", self.handle.home)
        super()._calls(name, function, failure, *arguments[:-1], loop.routine)


class RoutineChannel(OverlappedChannel):
    """A socket whose operations have completion routines."""

    operation_class = RoutineOperation
    ends_on_the_spot = False


class CompletionRoutinesLoop(OverlappedLoop):
    """A thread that waits alertably."""

    model = "completion-routines"
    channel_class = RoutineChannel

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._look_at = 0.0
        self._addresses: list[int] = []
        """Those of the OVERLAPPEDs whose routine has been called and not been handled yet."""
        # Lifetime: the loop keeps it, and each operation its arguments, until the kernel has
        # called it for the last one.
        self.routine = LPWSAOVERLAPPED_COMPLETION_ROUTINE(partial(_note, self._addresses))

    def open(self) -> None:
        """Create the bell."""
        self._bell = Bell(self)
        self._row = (WSAEVENT * 1)(self._bell.event)

    def release(self) -> None:
        """Close the bell."""
        self._bell.close()

    def wait(self, timeout_ms: int) -> None:
        """Wait alertably: the routines run in here."""
        index = self._wait_for_bell(timeout_ms, alertable=True)
        addresses = self._addresses[:]
        del self._addresses[: len(addresses)]
        for address in addresses:
            self.on_end(cast("Operation", self.in_flight[address]))
        # While routines keep coming, the wait may never report the event.
        now = self.kernel.monotonic()
        if index and now >= self._look_at:
            index = self._wait_for_bell(0, alertable=False)
            self._look_at = now + _LOOK_S
        if index == 0:
            self._bell.answer()

    def _wait_for_bell(self, timeout_ms: int, *, alertable: bool) -> int:
        """Return 0 if the bell rang, and anything else if not."""
        index = self.kernel.WSAWaitForMultipleEvents(1, self._row, False, timeout_ms, alertable)
        if index == WSA_WAIT_FAILED:
            code = self.kernel.last_error()
            raise error_of_code("WSAWaitForMultipleEvents", code, None, self)
        return index


def _note(addresses: list[int], _error: int, _count: int, overlapped: Any, _flags: int) -> None:
    """Take note that an operation has ended; the kernel has written how in the OVERLAPPED."""
    addresses.append(ctypes.addressof(overlapped.contents))
