"""SocketTransport: one TCP connection of asyncio's, on the port.

Reading has one receive under way, posted again after each ``data_received``. What comes is copied
out of the buffer: a protocol may keep it, and the kernel must not write into what a protocol owns.

Writing asks the system to take the bytes at once, without an operation; it copies them. What it
does not take waits in the queue of a `GatheredSend`, which sends it by overlapped operations, and
so does all that is written meanwhile. A large write goes that way at once.

Nothing here makes a Future, or calls ``call_soon``, for a read or a write.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from typing import TYPE_CHECKING, Any, cast

from ..engine.packet import PENDING
from ..errors import (
    REFUSALS,
    HandleClosedError,
    PortClosedError,
    ResourceLimitError,
    error_of_status,
    failed,
)
from ..memory.pages import PAGE_SIZE
from ..servers.tcp.gathered_send import GatheredSend
from ..winapi import SD_SEND, SOCKET
from .asyncio_internals import FlowControl, SendfileMode, TransportSocket, attach, detach
from .buffers import bytes_of, fill
from .callbacks import runner

if TYPE_CHECKING:
    from asyncio import BaseProtocol, Future, Protocol
    from collections.abc import Iterable, Sequence

    from ..engine.operation import Operation
    from .socket_stream import SocketStream

logger = logging.getLogger("asyncio")

_BUFFER_FIRST = 4096
_BUFFER_MAX = 1 << 16
"""Bytes to receive into: a page until a receive fills it, then 16. Most connections carry little,
and the pages of a pending receive are locked."""

_AT_ONCE_MAX = 1 << 16
"""Bytes of the largest write that is sent without an operation, which copies it."""

_TURN_BYTES = 1 << 20
"""Bytes that are sent in a row to a peer that takes all at once; then others have their turn."""

_RETRY_S = 0.02
"""Seconds until the next attempt, when too much memory is locked."""

_LOST_WRITES_MAX = 5
"""Writes to a connection that has ended before they are logged, as in asyncio's own transports."""

_NO_FLAGS = (0,)


