"""Listener: takes connections off a listening socket and makes sessions of them.

A number of AcceptEx are pending at any time, so that a burst of clients finds sockets
ready. Whatever happens to one client is the end of that client only: the next accept is
posted before anybody looks at what the last one brought, and when the system refuses to
take one, because it is out of memory or sockets, it is tried again a little later.

What belongs here: accepting. What a connection does is the session's business.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from .errors import HandleClosedError, IocpError, PortClosedError
from .handles.accept import AcceptOperation
from .handles.stream import Stream
from .interrupt import calls_hooks
from .resolve import resolve
from .winapi import IPPROTO_TCP, TCP_NODELAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from .port import CompletionPort
    from .session import Session
    from .tls_layer import TlsSide

logger = logging.getLogger("pyiocp")

_RETRY_FIRST_S = 0.05
_RETRY_MAX_S = 1.0


class Listener:
    """A listening address on a port. Made by ``CompletionPort.listen``.

    ``address`` is the address that it listens at, with the port number that the system
    chose if it was to. ``accepted`` counts the connections that became sessions,
    ``failed`` those that were gone, or whose session could not be made, before that.
    Any thread may read these, and call `close`.
    """

    def __init__(
        self,
        port: CompletionPort,
        address: Any,
        factory: Callable[[], Session],
        *,
        accepts: int,
        backlog: int,
        exclusive: bool,
        no_delay: bool,
        tls: TlsSide | None = None,
    ) -> None:
        if not 1 <= accepts <= 4096:
            raise ValueError(f"accepts must be between 1 and 4096, not {accepts}")
        if not callable(factory):
            raise TypeError(f"factory must be callable and return a Session, not {factory!r}")
        family, numeric = resolve(address, passive=True)
        self.port = port
        self.accepted = 0
        self.failed = 0
        self._count_lock = threading.Lock()
        self.address = numeric  # until the system has chosen: errors name it
        self._factory = factory
        self._tls = tls
        self._retry_s = _RETRY_FIRST_S
        self._stream = Stream.open(port, family, self)
        try:
            self._stream.bind(numeric, exclusive=exclusive)
            if no_delay:
                # Accepted sockets have the listening socket's options.
                self._stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
            self._stream.listen(backlog)
            self.address = self._stream.local_address()
            self._operations = [AcceptOperation(self._stream, 0) for _ in range(accepts)]
            for operation in self._operations:
                operation.receiver = self._on_accept
                operation.post()
        except BaseException:
            self._stream.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the listener takes no more connections."""
        return self._stream.closed

    def close(self) -> None:
        """Stop listening; the sessions go on. Closing twice does nothing."""
        self._stream.close()
        self.port.listeners.discard(self)

    def _on_accept(self, operation: AcceptOperation, count: int, status: int) -> None:
        completion = operation.finish(count, status)
        stream = operation.accepted
        self._post(operation)
        if stream is not None:
            self._make_session(stream)
        elif not self.closed:
            # That client has gone away again; see AcceptEx in the docs of Windows.
            self._count(failed=1)
            logger.debug("%r: a client was lost before it was accepted: %s", self, completion.error)

    def _post(self, operation: AcceptOperation) -> None:
        """Post the next accept; if the system refuses, try again a little later."""
        if self.closed:
            return
        try:
            operation.post()
            self._retry_s = _RETRY_FIRST_S
        except (HandleClosedError, PortClosedError):
            return
        except IocpError as error:
            logger.warning("%r tries again in %g s: %s", self, self._retry_s, error)
            self.port.call_later(self._retry_s, self._post, operation)
            self._retry_s = min(self._retry_s * 2, _RETRY_MAX_S)

    @calls_hooks
    def _make_session(self, stream: Stream) -> None:
        try:
            session = self._factory()
            self.port.attach_session(session, self._tls)
        except Exception:
            self._count(failed=1)
            logger.exception("%r: no session could be made, the connection is closed", self)
            stream.close()
            return
        self._count(accepted=1)
        session._pyiocp.attach(stream, stream.peer_address())

    def _count(self, *, accepted: int = 0, failed: int = 0) -> None:
        with self._count_lock:
            self.accepted += accepted
            self.failed += failed

    def __repr__(self) -> str:
        state = "closed" if self.closed else "listening"
        return f"<Listener at {self.address}: {state}, {self.accepted} accepted>"
