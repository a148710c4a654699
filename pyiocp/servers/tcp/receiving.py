"""Receiving: the one receive of a session, posted again after each ``on_receive``.

Everything runs within the connection's inbox, so the next receive is posted after the hook has
returned, and nothing writes to the buffer meanwhile.

There are two ways of waiting for the next bytes:

- with a buffer, which the bytes are put into at once. Its pages are locked while it waits;
- idle, with a receive of zero bytes. When that completes, a buffer is borrowed from the port,
  and another receive takes what is there. That costs one more system call per ``on_receive``,
  and needs no memory while nothing comes.
"""

from __future__ import annotations

import contextlib
from sys import getrefcount
from typing import TYPE_CHECKING

from ...engine.packet import PENDING
from ...errors import REFUSALS, IocpError, ResourceLimitError, failed
from ...winapi import STATUS_CANCELLED
from ..session_state import CLOSED, CLOSING, OPEN
from .session_receive import zero_byte_receive

if TYPE_CHECKING:
    from ...engine.operation import Operation
    from .owner import Owner
    from .session_receive import BufferedReceive

RETRY_S = 0.02
"""Seconds until the next attempt, when too much memory is locked."""

BY_USER = 1
BY_SENDS = 2
BY_LAYER = 4
_BY_FIRST_DATA = 8
"""Why no further receive is posted: the session has paused it, or a layer whose turn is over; too
much waits to be sent, here or in a layer; or what came before the first receive has not all been
handed over."""


