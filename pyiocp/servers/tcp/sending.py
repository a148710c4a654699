"""Sending: a session's queue of bytes to send, and the one send that is under way.

If nothing waits, the system is asked to take a message at once, without an operation: it copies
the bytes, and no page is locked. What it does not take is queued, and so is everything that is
sent while an operation is under way; one WSASend then takes all that waits, up to a limit, from
several buffers. Large messages always go that way, because copying them costs more, and so does
a session's first one: making the socket non-blocking is a system call, which a session with a
single message does not need.

While a layer hands over many messages of one receive, it holds what is sent (`hold`): the answers
go in one call, so that a peer with many small messages takes little time from the others.

Any thread may add to the queue. Completions go through the connection's inbox, because they may
call a hook.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from ctypes import c_char
from typing import TYPE_CHECKING, Any

from ...errors import REFUSALS, IocpError, ResourceLimitError, failed
from ...handles.sockets.transmit import FilePart
from ...memory.pages import PAGE_SIZE
from ..session_state import CLOSED, CONNECTING, OPEN
from .gathered_send import GATHER_MAX
from .queued_file import LentFile, QueuedFile
from .receiving import BY_SENDS, RETRY_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from ...engine.operation import Operation
    from ...handles.sockets.stream import Stream
    from ...handles.sockets.transmit import SendFileOperation
    from .gathered_send import GatheredSend
    from .owner import Owner
    from .send_queues import SendQueues


FILES_MAX = 2
"""Files waiting from which `send` says False: one on its way, and the next one behind it.

They take no memory, but each is an open file, and a peer that does not read could have more and
more of them opened.
"""


_AT_ONCE_MAX = 1 << 16
"""Bytes of the largest message that is sent without an operation, which copies it."""

_COPIED_MAX = 8192
"""Bytes of a view up to which copying is faster than pointing to it."""

MERGED_MAX = 4096
"""Bytes of messages that are merged while many wait: two bytes alone take 50 in a queue."""

_TURN_BYTES = 1 << 20
"""Bytes that are sent in a row to a peer that takes all at once; then others have their turn."""

_HELD_MAX = 1 << 16
"""Bytes up to which a turn's answers are held."""

_NO_FLAGS = (0,)

_NO_STREAMS_LOCK = threading.RLock()
"""The lock of those without a stream: they only read the state, or end."""


class SendQueueOverflowError(ConnectionError):
    """A session was aborted because its peer took less than it was sent: see `send_limit`."""


class SendStalledError(ConnectionError, TimeoutError):
    """A session was aborted because its peer took nothing for long: see `stall_timeout`."""