class SocketTransport(FlowControl, asyncio.Transport):
    """The transport of a TCP connection; see `asyncio.Transport`.

    Thread safety: only the loop's thread calls it, as asyncio has it.
    """

    _start_tls_compatible = True
    _sendfile_compatible = SendfileMode.TRY_NATIVE

    _sock: Any = None

    def __init__(
        self,
        loop: Any,
        stream: SocketStream,
        protocol: BaseProtocol,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> None:
        super().__init__(extra, loop)
        self._loop = loop
        self.stream = stream
        self._sock = stream.sock
        self._extra["socket"] = TransportSocket(stream.sock)
        self._server = server
        self._run = runner(loop)
        self._closing = False
        #: Whether `connection_lost` is called, or will be.
        self._lost = False
        self._paused = False
        self._at_end = False
        #: Whether what comes is not for the protocol: before it has begun, in a pause, at the end.
        self._deaf = True
        #: The bytes in the buffer that have come in a pause; 0 for the end.
        self._held: int | None = None
        self._receive: Operation | None = None
        self._view = memoryview(b"")
        self._send: GatheredSend | None = None
        self._queue: Any = ()
        self._queued_bytes = 0
        self._sending = False
        self._eof = False
        self._empty_waiter: Future[None] | None = None
        self._lost_writes = 0
        #: Whether `write` has nothing to look at but whether something waits.
        self._plain = True
        self._send_at_once = stream.home.kernel.send
        self._sockets = (SOCKET(stream.number),)
        self.set_protocol(protocol)
        loop._transports[stream.number] = self
        if server is not None:
            attach(server, self)
        loop.call_soon(self._begin, waiter)

    def _begin(self, waiter: Future[None] | None) -> None:
        """Tell the protocol, begin to receive, and tell who waits for the connection."""
        try:
            self._run(self._protocol.connection_made, self)
        finally:
            if not (self._closing or self._paused):
                self._listen()
            if waiter is not None and not waiter.cancelled():
                waiter.set_result(None)

    # What asyncio documents

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection; its addresses are asked for when needed."""
        if name in ("sockname", "peername") and name not in self._extra:
            self._extra[name] = self._address(name)
        return self._extra.get(name, default)

    def _address(self, name: str) -> Any:
        try:
            if name == "sockname":
                return self.stream.local_address()
            return self.stream.peer_address()
        except (OSError, HandleClosedError):
            return None

    def set_protocol(self, protocol: BaseProtocol) -> None:
        """Have another protocol from now on."""
        self._protocol: Any = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)
        if not self._buffered:
            self._data_received = cast("Protocol", protocol).data_received

    def get_protocol(self) -> BaseProtocol:
        """Return the protocol."""
        return cast("BaseProtocol", self._protocol)

    def is_closing(self) -> bool:
        """Return whether the transport is closing, or closed."""
        return self._closing

    def is_reading(self) -> bool:
        """Return whether what comes is handed over."""
        return not (self._closing or self._paused)

    def pause_reading(self) -> None:
        """Hand over nothing until `resume_reading`."""
        if self._closing or self._paused:
            return
        self._paused = self._deaf = True
        if self._loop._debug:
            logger.debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Hand over what comes, and what has come in the pause."""
        if self._closing or not self._paused:
            return
        self._paused = False
        if self._held is not None:
            self._loop.call_soon(self._deliver_held)
        elif not self._at_end:
            self._listen()
        if self._loop._debug:
            logger.debug("%r resumes reading", self)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be taken by the system."""
        return self._queued_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes: now, or when the peer has room."""
        if type(data) is bytes:
            message = data
        elif type(data) is bytearray or type(data) is memoryview:
            message = bytes(data)
        else:
            message = bytes_of(data)
        if not (self._plain or self._may_write("write", message)):
            return
        size = len(message)
        if not self._queue and 0 < size <= _AT_ONCE_MAX:
            # Lifetime: the system copies what it takes before the call returns. From there to the
            # test no signal handler may raise, or a part would be sent twice: see `endless_calls`.
            sent = map(self._send_at_once, self._sockets, (message,), (size,), _NO_FLAGS)
            for count in sent:  # noqa: B007
                break
            if count == size:
                return
            if count > 0:
                message = message[count:]
        if message:
            self._enqueue((message,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces, one after the other, in one call."""
        pieces = [piece for piece in map(bytes_of, list_of_data) if piece]
        if not pieces or not (self._plain or self._may_write("writelines", pieces[0])):
            return
        if not self._queue and sum(map(len, pieces)) <= _AT_ONCE_MAX:
            self.write(b"".join(pieces))
        else:
            self._enqueue(pieces)

    def write_eof(self) -> None:
        """End this side, after what has been written."""
        if self._closing or self._eof:
            return
        self._eof = True
        self._plain = False
        if not self._queue:
            self._shut_down()

    def can_write_eof(self) -> bool:
        """Return True: a side can end before the other."""
        return True

    def close(self) -> None:
        """Close, after what has been written."""
        if self._closing:
            return
        self._closing = self._deaf = True
        if not self._queue:
            self._lose(None)

    def abort(self) -> None:
        """Close at once, and drop what waits to be sent."""
        self._force_close(None)

    # Reading

    def _listen(self) -> None:
        """Hand over what comes from now on."""
        self._deaf = False
        self._receive_again()

    def _receive_again(self) -> None:
        """Receive, unless a receive is under way."""
        if self._deaf:
            return
        operation = self._receive
        if operation is None:
            operation = self._receive_into(_BUFFER_FIRST)
        elif operation.state is PENDING:
            return
        try:
            operation.post()
        except ResourceLimitError:
            self._loop.call_later(_RETRY_S, self._receive_again)
        except (HandleClosedError, PortClosedError):
            self._force_close(None)
        except OSError as error:
            self._fatal_error(error, "Fatal read error on socket transport")

    def _receive_into(self, size: int) -> Operation:
        """Have a buffer of so many bytes."""
        self._view = memoryview(bytearray(size))
        # Lifetime: the operation keeps the buffer, the in-flight table keeps the operation.
        self._receive = operation = self.stream.receive_operation(self._view)
        operation.receiver = self._received
        return operation

    def _received(self, operation: Operation, count: int, status: int) -> None:
        """Take what a receive has brought, and receive again: a receiver."""
        if self._deaf or status or not count:
            self._received_otherwise(count, status)
            return
        try:
            if self._buffered:
                self._run(fill, self._protocol, self._view[:count])
            else:
                # Lifetime: a copy, because the next receive writes to the same place.
                self._run(self._data_received, bytes(self._view[:count]))
        except (SystemExit, KeyboardInterrupt):
            self._receive_again()  # who goes on after it has a connection that still hears
            raise
        except BaseException as error:  # noqa: BLE001, as asyncio has it
            name = "buffer_updated" if self._buffered else "data_received"
            self._fatal_error(error, f"Fatal error: protocol.{name}() call failed.")
            return
        if self._deaf:  # the protocol has paused, or closed
            return  # type: ignore[unreachable]
        if count == len(self._view) < _BUFFER_MAX:
            self._receive_into(_BUFFER_MAX)
            self._receive_again()
            return
        try:
            operation.post()
        except REFUSALS:
            self._receive_again()

    def _received_otherwise(self, count: int, status: int) -> None:
        """Take what comes in a pause, the end, or an error."""
        if self._closing or self.stream.home.closing:
            return
        if failed(status):
            error = error_of_status("WSARecv", status, self._receive, self.stream.winerror_of)
            self._fatal_error(error, "Fatal read error on socket transport")
        elif self._paused:
            self._held = count
        elif not count:
            self._on_eof()

    def _deliver_held(self) -> None:
        """Hand over what has come in a pause; it still is in the buffer."""
        if self._held is None or self._paused or self._closing or self._receive is None:
            return
        count, self._held = self._held, None
        self._deaf = False
        self._received(self._receive, count, 0)

    def _on_eof(self) -> None:
        self._at_end = self._deaf = True
        if self._loop._debug:
            logger.debug("%r received EOF", self)
        try:
            keep_open = self._run(self._protocol.eof_received)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001, as asyncio has it
            self._fatal_error(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    # Writing

    def _may_write(self, name: str, data: bytes) -> bool:
        """Tell whether anything can be written; RuntimeError if the caller should know better."""
        if self._eof:
            raise RuntimeError(f"Cannot call {name}() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError(f"unable to {name}; sendfile is in progress")
        if self._lost and data:
            if self._lost_writes >= _LOST_WRITES_MAX:
                logger.warning("socket.send() raised exception.")
            self._lost_writes += 1
        return not self._lost

    def _enqueue(self, pieces: Sequence[bytes]) -> None:
        """Have pieces wait, and the system take of them what it does."""
        send = self._send
        if send is None:
            self._send = send = GatheredSend(self.stream)
            send.aim(self.stream, self._sent)
            self._queue = send.queue
        send.queue.extend(pieces)
        self._queued_bytes += sum(map(len, pieces))
        if not self._sending:
            self._flush()
            self._finish_if_drained()
        if self._queued_bytes > self._high_water:
            self._maybe_pause_protocol()  # in the context of who writes, which may be our own

    def _flush(self, piece: int = 0) -> None:
        """Submit what waits, unless a send is under way.

        piece: begin with this many bytes, unless it is 0.
        """
        send = self._send
        if send is None or self._lost:
            return
        taken = 0
        self._sending = True
        try:
            while send.queue and taken < _TURN_BYTES:
                count = send.start_piece(piece) if piece else send.start_next()
                if count is None:
                    return
                taken += count
                self._queued_bytes -= count
                piece = 0
        except ResourceLimitError:
            self._loop.call_later(_RETRY_S, self._go_on, PAGE_SIZE)
            return
        except (HandleClosedError, PortClosedError):
            self._force_close(None)
            return
        except OSError as error:
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        if send.queue:
            self._loop.call_soon(self._go_on)
            return
        self._sending = False

    def _sent(self, operation: Operation, count: int, status: int) -> None:
        """Go on after a send: a receiver."""
        send = self._send
        if send is None or self._lost or self.stream.home.closing:
            return
        send.take_sent(count)
        self._queued_bytes -= count
        if failed(status):
            error = error_of_status("WSASend", status, operation, self.stream.winerror_of)
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        self._go_on()

    def _go_on(self, piece: int = 0) -> None:
        self._flush(piece)
        if self._protocol_paused:  # first of all: it may have more to write, such as the end of TLS
            self._run(self._maybe_resume_protocol)
        self._finish_if_drained()

    def _finish_if_drained(self) -> None:
        """Do what waits until everything has been taken, if it has."""
        if self._queue or self._lost:
            return
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)
        if self._closing:
            self._lose(None)
        elif self._eof:
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self.stream.shutdown(SD_SEND)
        except REFUSALS as error:
            self._fatal_error(error, "Fatal write error on socket transport")

    def _make_empty_waiter(self) -> Future[None]:
        """Return what is done when nothing waits; nothing is written until it is reset."""
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self._empty_waiter = waiter = self._loop.create_future()
        self._plain = False
        if not self._queue:
            waiter.set_result(None)
        return cast("Future[None]", waiter)

    def _reset_empty_waiter(self) -> None:
        self._empty_waiter = None
        self._plain = not (self._eof or self._lost)

    # The end

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        if isinstance(exc, OSError):
            if self._loop._debug:
                logger.debug("%r: %s", self, message, exc_info=exc)
        else:
            self._loop.call_exception_handler(
                {
                    "message": message,
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
        self._force_close(exc)

    def _force_close(self, exc: BaseException | None) -> None:
        """Close without sending what waits; `SSLProtocol` calls it as well."""
        if self._lost:
            return
        self._closing = self._deaf = True
        self._queue = ()
        self._queued_bytes = 0
        if self._empty_waiter is not None and not self._empty_waiter.done():
            error = ConnectionError("Connection is closed by peer") if exc is None else exc
            self._empty_waiter.set_exception(error)
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        """Have the protocol told that the connection has ended."""
        self._lost = True
        self._plain = False
        self._loop.call_soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._run(self._protocol.connection_lost, exc)
        finally:
            # Lifetime: what is under way ends as cancelled; the in-flight table has it until then.
            self.stream.close()
            self._sock = self._receive = None
            self._send = None  # whose receiver is a method of this: it would take a collection
            server, self._server = self._server, None
            if server is not None:
                detach(server, self)

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.stream.close()
            if self._server is not None:
                detach(self._server, self)

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else "closing" if self._closing else "open"
        reading = "paused" if self._paused else "idle" if self._deaf else "polling"
        writing = "polling" if self._queue else "idle"
        return (
            f"<{type(self).__name__} {state} fd={self.stream.number} read={reading}"
            f" write=<{writing}, bufsize={self._queued_bytes}>>"
        )
