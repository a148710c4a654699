"""SignalReceiver: ends a wait of the main thread when a signal comes.

Python runs signal handlers in the main thread only, between two bytecodes, and a thread
inside GetQueuedCompletionStatusEx runs none. So the interpreter is told
(``signal.set_wakeup_fd``) to write to a socket as soon as a signal comes, and that socket
has a receive pending on the port: the write completes it, the wait returns, and the
handler runs. It is a UDP socket connected to itself.

What belongs here: that socket. What Ctrl-C then does is in `interrupt`.
"""

from __future__ import annotations

import contextlib
import math
import signal
import socket
from typing import TYPE_CHECKING

from ..errors import PortClosedError, error_of_code
from ..handles.socket_handle import SocketHandle
from ..winapi.errorcodes import STATUS_SUCCESS
from . import interrupt

if TYPE_CHECKING:
    from .operation import Operation
    from .queue import CompletionQueue

#: Those of the ports that are open: while there are any, the handler is in force.
_receivers: set[SignalReceiver] = set()

#: The receiver whose socket the interpreter writes to now: it has one such socket.
_holder: SignalReceiver | None = None


#: How long a look at who holds the wake-up socket is good for: it costs a system call.
_LOOK_S = 0.05


class SignalReceiver:
    """A socket on a port that the interpreter writes to when a signal comes.

    Made by a port when it first waits in the main thread. One port at a time holds the
    interpreter's wake-up socket: `hold` takes it over. If other code holds it, such as an
    asyncio loop, it is left alone, and the wait's own limit bounds the delay of a Ctrl-C.

    Raises an `IocpError` if there is no socket for it, or no room for its receive;
    `PortClosedError` if the port is closed. Then it has left nothing behind.
    """

    def __init__(self, queue: CompletionQueue) -> None:
        # First of all: from now on KeyboardInterrupt does not come in the middle of this.
        interrupt.install()
        self._queue = queue
        self._monotonic = queue.kernel.monotonic
        _receivers.add(self)
        self._released = False
        self._look_again = 0.0
        try:
            with _open_socket() as made:
                self._number = made.fileno()
                self._handle = SocketHandle(
                    queue, self._number, family=socket.AF_INET, internal=True
                )
                made.detach()
        except BaseException:
            self._leave()
            raise
        queue.handles.discard(self._handle)  # closed here, not with the others
        self._receive = self._handle.receive_operation(bytearray(64))
        self._receive.receiver = self._on_signal
        try:
            self._receive.post()
        except BaseException:
            self.release()
            raise

    def hold(self) -> float:
        """Have signals wake this port from now on; main thread only.

        Returns after how many seconds to look again. Shortly after a look there is none:
        then other code may have taken the socket since, as asyncio does when it makes a
        loop, and may have left none, as asyncio does when it closes that.
        """
        global _holder
        now = self._monotonic()
        if _holder is self and now < self._look_again:
            return _LOOK_S
        self._look_again = now + _LOOK_S
        if _holder is not None and _holder._released:
            _holder.release()
        interrupt.install()
        previous = signal.set_wakeup_fd(self._number, warn_on_full_buffer=False)
        if previous not in (-1, self._number, _holder and _holder._number):
            signal.set_wakeup_fd(previous)
        else:
            _holder = self
        return math.inf

    def cancel(self) -> None:
        """Have the pending receive come back."""
        self._handle.cancel()

    def release(self) -> None:
        """Give the wake-up socket and the handler back, and close the socket.

        Only the main thread can do that. Called by another one, this leaves the socket
        open, for the interpreter still writes to its number, until a port in the main
        thread takes over.
        """
        global _holder
        self._released = True
        if _holder is self:
            if not interrupt.in_main_thread():
                return
            _holder = None
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._number):
                signal.set_wakeup_fd(current)
        self._leave()
        self._handle.close()

    def _leave(self) -> None:
        """No longer count among those of open ports; give the handler back after the last."""
        _receivers.discard(self)
        if not _receivers and interrupt.in_main_thread():
            interrupt.uninstall()

    def _on_signal(self, operation: Operation, count: int, status: int) -> None:
        """Take the next signal's byte; the handler itself has run, or is about to."""
        if status == STATUS_SUCCESS and not self._queue.closing:
            with contextlib.suppress(PortClosedError):
                self._receive.post()
            if not interrupt.in_main_thread():
                self._queue.rouse_main()

    def __repr__(self) -> str:
        return f"<SignalReceiver on socket {self._number}>"


def _open_socket() -> socket.socket:
    """Return a UDP socket that is connected to itself, or raise an `IocpError`."""
    function = "socket"
    try:
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            function = "bind"
            made.bind(("127.0.0.1", 0))
            function = "connect"
            made.connect(made.getsockname())
            made.setblocking(False)
            stack.pop_all()
            return made
    except OSError as error:
        raise error_of_code(function, error.winerror) from error
