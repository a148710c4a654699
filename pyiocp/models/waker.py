"""Waker: has a thread that waits for sockets return: a UDP socket, connected to itself.

Whatever a model waits with, it can wait for a socket; so one that a byte is sent to wakes
every model. It is also the only thing that Ctrl-C can set off: Python runs signal handlers
between two bytecodes, a thread inside ``select`` executes none, but the interpreter can be
told (``signal.set_wakeup_fd``) to write to a socket as soon as a signal comes.

(A model could have cheaper means besides: ``SetEvent``, ``QueueUserAPC``. A byte to itself
costs one system call as they do, and there is one way to explain.)

What belongs here: that socket. Who waits for it is the business of the loops.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator

from ..engine import interrupt

_FULL = 4096


class LoopWaker:
    """A socket that can be sent a byte. Any thread may call `wake`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(self._socket.getsockname())
        self._socket.setblocking(False)
        self.number = self._socket.fileno()
        self._lock = threading.Lock()
        self._sent = False

    def wake(self) -> None:
        """Send the byte, unless one is under way."""
        with self._lock:
            if self._sent or not self.number:
                return
            self._sent = True
            with contextlib.suppress(BlockingIOError):  # full of signals: it wakes as well
                self._socket.send(b"w")

    def drain(self) -> None:
        """Take what has been sent; the caller then looks at what it may have been woken for.

        In one go with the note: a byte taken here of which the note still says "under way"
        would be the last one ever sent.
        """
        with self._lock:
            self._sent = False
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._socket.recv(_FULL)

    @contextlib.contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Have signals wake it meanwhile, and Ctrl-C wait for `interrupt`; main thread only."""
        if not interrupt.in_main_thread():
            yield
            return
        handler = signal.getsignal(signal.SIGINT)
        interrupt.install()
        previous = signal.set_wakeup_fd(self.number, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            if handler is signal.default_int_handler:
                interrupt.uninstall()

    def close(self) -> None:
        """Close the socket; waking does nothing any more."""
        with self._lock:
            self.number = 0
            self._socket.close()
