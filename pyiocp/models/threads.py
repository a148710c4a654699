"""The model "threads": blocking calls, and a thread for each connection.

**How it works.** The thread of a connection calls WSARecv without an OVERLAPPED, and the call
returns when something has come; the thread calls the hook, sends what the hook wanted sent
(that call, too, returns when it is done), and receives again. The state of a connection is
where its thread stands. Nothing is simpler to write or to read.

A thread inside a call cannot be told anything, and there the simplicity ends:

- What *another* thread wants to send needs a thread that sends it: the first such ``send``
  starts a second one for the connection. Then there are two, one that receives and one
  that sends, and an exclusion between them (the session's inbox).
- To end a connection, the call has to be ended from outside: CancelIoEx, which ends what is
  in the kernel at that moment. A thread that is just about to call hears nothing of it, so
  it is asked again until it has come out. (Closing the socket under the call works as well,
  until the number is another connection's by the time that the thread calls.)
- New clients, stop() and Ctrl-C are waited for by one more thread, which cannot sit in a
  blocking accept() for the same reason.

**What a message costs.** Two calls, WSARecv and WSASend: fewer than in any other model. But
every message wakes a thread, which takes the processor, and on a build with a GIL that lock,
from another one.

**Its limit.** Memory for stacks (1 MiB of addresses each, of which little is used), and the
scheduler: with a thousand threads that have something to do, most of the time goes into
taking turns.

**When to choose it.** For a few connections, and for protocols whose logic is a story from
beginning to end. On builds without a GIL it uses all processors.

Source: https://learn.microsoft.com/windows/win32/winsock/winsock-blocking-functions-and-eprocinprogress-2
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, cast

from ..engine.packet import COMPLETED, PENDING
from ..errors import error_of_code
from ..winapi import (
    POLLRDNORM,
    SOCKET_ERROR,
    STATUS_CANCELLED,
    STATUS_SUCCESS,
    WSA_OPERATION_ABORTED,
    WSAEINTR,
    WSAPOLLFD,
)
from .channel import FAILED_WITH, Channel, DirectOperation
from .loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..servers.tcp.connection import Connection
    from .loop import Server

logger = logging.getLogger("pyiocp")

_ASK_AGAIN_S = 0.02
"""After how long a thread in a call is asked again to come out."""

_JOIN_MAX_S = 5.0

_CANCELLED = (WSA_OPERATION_ABORTED, WSAEINTR)
"""How a call ends that was cancelled from outside."""


class BlockingOperation(DirectOperation):
    """A receive or send that a thread of its connection makes, and waits for."""

    handle: ThreadChannel

    def _calls(
        self, name: str, function: Callable[..., int], failure: int, *arguments: Any
    ) -> None:
        """Use the variant of the function that releases the GIL while it waits."""
        super()._calls(name, self.handle.home.kernel.that_wait[name], failure, *arguments)

    def _submit(self, announce: bool) -> bool:
        """Leave it to the thread that makes the calls: it is pending in any case."""
        self.handle.check_open(self.kind)
        self.state = PENDING
        self.handle.hand_over(self)
        return False

    def cancel(self) -> bool:
        """Make the call return; its connection then receives without a buffer."""
        return self.handle.cancel_calls()


class ThreadChannel(Channel):
    """A blocking socket, with the one or two threads that are in its calls."""

    operation_class = BlockingOperation

    def begin(self) -> None:
        """Make calls wait."""
        self.set_blocking(True)
        self._change = threading.Condition()
        self._receive: BlockingOperation | None = None
        self._send: BlockingOperation | None = None
        #: The thread that receives, and sends what its own hooks send; the thread that sends
        #: for all others; and which of the two sends now.
        self._first: threading.Thread | None = None
        self._second: threading.Thread | None = None
        self._sender: threading.Thread | None = None
        #: The threads that have not ended.
        self._inside: set[threading.Thread] = set()

    def attach(self, connection: Connection, peer: Any) -> None:
        """Begin, in the connection's first thread."""
        self._first = self._make_thread("first", connection, peer)
        self._first.start()

    def _make_thread(self, what: str, *begin_with: Any) -> threading.Thread:
        thread = threading.Thread(
            target=self._work,
            args=begin_with,
            name=f"pyiocp {what} thread of {self.number:#x}",
            daemon=True,
        )
        self._inside.add(thread)
        cast("ThreadsLoop", self.loop).threads.add(thread)
        return thread

    def hand_over(self, operation: BlockingOperation) -> None:
        """Have one of the threads make the call. Any thread may call this."""
        with self._change:
            if operation.kind == "receive":
                self._receive = operation
            else:
                self._send = operation
                self._sender = threading.current_thread()
                if self._sender is not self._first:
                    if self._second is None:
                        self._second = self._make_thread("second")
                        self._second.start()
                    self._sender = self._second
            self._change.notify_all()

    def _next(self) -> BlockingOperation | None:
        """Wait for something to do in this thread; None if there will be nothing more."""
        me = threading.current_thread()
        with self._change:
            while True:
                # Sends first: a receive may wait for what the peer says to them.
                if self._send is not None and self._sender is me:
                    operation, self._send = self._send, None
                    return operation
                if self._receive is not None and self._first is me:
                    operation, self._receive = self._receive, None
                    return operation
                if self.closed:
                    return None
                self._change.wait()

    def _work(self, *begin_with: Any) -> None:
        """Make calls until the channel is closed: the whole life of a thread."""
        if begin_with:
            connection, peer = begin_with
            connection.attach(self, peer)
        while (operation := self._next()) is not None:
            code = 0 if self.closed else operation.attempt()  # waits
            if self.closed or code in _CANCELLED:
                count, status = 0, STATUS_CANCELLED
            elif code:
                count, status = 0, FAILED_WITH | code
            else:
                count, status = operation.transferred, STATUS_SUCCESS
            operation.state = COMPLETED
            try:
                assert operation.receiver is not None, "it is a session's"
                operation.receiver(operation, count, status)
            except Exception:
                logger.exception("the end of %r could not be dealt with", operation)
        with self._change:
            self._inside.discard(threading.current_thread())
            if not self._inside:
                # No thread can use the number any more: now the system may reuse it.
                self.home.kernel.closesocket(self.number)
        cast("ThreadsLoop", self.loop).threads.discard(threading.current_thread())

    def cancel_calls(self) -> bool:
        """Make the threads return from the kernel, if they are in it."""
        return bool(self.home.kernel.CancelIoEx(self.number, None))

    def _cancel_pending(self) -> None:
        """Tell the threads to end."""
        with self._change:
            self._change.notify_all()
        self._ask()

    def _ask(self) -> None:
        """Make them return from their calls, and ask again until all have."""
        with self._change:
            if self._inside:
                self.cancel_calls()
                self.loop.call_later(_ASK_AGAIN_S, self._ask)

    def _close_number(self) -> None:
        """Leave that to the last thread, unless there has been none."""
        if not self._inside and self._first is None:
            super()._close_number()


