"""PipeTransport: one end of a pipe of asyncio's, on the port.

Reading is done as `SocketTransport` does it. The end of a pipe is a status of its own, so an empty
message is no end; and a message that is longer than the buffer comes in parts, none of them lost.

Writing has one operation under way. On a pipe of bytes it takes what waits in pieces, on a pipe of
messages one message: what is written with one call stays one.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from ..engine.packet import PENDING
from ..errors import (
    REFUSALS,
    AccessDeniedError,
    HandleClosedError,
    PortClosedError,
    ResourceLimitError,
    error_of_status,
    failed,
)
from ..handles.pipes.pipe import Pipe
from ..winapi.errorcodes import STATUS_BUFFER_OVERFLOW, STATUS_PIPE_BROKEN, STATUS_SUCCESS
from .asyncio_internals import FlowControl
from .buffers import bytes_of, fill
from .callbacks import runner

if TYPE_CHECKING:
    from asyncio import BaseProtocol, Future

    from .pipe_end import End

logger = logging.getLogger("asyncio")

_BUFFER_FIRST = 4096
_BUFFER_MAX = 1 << 16
"""Bytes to read into: more, once a read has filled the first ones."""

_PIECE_MAX = 1 << 16
"""Bytes of one write on a pipe of bytes: while it waits, all of it counts as not written."""

_TURN_BYTES = 1 << 20
"""Bytes that are written in a row to a reader that takes all at once; then others have a turn."""

_RETRY_S = 0.02
"""Seconds until the next attempt, when the system lacks memory."""

_LOST_WRITES_MAX = 5
"""Writes to a pipe that has ended before they are logged, as in asyncio's own transports."""

_DATA = frozenset((STATUS_SUCCESS, STATUS_BUFFER_OVERFLOW))
"""What a read ends in that has brought something."""


