"""Readiness: what select, WSAPoll and WSAEventSelect have in common.

Such a model says *that* a socket can be received from or sent on, and the program then does
it, with a call on a non-blocking socket that fails with WSAEWOULDBLOCK where it would have
to wait. So a message costs, besides its share of the waiting, two calls: WSARecv and
WSASend. Nothing is under way between two calls: no buffer is the kernel's, nothing has to be
drained. That is the attraction of these models.

- A receive is tried once the socket has been reported readable: earlier it would mostly fail.
- A send is tried at once, because the socket's own buffer mostly takes it. What does not fit
  waits until the socket is reported writable.
"""

from __future__ import annotations

from typing import cast

from ..engine.packet import IDLE, PENDING
from ..errors import error_of_code
from ..winapi import WSAEWOULDBLOCK
from .channel import Channel, DirectOperation
from .loop import Loop


class ReadinessOperation(DirectOperation):
    """A receive or send that is made when its socket is ready."""

    handle: ReadinessChannel

    def _submit(self, announce: bool) -> bool:
        """Try at once, unless it is a receive to be reported later; otherwise wait.

        The outcomes are those of every operation: completed, pending, failed.
        """
        self.handle.check_open(self.kind)
        self.state = PENDING
        if self.kind == "receive" and announce:
            self.handle.wait_for(self)
            return False
        code = self.attempt()
        if code == WSAEWOULDBLOCK:
            self.handle.wait_for(self)
            return False
        if code:
            self.state = IDLE
            raise error_of_code(self.function_name, code, None, self)
        if announce:
            self.end(0)
        return True

    def try_again(self) -> None:
        """Try, now that the socket is said to be ready."""
        code = 0 if self.waits_only else self.attempt()
        # "Ready" is a hint and may be out of date: then keep waiting.
        if code != WSAEWOULDBLOCK:
            self.handle.waits_no_more(self)
            self.end(code)

    def cancel(self) -> bool:
        """End it as cancelled; False if it had ended already."""
        if not self.handle.waits_no_more(self):
            return False
        self.end_cancelled()
        return True


class ReadinessChannel(Channel):
    """A non-blocking socket, with what waits for it to be ready. In its loop's thread only."""

    operation_class = ReadinessOperation

    receiving: ReadinessOperation | None = None
    """The receive that waits for data."""
    sending: ReadinessOperation | None = None
    """The send that waits for room."""

    def begin(self) -> None:
        """Make calls fail instead of waiting."""
        self.set_blocking(False)

    @property
    def _readiness_loop(self) -> ReadinessLoop:
        return cast("ReadinessLoop", self.loop)

    def wait_for(self, operation: ReadinessOperation) -> None:
        """Have the operation tried when the socket is ready for it."""
        if operation.kind == "receive":
            self.receiving = operation
        else:
            self.sending = operation
        self._readiness_loop.watch(self)

    def waits_no_more(self, operation: ReadinessOperation) -> bool:
        """Remove an operation that is over; False if it was not waiting."""
        if operation is self.receiving:
            self.receiving = None
        elif operation is self.sending:
            self.sending = None
        else:
            return False
        self._readiness_loop.watch(self)
        return True

    def on_readable(self) -> None:
        """Try the receive, if there is one."""
        if self.receiving is not None:
            self.receiving.try_again()

    def on_writable(self) -> None:
        """Try the send, if there is one."""
        if self.sending is not None:
            self.sending.try_again()

    def _cancel_pending(self) -> None:
        """End what waits: at once, because the kernel has none of it."""
        for operation in (self.receiving, self.sending):
            if operation is not None:
                operation.cancel()
        self._readiness_loop.forget(self)


class ReadinessLoop(Loop):
    """A loop that is told which sockets are ready."""

    channel_class = ReadinessChannel

    def watch(self, channel: ReadinessChannel) -> None:
        """Called when what waits on a socket has changed."""
        raise NotImplementedError

    def forget(self, channel: ReadinessChannel) -> None:
        """Called before a socket is closed; by default nothing has to be done."""
