"""Sending: what one session has to send, and the one send that is under way.

Where nothing waits, the system is asked to take a message at once, without an operation: it
copies the bytes, and no page is locked. What it does not take goes by an operation, and so does
all that is sent before that has ended: all that waits, up to a limit, with one WSASend of several
buffers. (So do large messages, which are better not copied, and a session's first: who says no
more than that is spared the call that makes a socket non-blocking.)

Any thread may add to the queue; what completes goes through the connection's inbox, because it may
end in a hook.
"""

from __future__ import annotations

import contextlib
import threading
from ctypes import c_char
from typing import TYPE_CHECKING, Any

from ...errors import REFUSALS, IocpError, ResourceLimitError, failed
from ...handles.sockets.transmit import FilePart
from ...memory.pages import PAGE_SIZE
from ..session_state import CLOSED, CONNECTING, OPEN
from .queued_file import QueuedFile
from .receiving import RETRY_S

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ...engine.operation import Operation
    from ...handles.sockets.stream import Stream
    from ...handles.sockets.transmit import SendFileOperation
    from .gathered_send import GatheredSend
    from .owner import Owner


FILES_MAX = 2
"""Files waiting from which `send` says False: one on its way, and the next one behind it.

They take no memory, but each is an open file, and a peer that does not read could ask for
ever more of them.
"""


_AT_ONCE_MAX = 1 << 16
"""Bytes of a message from which the system is not asked to copy it into a buffer of its own."""

_COPIED_MAX = 8192
"""Bytes of a view from which it takes longer to copy them than to point to them."""

_NO_FLAGS = (0,)

_NO_STREAMS_LOCK = threading.RLock()
"""The lock of all that have no stream yet: they only look, or end."""


class SendQueueOverflowError(ConnectionError):
    """A session was aborted because its peer took less than it was sent: see `send_limit`."""