class PipeTransport(FlowControl, asyncio.Transport):
    """The transport of one end of a pipe; see `asyncio.ReadTransport` and `asyncio.WriteTransport`.

    reads, writes: what the protocol does with it. If it only writes, the transport looks by itself
        whether the other end has been closed.

    Thread safety: only the loop's thread calls it, as asyncio has it.
    """

    _start_tls_compatible = True

    _open = False

    def __init__(
        self,
        loop: Any,
        end: End,
        protocol: BaseProtocol,
        waiter: Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        *,
        reads: bool,
        writes: bool,
    ) -> None:
        super().__init__(extra, loop)
        self._loop = loop
        self.end = end
        self._open = True
        self._reads = reads
        self._writes = writes
        self._run = runner(loop)
        self._closing = False
        #: Whether `connection_lost` is called, or will be.
        self._lost = False
        self._paused = False
        self._at_end = False
        #: How the read ended that came in a pause: bytes, and status.
        self._held: tuple[int, int] | None = None
        self._read: Any = None
        self._view = memoryview(b"")
        self._queue: deque[bytes | memoryview] = deque()
        self._writing: Any = None
        self._writing_bytes = 0
        self._queued_bytes = 0
        self._empty_waiter: Future[None] | None = None
        self._lost_writes = 0
        self.set_protocol(protocol)
        loop.call_soon(self._begin, waiter)

    def _begin(self, waiter: Future[None] | None) -> None:
        """Tell the protocol, begin to read, and tell who waits for the transport."""
        try:
            self._run(self._protocol.connection_made, self)
        finally:
            if not self._reads:
                self._watch()
            elif self._read is None:
                self._read_again()
            if waiter is not None and not waiter.cancelled():
                waiter.set_result(None)

    # What asyncio documents

    def set_protocol(self, protocol: BaseProtocol) -> None:
        """Have another protocol from now on."""
        self._protocol: Any = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> BaseProtocol:
        """Return the protocol."""
        return cast("BaseProtocol", self._protocol)

    def is_closing(self) -> bool:
        """Return whether the transport is closing, or closed."""
        return self._closing

    def is_reading(self) -> bool:
        """Return whether what comes is handed over."""
        return self._reads and not (self._closing or self._paused)

    def pause_reading(self) -> None:
        """Hand over nothing until `resume_reading`."""
        if self._closing or self._paused:
            return
        self._paused = True
        if self._loop._debug:
            logger.debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Hand over what comes, and what has come in the pause."""
        if self._closing or not self._paused:
            return
        self._paused = False
        if self._held is not None:
            self._loop.call_soon(self._deliver_held)
        else:
            self._read_again()
        if self._loop._debug:
            logger.debug("%r resumes reading", self)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the pipe has not taken yet."""
        return self._queued_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes: now, or when the other end has made room."""
        data = bytes_of(data)
        if not self._writes:
            raise NotImplementedError(f"{self!r} is only read from")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not data:
            return
        if self._closing:
            if self._lost_writes >= _LOST_WRITES_MAX:
                logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")
            self._lost_writes += 1
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._writing is None:
            self._flush()
        if self._queued_bytes > self._high_water:
            self._maybe_pause_protocol()

    def can_write_eof(self) -> bool:
        """Return whether `write_eof` does something: a pipe of both ways ends both at once."""
        return self._writes and not self._reads

    def write_eof(self) -> None:
        """Close, after what has been written; the other end reads it, and the end."""
        if not self.can_write_eof():
            raise NotImplementedError(f"{self!r} has no end of its own for each way")
        self.close()

    def close(self) -> None:
        """Close, after what has been written."""
        if self._closing:
            return
        self._closing = True
        if not self._queued_bytes:
            self._lose(None)

    def abort(self) -> None:
        """Close at once, and drop what waits to be written."""
        self._force_close(None)

    # Reading

    def _read_again(self) -> None:
        """Read, unless a read is under way."""
        if self._closing or self._paused or self._at_end:
            return
        operation = self._read
        if operation is None:
            operation = self._read_into(_BUFFER_FIRST, self._received)
        elif operation.state is PENDING:
            return
        try:
            operation.post()
        except ResourceLimitError:
            self._loop.call_later(_RETRY_S, self._read_again)
        except (HandleClosedError, PortClosedError):
            self._force_close(None)
        except OSError as error:
            self._fatal_error(error, "Fatal read error on pipe transport")

    def _read_into(self, size: int, receiver: Any) -> Any:
        """Have a buffer of so many bytes."""
        self._view = memoryview(bytearray(size))
        # Lifetime: the operation keeps the buffer, the in-flight table keeps the operation.
        self._read = operation = self.end.read_operation(self._view)
        operation.receiver = receiver
        return operation

    def _received(self, operation: Any, count: int, status: int) -> None:
        """Take what a read has brought, and read again: a receiver."""
        if self._closing or self.end.home.closing:
            return
        if self._paused:
            self._held = count, status
            return
        if status == STATUS_PIPE_BROKEN:
            self._on_eof()
            return
        if status not in _DATA:
            error = error_of_status("ReadFile", status, self.end, operation.winerror_of)
            self._fatal_error(error, "Fatal read error on pipe transport")
            return
        try:
            if count and not self._deliver(count):
                return
        finally:  # who goes on after KeyboardInterrupt has a pipe that is still read
            if count == len(self._view) < _BUFFER_MAX and not self._closing:
                self._read_into(_BUFFER_MAX, self._received)
            self._read_again()

    def _deliver(self, count: int) -> bool:
        """Call the protocol; return whether it has taken the bytes."""
        try:
            if self._buffered:
                self._run(fill, self._protocol, self._view[:count])
            else:
                # Lifetime: a copy, because the next read writes to the same place.
                self._run(self._protocol.data_received, bytes(self._view[:count]))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001, as asyncio has it
            name = "buffer_updated" if self._buffered else "data_received"
            self._fatal_error(error, f"Fatal error: protocol.{name}() call failed.")
            return False
        return True

    def _deliver_held(self) -> None:
        """Hand over what has come in a pause; it still is in the buffer."""
        if self._held is None or self._paused or self._closing:
            return
        held, self._held = self._held, None
        self._received(self._read, *held)

    def _on_eof(self) -> None:
        self._at_end = True
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

    def _watch(self) -> None:
        """Have a read tell that the other end has been closed; nobody wants what it reads."""
        if self._closing or not isinstance(self.end, Pipe):
            return
        operation = self._read or self._read_into(16, self._watched)
        try:
            operation.post()
        except AccessDeniedError:  # this end may only write: the next write tells
            pass
        except REFUSALS as error:
            self._fatal_error(error, "Fatal write error on pipe transport")

    def _watched(self, _operation: Any, _count: int, status: int) -> None:
        """Close, if the other end has: a receiver."""
        if self._closing or self.end.home.closing:
            return
        if status in _DATA:
            self._watch()
        else:
            self.close()  # what is being written ends in an error, and says so

    def _flush(self) -> None:
        """Write what waits, until the pipe is full."""
        turn = 0
        try:
            while self._queue and turn < _TURN_BYTES:
                if self._writing is None:
                    self._writing = self.end.write_operation(self._next_piece())
                    self._writing.receiver = self._written
                elif self._writing.state is PENDING:
                    return
                if not self._writing.start():
                    return
                turn += self._writing_bytes
                self._piece_written()
        except ResourceLimitError:
            self._loop.call_later(_RETRY_S, self._go_on)
        except (HandleClosedError, PortClosedError):
            self._force_close(None)
        except OSError as error:
            self._fatal_error(error, "Fatal write error on pipe transport")
        else:
            if self._queue:
                self._loop.call_soon(self._go_on)

    def _next_piece(self) -> bytes | memoryview:
        """Take what is written next out of the queue."""
        queue = self._queue
        piece = queue.popleft()
        if not self.end.message:
            if len(piece) > _PIECE_MAX:
                # Lifetime: the bytes do not change, and the operation keeps them by its view.
                whole = memoryview(piece)
                queue.appendleft(whole[_PIECE_MAX:])
                piece = whole[:_PIECE_MAX]
            elif queue:
                pieces, size = [piece], len(piece)
                while queue and size + len(queue[0]) <= _PIECE_MAX:
                    pieces.append(queue.popleft())
                    size += len(pieces[-1])
                piece = b"".join(pieces)
        self._writing_bytes = len(piece)
        return piece

    def _written(self, operation: Any, _count: int, status: int) -> None:
        """Go on after a write: a receiver."""
        if self._lost or self.end.home.closing:
            return
        if failed(status):
            error = error_of_status("WriteFile", status, self.end, operation.winerror_of)
            self._fatal_error(error, "Fatal write error on pipe transport")
            return
        self._piece_written()
        self._go_on()

    def _piece_written(self) -> None:
        """Take note that the pipe has taken what was written last."""
        self._writing = None
        self._queued_bytes -= self._writing_bytes
        if self._queued_bytes:
            return
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)
        if self._closing:
            self._lose(None)

    def _go_on(self) -> None:
        """Write what waits, and let the protocol go on when little does."""
        if self._lost:
            return
        self._flush()
        if self._protocol_paused:
            self._run(self._maybe_resume_protocol)

    def _make_empty_waiter(self) -> Future[None]:
        """Return what is done when nothing waits; nothing is written until it is reset."""
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self._empty_waiter = waiter = self._loop.create_future()
        if not self._queued_bytes:
            waiter.set_result(None)
        return cast("Future[None]", waiter)

    def _reset_empty_waiter(self) -> None:
        self._empty_waiter = None

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
        """Close without writing what waits; `SSLProtocol` calls it as well."""
        if self._lost:
            return
        self._closing = True
        self._queue.clear()
        self._queued_bytes = 0
        if self._empty_waiter is not None and not self._empty_waiter.done():
            error = ConnectionError("Connection is closed by peer") if exc is None else exc
            self._empty_waiter.set_exception(error)
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        """Have the protocol told that the pipe has ended."""
        self._lost = True
        if self._loop.is_closed():  # nobody is told any more
            self._release()
        else:
            self._loop.call_soon(self._call_connection_lost, exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._run(self._protocol.connection_lost, exc)
        finally:
            self._release()

    def _release(self) -> None:
        # Lifetime: what is under way ends as cancelled; the in-flight table has it until then.
        self._open = False
        self._read = self._writing = None
        self.end.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._open:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.end.close()

    def __repr__(self) -> str:
        state = (
            "open" if self._open and not self._closing else "closing" if self._open else "closed"
        )
        return (
            f"<{type(self).__name__} {state} {self.end!r} "
            f"reads={self._reads} writes={self._writes} bufsize={self._queued_bytes}>"
        )