class ThreadsLoop(Loop):
    """The thread that waits for clients, timers and other threads; it serves no connection."""

    model = "threads"
    channel_class = ThreadChannel

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.threads: set[threading.Thread] = set()
        """The threads of all connections that have not ended."""

    def open(self) -> None:
        """Wait for the waker, and for new clients."""
        assert self.listening is not None, "this model has one loop"
        self._entries = (WSAPOLLFD * 2)(
            WSAPOLLFD(self.waker.number, POLLRDNORM, 0),
            WSAPOLLFD(self.listening.number, POLLRDNORM, 0),
        )

    def starts_here(self) -> bool:
        """Return True: any thread may start an operation, its own thread makes the call."""
        return True

    def calls_hooks_here(self) -> bool:
        """Return whether it is a connection's thread, or the loop's own."""
        return threading.current_thread() in self.threads or super().calls_hooks_here()

    def wait(self, timeout_ms: int) -> None:
        """Wait for new clients, or to be woken."""
        entries = self._entries
        if self.kernel.WSAPoll(entries, len(entries), timeout_ms) == SOCKET_ERROR:
            raise error_of_code("WSAPoll", self.kernel.last_error(), None, self)
        if entries[0].revents:
            self.waker.drain()
        if entries[1].revents:
            self.accept_clients()

    def unfinished(self) -> bool:
        """Return whether threads are left."""
        return super().unfinished() or bool(self.threads)

    def release(self) -> None:
        """Wait for the last threads."""
        for thread in list(self.threads):
            thread.join(_JOIN_MAX_S)
