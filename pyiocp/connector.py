"""Connector: connects a session to an address.

What belongs here: connecting. What a connection does is the session's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import OperationCancelledError, error_of_code
from .handles.stream import Stream
from .resolve import resolve
from .winapi import IPPROTO_TCP, TCP_NODELAY
from .winapi.errorcodes import WSAETIMEDOUT

if TYPE_CHECKING:
    from .operation import Operation
    from .port import CompletionPort
    from .session import Session
    from .timers import Timer
    from .tls_layer import TlsSide


class Connector:
    """One attempt to connect one session. Made by ``CompletionPort.connect``."""

    def __init__(
        self,
        port: CompletionPort,
        address: Any,
        session: Session,
        *,
        timeout: float | None,
        no_delay: bool,
        tls: TlsSide | None = None,
    ) -> None:
        family, numeric = resolve(address)
        self._session = session
        self._address = numeric
        self._timer: Timer | None = None
        self._timed_out = False
        self._ended = False
        stream = Stream.open(port, family, session)
        try:
            if no_delay:
                stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
            port.attach_session(session, tls)
            session._pyiocp.begin_connect(stream, numeric)
            self._operation = stream.connect_operation(numeric)
            self._operation.receiver = self._on_connect
            self._operation.post()
        except BaseException:
            stream.close()
            port.forget(session)
            raise
        if timeout is not None:
            self._timer = port.call_later(timeout, self._on_timeout)
            if self._ended:  # another thread has had the completion already
                self._timer.cancel()

    def _on_timeout(self) -> None:
        self._timed_out = True
        self._operation.cancel()

    def _on_connect(self, operation: Operation, count: int, status: int) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        error = operation.finish(count, status).error
        if self._timed_out and isinstance(error, OperationCancelledError):
            error = error_of_code("ConnectEx", WSAETIMEDOUT, None, self)
        self._session._pyiocp.end_connect(error)

    def __repr__(self) -> str:
        return f"<Connector of {self._session!r} to {self._address}>"
