"""ReceiveLoop: the one receive of a session, posted again after each ``on_receive``.

All of it runs within the connection's inbox, so the next receive is not posted before the
hook has returned, and its buffer is nobody's meanwhile.

What belongs here: receiving, and the buffer that it takes. When a session ends is known to
the `connection`.
"""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING

from .errors import REFUSALS, failed
from .interrupt import calls_hooks
from .session_state import CLOSED, CLOSING, OPEN

if TYPE_CHECKING:
    from .connection import Connection
    from .operation import Operation


class ReceiveLoop:
    """What one connection receives with."""

    def __init__(self, connection: Connection) -> None:
        self.receiving = False
        """Whether a receive is under way, to be ended by its completion."""
        self.eof = False
        """Whether the peer has said that it will send no more."""
        self.paused = False
        """Whether no further receive shall be posted; any thread may set it."""
        self._connection = connection
        self._session = connection.session

    def open(self) -> None:
        """Make what receiving takes, now that there is a connection; also another buffer."""
        size = self._session.receive_size
        if size < 1:
            raise ValueError(f"receive_size must be at least 1 byte, not {size}")
        # Lifetime: the operation exports the buffer and holds it, and so does each view.
        self._buffer = bytearray(size)
        self._receive = self._connection.open_stream.receive_operation(self._buffer)
        self._receive.receiver = self._on_received
        self._references = getrefcount(self._buffer)

    def release(self) -> None:
        """Drop what is large; nothing of it is in flight any more."""
        for name in ("_buffer", "_receive"):
            self.__dict__.pop(name, None)

    def go_on(self) -> None:
        """Post the receive, if there is something to wait for."""
        connection = self._connection
        if self.receiving or self.eof or connection.state not in (OPEN, CLOSING):
            return
        if self.paused and connection.state is OPEN:
            return
        self.receiving = True
        try:
            self._receive.post()
        except REFUSALS as error:
            self.receiving = False
            connection.break_off(error)

    def _on_received(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver(self._received, count, status)

    @calls_hooks
    def _received(self, count: int, status: int) -> None:
        """Hand over what came, and go on."""
        self.receiving = False
        connection = self._connection
        if connection.state is CLOSED:
            connection.end()
        elif failed(status):
            connection.break_off(connection.error_of("WSARecv", status))
        elif count:
            if connection.state is OPEN:
                self._hand_over(count)
            self.go_on()
        else:
            self.eof = True
            if connection.state is OPEN:
                self._session.on_eof()
            else:
                connection.go_on_closing()

    @calls_hooks
    def _hand_over(self, count: int) -> None:
        data = memoryview(self._buffer)[:count]
        self._session.on_receive(data)
        try:  # noqa: SIM105, contextlib.suppress would take 500 ns
            data.release()
        except BufferError:
            pass  # something exports it: see below
        # A slice of the view outlives its release(), unnoticed. But whatever was made of the
        # view holds the buffer; then it stays as it is, and is the user's.
        if getrefcount(self._buffer) != self._references:
            self.open()
