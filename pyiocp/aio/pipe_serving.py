"""Named pipes by asyncio's interface: a server of them, and connections to one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import (
    HandleClosedError,
    OperationCancelledError,
    PipeClosedError,
    PortClosedError,
)
from ..handles.pipes.pipe_connect import PipeConnect
from ..handles.pipes.pipe_server import PipeServer
from .asyncio_internals import AsyncioPipeServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.queue import CompletionQueue
    from ..handles.pipes.pipe import Pipe, PipeAccept

_BUFFER_SIZE = 8192
"""Bytes that a pipe holds each way; as in asyncio's own loop."""

_RETRY_S = 1.0
"""Seconds without an accept, when the system gives no further instance of the pipe."""


class PipeServing(AsyncioPipeServer):
    """Makes a transport of each client of a named pipe, until it is closed.

    The pipe is one of messages, and only programs of this user, on this machine, may connect.

    on_client: called with the server's end of each.
    on_error: called with what `call_exception_handler` takes.

    Raises `AccessDeniedError` if there is a pipe of that name, ValueError for a bad name, TypeError
    for what is none, and an `IocpError` if the system refuses.
    """

    def __init__(
        self,
        home: CompletionQueue,
        address: str,
        on_client: Callable[[Pipe], None],
        on_error: Callable[[dict[str, Any]], None],
    ) -> None:
        self._on_client = on_client
        self._on_error = on_error
        self._home = home
        self._server: PipeServer | None = None
        self._server = PipeServer(
            home,
            address,
            mode="r+",
            message=True,
            instances=None,
            buffer_size=_BUFFER_SIZE,
            exclusive=True,
            security=None,
            remote=False,
            key=None,
        )
        self._accept()

    def closed(self) -> bool:
        """Return whether nobody is accepted any more."""
        return self._server is None or self._server.closed or self._home.closed

    def close(self) -> None:
        """Accept nobody any more; pipes that have been accepted stay open."""
        if self._server is not None:
            self._server.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._server!r}>"

    def _accept(self) -> None:
        """Wait for the next client."""
        if self.closed() or self._server is None:
            return
        try:
            self._server._accept_for(self._accepted)
        except (HandleClosedError, PortClosedError):
            pass
        except OSError as error:
            self._report("Pipe accept failed", error)
            self._home.call_later(_RETRY_S, self._accept)

    def _accepted(self, operation: PipeAccept, count: int, status: int) -> None:
        """Hand over a client, and wait for the next: a receiver."""
        error = operation.finish(count, status).error
        pipe = operation.accepted
        if self._home.closing or self.closed():
            if pipe is not None:
                pipe.close()
            return
        self._accept()
        if pipe is not None:
            if _is_over(pipe):
                pipe.close()
            else:
                self._on_client(pipe)
        elif not isinstance(error, (BrokenPipeError, OperationCancelledError)):
            self._report("Pipe accept failed", error)

    def _report(self, message: str, error: BaseException | None) -> None:
        self._on_error({"message": message, "exception": error, "pipe": self._server})


def _is_over(pipe: Pipe) -> bool:
    """Tell whether the client has gone already, and left nothing to be read."""
    try:
        pipe.peek()
    except PipeClosedError:
        return True
    return False


async def connect(home: CompletionQueue, address: str) -> Pipe:
    """Return a client's end of a pipe of bytes; wait while all of its instances have a client."""
    future: asyncio.Future[Pipe] = asyncio.get_running_loop().create_future()
    operation = PipeConnect(home, address, message=False, mode="r+", key=None, timeout=None)

    def ended(operation: PipeConnect, count: int, status: int) -> None:
        error = operation.finish(count, status).error
        pipe = operation.pipe
        if future.done() or home.closing:
            if pipe is not None:
                pipe.close()
        elif error is None and pipe is not None:
            future.set_result(pipe)
        else:
            assert error is not None, "it has ended without a pipe"
            future.set_exception(error)

    operation.receiver = ended
    operation.start()
    try:
        return await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled():  # in the same round
            future.result().close()
        operation.cancel()
        raise