class Sending:
    """What one connection has to send. Any thread may call the methods without underscore."""

    __slots__ = (
        "_connection",
        "_file_bytes",
        "_files",
        "_full_stop",
        "_held",
        "_holder",
        "_large_end",
        "_over_high_water",
        "_queued_bytes_ever",
        "_send",
        "_session",
        "_trying_again",
        "all_queues",
        "bytes_above",
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
        """How many calls of `send` were accepted."""
        self.sending = False
        """Whether a send is under way, to be ended by its completion."""
        self.ended = False
        """Whether the session has ended its side."""
        self.frugal = False
        """Whether the operation is given back whenever there is nothing to send."""
        self.lock = _NO_STREAMS_LOCK
        """Held to add to the queue, and to change the connection's state.

        It is the stream's own lock, which sending needs anyway: up to CPython 3.12 each lock
        is a kernel semaphore.
        """
        self.all_queues: SendQueues | None = None
        """What counts the bytes of several sessions, if anything does."""
        self.bytes_above = 0
        """How many bytes wait in a layer; set with the layer's lock, before `report`."""
        self._connection = connection
        self._session = connection.session
        #: The operation, with the queue: None before the first message, and once given back.
        self._send: GatheredSend | None = None
        self._queued_bytes_ever = 0
        #: How many files wait, including the one being sent.
        self._files = 0
        #: How many bytes of the file being sent have gone: they count at its end.
        self._file_bytes = 0
        #: How many turns of layers are holding what is sent, and the thread that has them.
        self._held = 0
        self._holder = 0
        #: Where the bytes of a message end that was larger than the limit, when nothing waited.
        self._large_end = 0
        self._over_high_water = False
        self._trying_again = False
        #: Whether `send` takes nothing more: after `end`, or over the limit.
        self._full_stop = False

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be taken by the system."""
        return self._queued_bytes_ever - self.taken_bytes

    @property
    def over_high_water(self) -> bool:
        """Whether `send` says False until ``on_writable``."""
        return self._over_high_water

    @property
    def progress(self) -> int:
        """A number that grows by the bytes that the system has taken."""
        return self.taken_bytes + self._file_bytes

    @property
    def piece_bytes(self) -> int:
        """How many bytes the system has been given, and has not said to have taken."""
        with self.lock:
            return 0 if self._send is None else self._send.piece_bytes

    @property
    def empty(self) -> bool:
        """Whether the system has taken everything."""
        return self._send is None or not self._send.queue

    def hold(self) -> None:
        """Hold what this thread sends, up to a limit, until `release`. Within the inbox."""
        self._held += 1
        self._holder = threading.get_ident()

    def release(self) -> None:
        """Send what was held. Within the inbox."""
        self._held -= 1
        with self.lock:
            send = self._send
            waits = not (self._held or self.sending or self._trying_again or self.empty)
            if waits and send is not None and self._connection.state is not CLOSED:
                self._flush(send)

    def open(self, stream: Stream) -> None:
        """Begin, with the connection's stream; nothing is sent before that."""
        self.lock = stream.lock
        self.frugal = self._session.zero_byte_after == 0

    def end(self) -> bool:
        """Take no more; return False if it was ended before."""
        with self.lock:
            ended, self.ended, self._full_stop = self.ended, True, True
        return not ended

    def report(self) -> None:
        """Tell how much waits now, if all together are counted."""
        if self.all_queues is not None:
            self.all_queues.waits(self, self.queued_bytes + self.bytes_above)

    def crowded_out(self, mine: int, all_bytes: int, limit: int) -> None:
        """Abort the session; see `SendQueue.crowded_out`."""
        self._full_stop = True
        self._connection.submit(self._end_crowded_out, mine, all_bytes, limit)

    def _end_crowded_out(self, mine: int, all_bytes: int, limit: int) -> None:
        text = f"{mine} bytes wait for a peer, more than for any other, {all_bytes} in all"
        limit_text = f"the listener's Limits have send_queue_bytes={limit}"
        error = SendQueueOverflowError(f"{text}; {limit_text} [{self._session!r}]")
        self._connection.break_off(error, True)

    def rest(self) -> None:
        """Give the operation back, if there is nothing to send."""
        with self.lock:
            self._rest()

    def _rest(self) -> None:
        if self._send is not None and not self.sending and not self._send.queue:
            self._connection.idle_operations.give_send(self._send)
            self._send = None

    def drop(self) -> None:
        """Drop what waits and rest; nothing is under way any more."""
        with self.lock:
            self.lock = _NO_STREAMS_LOCK
            if self.all_queues is not None:
                self.all_queues.leave(self)
                self.all_queues = None
            if self._send is None:
                return
            files = [entry for entry in self._send.queue if type(entry) is QueuedFile]
            self._send.clear()
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
                elif not (send.queue or self._held) and self._send_at_once(send, message):
                    if not send.queue and session.high_water:
                        return not self._over_high_water
                    message = None  # the rest of it is in the queue
                if message is not None:
                    self._add(send, message)
                if send.queue and not self.sending and not (self._held and self._may_hold):
                    self._flush(send)
                if self.all_queues is not None:
                    self.report()
            queued_bytes = self._queued_bytes_ever - self.taken_bytes
            if queued_bytes < session.high_water:
                return not self._over_high_water
            if queued_bytes:  # with a high_water of 0 there may be none
                self._now_over_high_water()
            overflowed = self._overflows
            self._full_stop |= overflowed
        if overflowed:
            self.overflow(queued_bytes)
        return False

    def _add(self, send: GatheredSend, message: Any) -> None:
        """Add a message to the queue. Called with the lock."""
        if type(message) is memoryview:
            message = message.tobytes()
        size = len(message)
        queue = send.queue
        large = size > self._session.send_limit and not queue
        self._queued_bytes_ever += size
        if large:
            self._large_end = max(self._large_end, self._queued_bytes_ever)
        if len(queue) > GATHER_MAX:  # fewer may be under way where they are
            last = queue[-1]
            if type(last) is bytes and len(last) + size <= MERGED_MAX:
                queue[-1] = last + message
                return
        queue.append(message)

    @property
    def _may_hold(self) -> bool:
        few = self.queued_bytes < min(_HELD_MAX, self._session.high_water)
        return few and threading.get_ident() == self._holder

    @property
    def _overflows(self) -> bool:
        """Whether more waits than may: not counting one message that found nothing before it."""
        counted = self._queued_bytes_ever - max(self.taken_bytes, self._large_end)
        return counted > self._session.send_limit

    @contextlib.contextmanager
    def one_message(self) -> Iterator[None]:
        """Take what is sent meanwhile as one message, which may be larger than the limit.

        For layers that cut one into blocks, with a lock of their own: nobody else sends. If
        something waits already, it changes nothing.
        """
        with self.lock:
            alone = self.empty
        if alone:
            self._large_end = sys.maxsize
        try:
            yield
        finally:
            if alone:
                with self.lock:
                    self._large_end = self._queued_bytes_ever

    def _now_over_high_water(self) -> None:
        """`send` says False from now on. Called with the lock."""
        if not self._over_high_water:
            self._over_high_water = True
            self._connection.pause_for(BY_SENDS)

    def _send_at_once(self, send: GatheredSend, message: Any) -> bool:
        """Let the system take what it can of a message without an operation; queue the rest.

        Called with the lock, when nothing waits. Returns False if it has taken nothing, for
        any reason: the operation will tell why.
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
        # Lifetime: the system copies what it takes before the call returns. From there to the
        # end no signal handler may raise (see `endless_calls`), or half a message would be lost.
        for count in map(send.at_once, send.sockets, (memory,), (size,), _NO_FLAGS):  # noqa: B007
            break
        if count <= 0:
            return False
        self._queued_bytes_ever += size
        self.taken_bytes += count
        if count < size:
            send.queue.append(b"" + message[count:])
            if size > self._session.send_limit:
                self._large_end = max(self._large_end, self._queued_bytes_ever)
        elif (watch := connection.watch) is not None:
            watch.active_at = watch.now()
        return True

    def overflow(self, queued_bytes: int) -> None:
        """Abort the session, because too many bytes wait."""
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
        part = FilePart(file, offset, count)
        if connection.stream is None:  # it could not be connected
            LentFile(part, close=close).end()
            return False
        queued = QueuedFile(
            connection.stream,
            part,
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
                    self._now_over_high_water()
                if not self.sending:
                    self._flush(send)
        if not taken:
            queued.end()
        return taken and not self._over_high_water

    def _take(self) -> GatheredSend:
        """Borrow the operation to send with. Called with the lock."""
        connection = self._connection
        self._send = connection.idle_operations.take_send(connection.open_stream, self._on_sent)
        return self._send

    def _flush(self, send: GatheredSend, piece: int = 0) -> None:
        """Submit what waits to be sent. Called with the lock, and no send under way.

        piece: begin with this many bytes, unless it is 0.
        """
        # Set first: what a signal handler or a garbage collection sends meanwhile is only queued.
        self.sending = True
        taken = 0
        try:
            while send.queue:
                count = send.start_piece(piece) if piece else send.start_next()
                if count is None:
                    return
                self._count(count)
                piece = 0
                taken += count
                if taken > _TURN_BYTES:
                    break
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
        if send.queue:
            if not self._trying_again:
                self._trying_again = True
                self._connection.submit(self._try_again, 0)
        elif self.frugal:
            self._rest()

    def _try_again_later(self) -> None:
        """Try again later: too much memory is locked. Called with the lock."""
        if not self._trying_again:
            self._trying_again = True
            self._connection.call_later(RETRY_S, self._try_again)

    def _try_again(self, piece: int = PAGE_SIZE) -> None:
        """Send what waits, a little of it first, unless a send is under way. Within the inbox."""
        connection = self._connection
        with self.lock:
            self._trying_again = False
            send = self._send
            waits = not (self.sending or self.empty)
            if waits and send is not None and connection.state is not CLOSED:
                self._flush(send, piece)
            under_way = self.sending
        if not under_way:  # then nothing else does this
            self._go_on()

    def _count(self, count: int) -> None:
        """Count the bytes that the system has taken. Called with the lock."""
        self.taken_bytes += count
        if (watch := self._connection.watch) is not None:
            watch.active_at = watch.now()
        if self.all_queues is not None:
            self.report()

    def _on_sent(self, operation: Operation, count: int, status: int) -> None:
        self._connection.inbox.deliver_end(self._sent, count, status)

    def _on_part_of_file(self, count: int) -> None:
        """The peer reads: it is not idle. The bytes are counted at the end of the file."""
        with self.lock:
            self._file_bytes += count
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
            self._file_bytes = 0
            # It takes no memory while it waits, so its bytes count only now.
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
        """Call ``on_writable`` if there is room again; and go on closing."""
        if self._over_high_water and self._connection.state is OPEN:
            with self.lock:
                few_bytes = self.queued_bytes <= self._session.low_water
                writable = few_bytes and self._files < FILES_MAX
                self._over_high_water = not writable
                if writable:  # before the hook, which may send as much again
                    self._connection.resume_for(BY_SENDS)
            if writable:
                self._connection.writable()
        self._connection.go_on_closing()
