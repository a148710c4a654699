"""SilentClients: deals with clients that connect and do not send the first data.

An AcceptEx with room for data completes when data has come. A client that sends none occupies
it, and a few such clients occupy all of them, so no other client gets in (C34, C68). So this
checks now and then which of the pending accepts have had a client for too long, and closes those.
While there are silent clients, more accepts are posted that wait for no data: see `Acceptor`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import IocpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...engine.queue import CompletionQueue
    from ...handles.sockets.accept import AcceptOperation

_LOOK_EVERY_S = 0.5
"""Seconds that silent clients may occupy all accepts before more are posted."""


class SilentClients:
    """Looks after the pending accepts of one listening socket.

    seconds: how long a client may be silent. The system counts whole seconds: it is
        rounded up, and a client has up to a second more.
    operations: gives the accepts that may be pending.
    on_look: called after each look with how many clients are silent, and how many more
        have been closed.

    Source: https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-acceptex
    """

    def __init__(
        self,
        home: CompletionQueue,
        seconds: float,
        operations: Callable[[], Iterable[AcceptOperation]],
        on_look: Callable[[int, int], None],
    ) -> None:
        self._home = home
        self._seconds = math.ceil(seconds)
        self._operations = operations
        self._on_look = on_look
        self._stopped = False
        #: One item. Who removes it, the timer or `recover`, looks next; only one thread can.
        self._turn = [True]
        self._plan()

    def stop(self) -> None:
        """Stop; any thread may call it."""
        self._stopped = True
        self._timer.cancel()

    def recover(self) -> None:
        """Look, if a look has been missed because something was raised."""
        turn = self._turn  # first: if another thread takes it now, that is the look
        if not self._stopped and self._timer.due <= self._home.kernel.monotonic():
            self._take_turn(turn)

    def _plan(self) -> None:
        self._timer = self._home.call_later(_LOOK_EVERY_S, self._take_turn, self._turn)
        if self._stopped:
            self._timer.cancel()

    def _take_turn(self, turn: list[bool]) -> None:
        """Look, and plan the next look; unless another thread has, or does."""
        try:
            del turn[0]
        except IndexError:
            return
        try:
            self._look()
        finally:
            self._turn = [True]
            try:
                self._plan()
            except BaseException:  # of a signal handler; of two timers with one turn, one looks
                self._plan()
                raise

    def _look(self) -> None:
        silent = closed = 0
        for operation in self._operations():
            connected = silent_seconds(operation)
            if connected is None:
                continue
            if connected >= self._seconds and operation.cancel():
                closed += 1
            else:
                silent += 1
        self._on_look(silent, closed)


def silent_seconds(operation: AcceptOperation) -> int | None:
    """Return for how long a client of a pending accept has sent nothing; None without one."""
    try:
        return operation.connected_seconds()
    except IocpError:  # the client is just leaving
        return None