class Receiving:
    """What one connection receives with."""

    __slots__ = (
        "_always_idle",
        "_connection",
        "_first",
        "_idle",
        "_receive",
        "_session",
        "_trying_again",
        "_zero_byte",
        "bytes",
        "eof",
        "messages",
        "paused",
        "receiving",
    )

    def __init__(self, connection: Owner) -> None:
        self.bytes = 0
        """How many bytes have come."""
        self.messages = 0
        """In how many receives they came."""
        self.receiving = False
        """Whether a receive is under way; its completion ends it."""
        self.eof = False
        """Whether the peer has ended its side."""
        self.paused = 0
        """Why no further receive is posted, as bits; changed with the lock of the sends."""
        self._connection = connection
        self._session = connection.session
        self._idle = False
        self._always_idle = False
        self._trying_again = False
        #: None while the session is idle.
        self._receive: BufferedReceive | None = None
        #: What came before the first receive, and waits to be handed over.
        self._first = b""
        #: Made on first use.
        self._zero_byte: Operation | None = None

    def open(self) -> None:
        """Check the session's settings, and begin; ValueError for bad ones."""
        size, after = self._session.receive_size, self._session.zero_byte_after
        if size < 1:
            raise ValueError(f"receive_size must be at least 1 byte, not {size}")
        if after is not None and not after >= 0:
            raise ValueError(f"zero_byte_after must be None or at least 0 seconds, not {after}")
        self._idle = self._always_idle = after == 0

    def rest(self) -> None:
        """Wait without a buffer from now on, until something comes."""
        if self._idle:
            return
        self._idle = True
        if not self.receiving:
            self._give_back()
        elif self._receive is not None:
            # Its packet tells whether it was cancelled or has brought something. If it cannot
            # be cancelled it just goes on.
            with contextlib.suppress(IocpError):
                self._receive.operation.cancel()

    def drop(self) -> None:
        """Give back the buffers; nothing is under way any more."""
        self._give_back()
        self._zero_byte = None
        self._first = b""

    def _give_back(self) -> None:
        if self._receive is not None:
            self._connection.idle_operations.give_receive(self._receive)
            self._receive = None

    def _take(self) -> BufferedReceive:
        size = self._session.receive_size
        connection = self._connection
        receive = connection.idle_operations.take_receive(
            connection.open_stream, size, self._on_received
        )
        self._receive = receive
        return receive

    @property
    def quiet(self) -> bool:
        """Whether the kernel has received nothing that no hook has been told of."""
        if self.eof:
            return False
        receive = self._receive
        with self._connection.open_stream.lock:  # held while one is posted
            for operation in (self._zero_byte, None if receive is None else receive.operation):
                if operation is not None and operation.state is PENDING:
                    return operation.unwritten
        return True

    def hand_over_first(self, data: bytes) -> None:
        """Hand over what came before the first receive, as if one or several had brought it.

        A pause stops that, and `go_on` goes on with it.
        """
        connection = self._connection
        self._first = data
        with connection.sends.lock:
            self.paused |= _BY_FIRST_DATA
        while (data := self._first) and connection.state is OPEN:
            if self.paused != _BY_FIRST_DATA:
                return
            receive = self._receive or self._take()
            size = len(receive.buffer)
            part, self._first = data[:size], data[size:]
            receive.buffer[: len(part)] = part
            self.bytes += len(part)
            self.messages += 1
            self._hand_over(receive, len(part))
        with connection.sends.lock:
            self.paused &= ~_BY_FIRST_DATA
        if self._idle:
            self._awake()

    @property
    def first_bytes(self) -> int:
        """How many bytes of that have not been handed over."""
        return len(self._first)

    def drop_first(self) -> int:
        """Drop what is left of it; return how many bytes it was."""
        left, self._first = len(self._first), b""
        return left

    def go_on(self) -> None:
        """Post the receive, if more can come."""
        connection = self._connection
        state = connection.state
        if self.receiving or self.eof or (state is not OPEN and state is not CLOSING):
            return
        if self.paused and state is OPEN:
            if self.paused != _BY_FIRST_DATA:
                return
            self.hand_over_first(self._first)
            if self.paused:
                return
        receive = self._receive
        if receive is None and not self._idle:
            receive = self._take()
        self.receiving = True
        try:
            if receive is not None:
                receive.operation.post()
            else:
                self._waiting().post()
        except ResourceLimitError:
            self.receiving = False
            self._go_on_without_memory()
        except REFUSALS as error:
            self.receiving = False
            connection.break_off(error)

    def _go_on_without_memory(self) -> None:
        """Too much memory is locked: wait without a buffer, or try again later."""
        self._give_back()
        if not self._idle:
            self._idle = True
            self.go_on()
        elif not self._trying_again:
            self._trying_again = True
            self._connection.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._trying_again = False
        self.go_on()

    def _waiting(self) -> Operation:
        """Return the receive of zero bytes."""
        if self._zero_byte is None:
            self._zero_byte = zero_byte_receive(self._connection.open_stream, self._on_readable)
        return self._zero_byte

    def _on_readable(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver(self._readable, status)

    def _readable(self, status: int) -> None:
        """Receive what has come, with a buffer."""
        if self._connection.state is CLOSED or failed(status):
            self._received(0, status)
            return
        operation = self._take().operation
        try:
            on_the_spot = operation.start()
        except ResourceLimitError:
            self.receiving = False
            self._go_on_without_memory()
            return
        except REFUSALS as error:
            self.receiving = False
            self._connection.break_off(error)
            return
        if on_the_spot:
            self._received(operation.transferred, operation.status)

    def _on_received(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver_end(self._received, count, status)

    def _received(self, count: int, status: int) -> None:
        """Hand over what came, and go on."""
        self.receiving = False
        connection = self._connection
        if connection.state is CLOSED:
            connection.end()
        elif status and failed(status):
            if self._idle and status == STATUS_CANCELLED:
                self._give_back()
                self.go_on()
                return
            error = connection.error_of("WSARecv", status)
            if isinstance(error, ResourceLimitError):
                self._go_on_without_memory()
            else:
                connection.break_off(error)
        elif count:
            self.bytes += count
            self.messages += 1
            if (watch := connection.watch) is not None:
                watch.active_at = watch.now()
            if connection.state is OPEN and self._receive is not None:
                self._hand_over(self._receive, count)
            if self._idle:
                self._awake()
            self.go_on()
        else:
            self.eof = True
            if connection.state is OPEN:
                connection.hooks.on_eof()
            connection.go_on_closing()

    def _hand_over(self, receive: BufferedReceive, count: int) -> None:
        data = memoryview(receive.buffer)[:count]
        self._connection.hooks.on_receive(data)
        try:  # noqa: SIM105, contextlib.suppress would take 500 ns
            data.release()
        except BufferError:
            pass  # something else exports it: see below
        # A slice of the view survives its release(), which does not fail then. But it refers to
        # the buffer: if anything does, the user keeps that buffer, and we take another.
        if getrefcount(receive.buffer) != receive.references:
            self._receive = None

    def _awake(self) -> None:
        """Something came: wait with a buffer from now on, unless it always waits without."""
        if self._always_idle:
            self._give_back()
        else:
            self._idle = False