class Sending:
    """What one connection has to send. Any thread may call what has no underscore."""

    __slots__ = (
        "_connection",
        "_files",
        "_full_stop",
        "_over_high_water",
        "_queued_bytes_ever",
        "_send",
        "_session",
        "_trying_again",
        "ended",
        "frugal",
        "lock",
        "messages",
        "sending",
        "taken_bytes",
    )

    def __init__(self, connection: Owner) -> None:
        self.taken_bytes = 0
        """How many bytes the system has taken."""
        self.messages = 0
        """How many calls of `send` there were whose bytes were taken into the queue."""
        self.sending = False
        """Whether a send is under way, to be ended by its completion."""
        self.ended = False
        """Whether the session has said that it will send no more."""
        self.frugal = False
        """Whether what sends is lent on whenever there is nothing to send."""
        self.lock = _NO_STREAMS_LOCK
        """Held by what adds to the queue, and by what changes the connection's state.

        It is the stream's, which sending takes anyway: up to CPython 3.12 each lock is a
        semaphore of the kernel's.
        """
        self._connection = connection
        self._session = connection.session
        #: What sends, with the queue: none before the first message, and when it was lent on.
        self._send: GatheredSend | None = None
        self._queued_bytes_ever = 0
        #: How many files wait, the one on its way among them.
        self._files = 0
        self._over_high_water = False
        self._trying_again = False
        #: Whether `send` takes nothing more: it has been ended, or was too much already.
        self._full_stop = False

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self._queued_bytes_ever - self.taken_bytes

    @property
    def empty(self) -> bool:
        """Whether the system has taken everything."""
        return self._send is None or not self._send.queue

    def open(self, stream: Stream) -> None:
        """Begin, with the connection's stream; nobody sends before that."""
        self.lock = stream.lock
        self.frugal = self._session.zero_byte_after == 0

    def end(self) -> bool:
        """Take no more; return whether more would have been taken until now."""
        with self.lock:
            ended, self.ended, self._full_stop = self.ended, True, True
        return not ended

    def rest(self) -> None:
        """Lend on what sending takes, if there is nothing to send."""
        with self.lock:
            self._rest()

    def _rest(self) -> None:
        if self._send is not None and not self.sending and not self._send.queue:
            self._connection.idle_operations.give_send(self._send)
            self._send = None

    def drop(self) -> None:
        """Forget what waits, and rest; nothing is under way any more."""
        with self.lock:
            self.lock = _NO_STREAMS_LOCK
            if self._send is None:
                return
            files = [entry for entry in self._send.queue if type(entry) is QueuedFile]
            self._send.queue.clear()
            self._rest()
        for file in files:
            file.end()

    def send(self, data: Buffer) -> bool:
        """Queue bytes and submit what the system takes; see `Session.send`."""
        session = self._session
        connection = self._connection
        message: Any
        if type(data) is bytes:
            message = data
        elif type(data) is memoryview:  # what on_receive has: 70 ns less this way
            size = data.nbytes
            if _COPIED_MAX < size <= _AT_ONCE_MAX and data.c_contiguous and not data.readonly:
                message = data.cast("B")  # copied only if it has to wait
            else:
                message = data.tobytes()
        else:  # not bytes(data): bytes(5) would be five zeros
            message = bytes(memoryview(data))
        if connection.state is CONNECTING:
            raise RuntimeError(f"{session!r} cannot send before on_connect()")
        with self.lock:
            if connection.state is not OPEN or self._full_stop:
                return False
            if message:
                self.messages += 1
                send = self._send
                if send is None:
                    send = self._take()
                elif not send.queue and self._send_at_once(send, message):
                    if not send.queue and session.high_water:
                        return not self._over_high_water
                    message = None  # what is left of it is in the queue
                if message is not None:
                    if type(message) is memoryview:
                        message = message.tobytes()
                    self._queued_bytes_ever += len(message)
                    send.queue.append(message)
                if send.queue and not self.sending:
                    self._flush(send)
            queued_bytes = self._queued_bytes_ever - self.taken_bytes
            if queued_bytes < session.high_water:
                return not self._over_high_water
            self._over_high_water = True
            overflowed = self._full_stop = queued_bytes > session.send_limit
        if overflowed:
            self.overflow(queued_bytes)
        return False

    def _send_at_once(self, send: GatheredSend, message: Any) -> bool:
        """Have the system take of a message what it does without an operation; queue the rest.

        Called with the lock, and nothing waits. Returns False if it has taken nothing, for
        whatever reason: the operation will tell.
        """
        connection = self._connection
        stream = connection.stream
        assert stream is not None, "nobody sends before it is open"
        size = len(message)
        if size > _AT_ONCE_MAX or not stream.takes_at_once or stream.closed:
            return False
        if stream.may_wait:  # with the GIL, and the lock
            with contextlib.suppress(IocpError):
                stream.set_blocking(False)
            if stream.may_wait:
                return False
        memory = message if type(message) is bytes else (c_char * size).from_buffer(message)
        # Lifetime: the system copies what it takes before the call returns. Between that and the
        # end of this, no signal handler may raise: see `attempts`. Half a message would stay.
        for count in map(send.at_once, send.sockets, (memory,), (size,), _NO_FLAGS):  # noqa: B007
            break
        if count <= 0:
            return False
        self._queued_bytes_ever += size
        self.taken_bytes += count
        if count < size:
            send.queue.append(b"" + message[count:])
        elif (watch := connection.watch) is not None:
            watch.active_at = watch.now()
        return True

    def overflow(self, queued_bytes: int) -> None:
        """Abort the session: so many bytes are too much."""
        session, connection = self._session, self._connection
        text = f"{queued_bytes} bytes wait for a peer that does not read"
        limit = f"send_limit is {session.send_limit}"
        error = SendQueueOverflowError(f"{text}; {limit} [{session!r}]")
        connection.submit(connection.break_off, error, True)

    def send_file(self, file: Any, offset: int, count: int | None, close: bool) -> bool:
        """Queue a file and submit what the system takes; see `Session.send_file`."""
        connection = self._connection
        if connection.state is CONNECTING:
            raise RuntimeError(f"{self._session!r} cannot send before on_connect()")
        queued = QueuedFile(
            connection.open_stream,
            FilePart(file, offset, count),
            close=close,
            receiver=self._on_file_sent,
            on_part=self._on_part_of_file,
        )
        with self.lock:
            if taken := connection.state is OPEN and not self._full_stop:
                send = self._send or self._take()
                send.queue.append(queued)
                self.messages += 1
                self._files += 1
                if self._files >= FILES_MAX:
                    self._over_high_water = True
                if not self.sending:
                    self._flush(send)
        if not taken:
            queued.end()
        return taken and not self._over_high_water

    def _take(self) -> GatheredSend:
        """Return what is to be sent with, borrowed just now. Called with the lock."""
        connection = self._connection
        self._send = connection.idle_operations.take_send(connection.open_stream, self._on_sent)
        return self._send

    def _flush(self, send: GatheredSend, piece: int = 0) -> None:
        """Submit what waits to be sent. Called with the lock, and no send under way.

        piece: so many bytes at first, if it is not 0.
        """
        # Already now: what a signal handler or a collection sends in the midst of this joins
        # the queue, and no more.
        self.sending = True
        try:
            while send.queue:
                count = send.start_piece(piece) if piece else send.start_next()
                if count is None:
                    return
                self._count(count)
                piece = 0
        except ResourceLimitError:
            self.sending = False
            self._try_again_later()
            return
        except (*REFUSALS, ValueError) as error:  # the latter for a file that is closed
            self.sending = False
            self._connection.submit(self._connection.break_off, error)
            return
        except BaseException:  # of a signal handler
            self.sending = send.under_way
            raise
        self.sending = False
        if self.frugal:
            self._rest()

    def _try_again_later(self) -> None:
        """Too much memory is locked for a send. Called with the lock."""
        if not self._trying_again:
            self._trying_again = True
            self._connection.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        """Send a little of what waits, unless more is being sent by now. Within the inbox."""
        connection = self._connection
        with self.lock:
            self._trying_again = False
            send = self._send
            if self.sending or self.empty or send is None or connection.state is CLOSED:
                return
            taken = self.taken_bytes
            self._flush(send, PAGE_SIZE)
            if self.taken_bytes == taken:
                return
        self._go_on()

    def _count(self, count: int) -> None:
        """Take note of how much the system has taken. Called with the lock."""
        self.taken_bytes += count
        if (watch := self._connection.watch) is not None:
            watch.active_at = watch.now()

    def _on_sent(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver_end(self._sent, count, status)

    def _on_part_of_file(self) -> None:
        """Take note that the peer reads; its bytes count when the file is over."""
        with self.lock:
            self._count(0)

    def _on_file_sent(self, operation: SendFileOperation, count: int, status: int) -> None:
        error = operation.finish(count, status).error
        self._connection.inbox.deliver(self._file_sent, count, error)

    def _sent(self, count: int, status: int) -> None:
        """Go on after a send. Within the inbox."""
        connection, send = self._connection, self._send
        assert send is not None, "it is lent on only when it is not under way"
        with self.lock:
            self.sending = False
            send.take_sent(count)
            self._count(count)
            if not failed(status) and connection.state is not CLOSED:
                self._flush(send)
        if connection.state is CLOSED:
            connection.end()
        elif failed(status):
            connection.break_off(connection.error_of("WSASend", status))
        else:
            self._go_on()

    def _file_sent(self, count: int, error: OSError | None) -> None:
        """Go on after a file. Within the inbox."""
        connection, send = self._connection, self._send
        assert send is not None, "it is lent on only when it is not under way"
        with self.lock:
            self.sending = False
            file = send.queue.popleft()
            self._files -= 1
            # It takes no memory while it waits: so it counts only now.
            self._queued_bytes_ever += count
            self._count(count)
            if error is None and connection.state is not CLOSED:
                self._flush(send)
        file.end()
        if connection.state is CLOSED:
            connection.end()
        elif error is not None:
            connection.break_off(error)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Say that there is room again, if there is; and go on closing."""
        if self._over_high_water and self._connection.state is OPEN:
            with self.lock:
                few_bytes = self.queued_bytes <= self._session.low_water
                writable = few_bytes and self._files < FILES_MAX
                self._over_high_water = not writable
            if writable:
                self._connection.hooks.on_writable()
        self._connection.go_on_closing()
