"""Accepting: the accepts of one listening socket of asyncio's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import (
    AlreadyAssociatedError,
    HandleClosedError,
    OperationCancelledError,
    PortClosedError,
    ResourceLimitError,
)
from .asyncio_internals import TransportSocket
from .socket_stream import SharedSocketListening, SocketStream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..engine.queue import CompletionQueue
    from ..handles.sockets.accept import AcceptOperation

_ACCEPTS = 16
_SHARED_ACCEPTS = 2
"""How many accepts are pending: a burst of clients finds sockets ready. The system gives clients to
the processes that share a socket in the order of their accepts, so there are few then."""

_RETRY_S = 1.0
"""Seconds without an accept, when sockets or memory have run out; as in asyncio's loops."""


class Accepting:
    """Accepts clients until it is closed.

    on_client: called with the stream of each.
    on_error: called with what `call_exception_handler` takes.
    """

    def __init__(
        self,
        home: CompletionQueue,
        sock: socket.socket,
        on_client: Callable[[SocketStream], None],
        on_error: Callable[[dict[str, Any]], None],
    ) -> None:
        self._home = home
        self._sock = sock
        self._on_client = on_client
        self._on_error = on_error
        self.stream: SocketStream | SharedSocketListening
        try:
            self.stream, accepts = SocketStream(home, sock), _ACCEPTS
        except AlreadyAssociatedError:  # another process, or another loop, has it on its port
            self.stream, accepts = SharedSocketListening(home, sock), _SHARED_ACCEPTS
        # Accepted sockets inherit it. Without, a small write may wait for the peer's answer.
        self.stream.set_no_delay()
        for _ in range(accepts):
            operation = self.stream.accept_operation()
            operation.receiver = self._accepted
            self._post(operation)

    def close(self) -> None:
        """Accept no more, and close the socket."""
        self.stream.close()

    def _post(self, operation: AcceptOperation) -> None:
        try:
            operation.post()
        except ResourceLimitError as error:
            self._on_error(
                {
                    "message": "socket.accept() out of system resource",
                    "exception": error,
                    "socket": TransportSocket(self._sock),
                }
            )
            self._home.call_later(_RETRY_S, self._post, operation)
        except (HandleClosedError, PortClosedError):
            pass
        except OSError as error:
            self._on_error(
                {
                    "message": "Accept failed on a socket",
                    "exception": error,
                    "socket": TransportSocket(self._sock),
                }
            )

    def _accepted(self, operation: AcceptOperation, count: int, status: int) -> None:
        """Hand over a client, and accept the next: a receiver."""
        error = operation.finish(count, status).error
        stream = operation.accepted
        if self.stream.closed or self._home.closing:
            if stream is not None:
                stream.close()
            return
        self._post(operation)
        if stream is None:
            if not isinstance(error, (OperationCancelledError, ConnectionError, TimeoutError)):
                self._on_error(
                    {
                        "message": "Accept failed on a socket",
                        "exception": error,
                        "socket": TransportSocket(self._sock),
                    }
                )
            return
        assert isinstance(stream, SocketStream), "the listening stream makes them"
        self._on_client(stream)
