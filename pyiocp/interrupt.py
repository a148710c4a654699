"""Ctrl-C: how it reaches a thread that waits on a port, and why it loses nothing.

Two things are in the way. First, Python runs signal handlers in the main thread only,
between two bytecodes, and a thread inside GetQueuedCompletionStatusEx runs none. So the
interpreter is told (``signal.set_wakeup_fd``) to write to a socket as soon as a signal
comes, and that socket has a receive pending on the port: the write completes it, the wait
returns, and the handler runs. The socket is a UDP socket connected to itself.

Second, ``KeyboardInterrupt`` may then be raised between any two bytecodes, also between
dequeuing a batch of packets and storing them, which would lose completions. So, while the
handler in force is Python's own, it is replaced by one that looks where the main thread
is: inside rings 2 and 3, it only takes a note, and ``wait`` and ``run`` raise
KeyboardInterrupt as they leave; elsewhere it raises at once, as ever. A second Ctrl-C
before the first has been raised is raised at once wherever it is, so that a hook that
never returns can be interrupted too.

What belongs here: signals, and nothing else that wakes a port.
"""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING

from .handles.stream import Stream
from .winapi.errorcodes import STATUS_SUCCESS

if TYPE_CHECKING:
    from types import FrameType

    from .completion_queue import CompletionQueue
    from .operation import Operation

_PACKAGE = __name__.rpartition(".")[0]

#: Where KeyboardInterrupt could part a packet from its operation: rings 2 and 3.
_GUARDED = tuple(
    f"{_PACKAGE}.{name}"
    for name in (
        "completion_queue",
        "connection",
        "connector",
        "handles",
        "inbox",
        "listener",
        "operation",
        "port",
        "session",
        "timers",
    )
)

#: The port whose main-thread wait a signal wakes now; there is one wake-up socket a process.
_holder: SignalReceiver | None = None

#: Set by the handler when it finds the main thread inside them.
_noted = False


def in_main_thread() -> bool:
    """Tell whether this is the thread that Python runs signal handlers in."""
    return threading.get_ident() == threading.main_thread().ident


def _handle_sigint(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or take a note of it inside them."""
    global _noted
    if not _noted:
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(_GUARDED):
                _noted = True
                return
            frame = frame.f_back
    _noted = False
    raise KeyboardInterrupt


def noted() -> bool:
    """Tell whether a Ctrl-C is waiting to be raised."""
    return _noted


def raise_noted() -> None:
    """Raise the KeyboardInterrupt that was noted, if one was; main thread only."""
    global _noted
    if _noted and in_main_thread():
        _noted = False
        raise KeyboardInterrupt


class SignalReceiver:
    """A socket on a port that the interpreter writes to when a signal comes.

    Made by a port when it first waits in the main thread. One port at a time holds the
    interpreter's wake-up socket: `hold` takes it over. If other code holds it, such as an
    asyncio loop, it is left alone, and the wait's own limit bounds the delay of a Ctrl-C.
    """

    def __init__(self, queue: CompletionQueue) -> None:
        self._queue = queue
        self._released = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(self._socket.getsockname())
        self._socket.setblocking(False)
        self._number = self._socket.fileno()
        # A datagram socket, but all that is wanted of it is a receive; and skipping
        # packets is for streams only.
        self._handle = Stream(queue, self._number, skip_on_success=False, internal=True)
        queue.handles.discard(self._handle)  # closed here, not with the others
        self._receive = self._handle.receive_operation(bytearray(64))
        self._receive.receiver = self._on_signal
        self._receive.post()

    def hold(self) -> None:
        """Have signals wake this port from now on; main thread only."""
        global _holder
        if _holder is self:
            return
        if _holder is not None and _holder._released:
            _holder.release()
        previous = signal.set_wakeup_fd(self._number, warn_on_full_buffer=False)
        if previous != -1 and (_holder is None or previous != _holder._number):
            signal.set_wakeup_fd(previous)
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _handle_sigint)
        _holder = self

    def release(self) -> None:
        """Give the wake-up socket and the handler back, and close the socket.

        Only the main thread can do that. Called by another one, this leaves the socket
        open, for the interpreter still writes to its number, until a port in the main
        thread takes over.
        """
        global _holder
        self._released = True
        if _holder is self:
            if not in_main_thread():
                return
            _holder = None
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._number):
                signal.set_wakeup_fd(current)
            if signal.getsignal(signal.SIGINT) is _handle_sigint:
                signal.signal(signal.SIGINT, signal.default_int_handler)
        self._handle.close()
        self._socket.detach()

    def cancel(self) -> None:
        """Have the pending receive come back."""
        self._handle.cancel()

    def _on_signal(self, operation: Operation, count: int, status: int) -> None:
        """Take the next signal's byte; the handler itself has run, or is about to."""
        if status == STATUS_SUCCESS and not self._queue.closing:
            self._receive.post()

    def __repr__(self) -> str:
        return f"<SignalReceiver on socket {self._number}>"
