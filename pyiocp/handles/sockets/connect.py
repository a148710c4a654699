"""ConnectOperation and DisconnectOperation: how a stream gets a peer, and loses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.operation import Operation
from ...errors import HandleClosedError
from ...winapi import SO_UPDATE_CONNECT_CONTEXT, SOL_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.completion import Completion
    from .socket_handle import SocketHandle


class ConnectOperation(Operation):
    """A connect; once it has completed without error the stream sends and receives."""

    __slots__ = ("_stream", "exported")

    def __init__(self, stream: SocketHandle) -> None:
        super().__init__(stream, "connect")
        self._stream = stream
        self.exported: Any = None
        """What keeps the first data in place; set together with the call."""

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read or write, the first data among it."""
        return (*super().memory, self.exported)

    def finish(self, count: int, status: int) -> Completion:
        """Tell the socket that it is connected: getpeername and shutdown need that."""
        completion = super().finish(count, status)
        if completion.error is None:
            try:
                self._stream.call("setsockopt", SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, None, 0)
            except HandleClosedError:
                pass  # closed just now, by another thread: there is nothing left to update
            except OSError as error:
                return type(completion)(self, self.key, 0, status, error)
        return completion


class DisconnectOperation(Operation):
    """A disconnect; ``then`` is called when it has completed without error.

    A provider may finish it on the spot and yet report it as pending: then, with
    skip-on-success in force, no packet comes. Wine's does.
    """

    __slots__ = ("_then",)

    def __init__(self, stream: SocketHandle, then: Callable[[], None] | None) -> None:
        super().__init__(stream, "disconnect")
        self._then = then

    def finish(self, count: int, status: int) -> Completion:
        """Set the options again that the stream was given: the system may have lost them."""
        completion = super().finish(count, status)
        if self._then is not None and completion.error is None:
            try:
                self._then()
            except HandleClosedError:
                pass  # closed just now, by another thread: nobody will use it again
            except OSError as error:
                return type(completion)(self, self.key, 0, status, error)
        return completion

    def _submit(self, announce: bool) -> bool:
        done = super()._submit(announce)
        if not done and self.handle.skips_on_success:
            # Under the lock: it may have been dequeued, and posted again, by another thread.
            with self.handle.lock:
                if not self.unwritten:
                    self.handle.home.settle(self, self.address)
        return done
