"""Receiving: the one receive of a session, posted again after each ``on_receive``.

All of it runs within the connection's inbox, so the next receive is not posted before the
hook has returned, and its buffer is nobody's meanwhile.

There are two ways of waiting for the next bytes:

- with a buffer, which the bytes then are in at once. Its pages are locked meanwhile;
- idle, with a receive of zero bytes. When that completes, a buffer is borrowed from the port
  and another receive takes what is there, on the spot. That is one system call more per
  ``on_receive``, and no memory at all while nothing comes.
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
"""How long to wait for memory to be unlocked before the next attempt."""


class Receiving:
    """What one connection receives with."""

    __slots__ = (
        "_always_idle",
        "_connection",
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
        """Whether a receive is under way, to be ended by its completion."""
        self.eof = False
        """Whether the peer has said that it will send no more."""
        self.paused = False
        """Whether no further receive shall be posted; any thread may set it."""
        self._connection = connection
        self._session = connection.session
        self._idle = False
        self._always_idle = False
        self._trying_again = False
        #: None while the session is idle.
        self._receive: BufferedReceive | None = None
        #: Made when it is first needed.
        self._zero_byte: Operation | None = None

    def open(self) -> None:
        """Look at the settings, and begin as they say; ValueError if they are bad."""
        size, after = self._session.receive_size, self._session.zero_byte_after
        if size < 1:
            raise ValueError(f"receive_size must be at least 1 byte, not {size}")
        if after is not None and not after >= 0:
            raise ValueError(f"zero_byte_after must be None or at least 0 seconds, not {after}")
        self._idle = self._always_idle = after == 0

    def rest(self) -> None:
        """Wait idle from now on, until something comes."""
        if self._idle:
            return
        self._idle = True
        if not self.receiving:
            self._give_back()
        elif self._receive is not None:
            # Its packet tells whether it was cancelled, or the peer was faster. One that
            # cannot be cancelled goes on as it is.
            with contextlib.suppress(IocpError):
                self._receive.operation.cancel()

    def drop(self) -> None:
        """Give back what receiving takes; nothing is under way any more."""
        self._give_back()
        self._zero_byte = None

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
        """Whether nothing has come that no hook has heard of, as far as the kernel says."""
        if self.eof:
            return False
        receive = self._receive
        with self._connection.open_stream.lock:  # which whoever is posting one holds
            for operation in (self._zero_byte, None if receive is None else receive.operation):
                if operation is not None and operation.state is PENDING:
                    return operation.unwritten
        return True

    def hand_over_first(self, data: bytes) -> None:
        """Hand over what was there before the first receive, as one or several of them."""
        while data and self._connection.state is OPEN:
            receive = self._receive or self._take()
            size = len(receive.buffer)
            part, data = data[:size], data[size:]
            receive.buffer[: len(part)] = part
            self.bytes += len(part)
            self.messages += 1
            self._hand_over(receive, len(part))
        if self._idle:
            self._awake()

    def go_on(self) -> None:
        """Post the receive, if there is something to wait for."""
        connection = self._connection
        state = connection.state
        if self.receiving or self.eof or (state is not OPEN and state is not CLOSING):
            return
        if self.paused and state is OPEN:
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
        """Too much memory is locked for a receive: wait without any, or try again later."""
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
        """Return what to wait with while idle."""
        if self._zero_byte is None:
            self._zero_byte = zero_byte_receive(self._connection.open_stream, self._on_readable)
        return self._zero_byte

    def _on_readable(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver(self._readable, status)

    def _readable(self, status: int) -> None:
        """Take what has come, with a buffer."""
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
            else:
                connection.go_on_closing()

    def _hand_over(self, receive: BufferedReceive, count: int) -> None:
        data = memoryview(receive.buffer)[:count]
        self._connection.hooks.on_receive(data)
        try:  # noqa: SIM105, contextlib.suppress would take 500 ns
            data.release()
        except BufferError:
            pass  # something exports it: see below
        # A slice of the view outlives its release(), unnoticed. But whatever was made of the
        # view holds the buffer; then it stays as it is, and is the user's.
        if getrefcount(receive.buffer) != receive.references:
            self._receive = None

    def _awake(self) -> None:
        """Something came: wait with a buffer again, or lend it on."""
        if self._always_idle:
            self._give_back()
        else:
            self._idle = False
