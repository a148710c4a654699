"""Waker: wakes a thread that waits for sockets: a UDP socket, connected to itself.

Every model can wait for a socket, so sending it a byte wakes every model. It is also the only
way for Ctrl-C to wake one: Python runs signal handlers between two bytecodes, and a thread
inside ``select`` executes none, but the interpreter can be told (``signal.set_wakeup_fd``) to
write to a socket as soon as a signal comes.

(``SetEvent`` or ``QueueUserAPC`` would do for some models, at the same cost of one system call.
One way is easier to explain.)
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
        """Send a byte, unless one is under way."""
        with self._lock:
            if self._sent or not self.number:
                return
            self._sent = True
            with contextlib.suppress(BlockingIOError):  # full: it wakes anyway
                self._socket.send(b"w")

    def drain(self) -> None:
        """Receive what has been sent; the caller then looks for the reason it was woken.

        `_sent` is reset under the same lock: if a byte were taken and `_sent` stayed True,
        no other byte would ever be sent.
        """
        with self._lock:
            self._sent = False
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._socket.recv(_FULL)

    @contextlib.contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Let signals wake it, and `interrupt` note Ctrl-C, within the block; main thread only."""
        if not interrupt.find_main_thread():
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
