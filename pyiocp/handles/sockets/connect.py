"""ConnectOperation and DisconnectOperation: connecting a stream, and disconnecting it."""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any

from ...engine.operation import Operation
from ...errors import HandleClosedError, IocpError
from ...winapi import SO_REUSE_UNICASTPORT, SO_UPDATE_CONNECT_CONTEXT, SOL_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.completion import Completion
    from .socket_handle import SocketHandle


_ON = ctypes.c_int32(1)


def share_local_ports(stream: SocketHandle) -> None:
    """Let the system give connections to other peers the same local port; before the bind.

    ConnectEx needs a socket that is bound, and `bind` takes a port for that socket alone: of the
    16,384 that Windows hands out by default, none is left after as many connections. With this
    the port is chosen when the peer is known, and what counts is the pair of addresses.
    Before Windows 10 there is no such option; and a socket that is bound already refuses it.

    Source: https://learn.microsoft.com/windows/win32/winsock/sol-socket-socket-options
    """
    with contextlib.suppress(IocpError):
        # Not by `set_option`: a stream sets that again for its next connection, as this does.
        stream.call("setsockopt", SOL_SOCKET, SO_REUSE_UNICASTPORT, ctypes.byref(_ON), 4)


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
        """What the kernel may read or write, including the first data."""
        return (*super().memory, self.exported)

    def finish(self, count: int, status: int) -> Completion:
        """Update the socket's context, which getpeername and shutdown need."""
        completion = super().finish(count, status)
        if completion.error is None:
            try:
                self._stream.call("setsockopt", SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, None, 0)
            except HandleClosedError:
                pass  # another thread has just closed it: there is nothing to update
            except OSError as error:
                return type(completion)(self, self.key, 0, status, error)
        return completion


class DisconnectOperation(Operation):
    """A disconnect; ``then`` is called when it has completed without error.

    A provider may complete it at once and yet report it as pending: then no packet comes with
    skip-on-success. Wine's does that.
    """

    __slots__ = ("_then",)

    def __init__(self, stream: SocketHandle, then: Callable[[], None] | None) -> None:
        super().__init__(stream, "disconnect")
        self._then = then

    def finish(self, count: int, status: int) -> Completion:
        """Call `then`: the stream sets its options again, as the system may have lost them."""
        completion = super().finish(count, status)
        if self._then is not None and completion.error is None:
            try:
                self._then()
            except HandleClosedError:
                pass  # another thread has just closed it: it will not be used again
            except OSError as error:
                return type(completion)(self, self.key, 0, status, error)
        return completion

    def _submit(self, announce: bool) -> bool:
        done = super()._submit(announce)
        if not done and self.handle.skips_on_success:
            # With the lock: another thread may have dequeued it, and posted it again.
            with self.handle.lock:
                if not self.unwritten:
                    self.handle.home.settle(self, self.address)
        return done
