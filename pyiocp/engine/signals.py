"""Signals: how a signal ends a wait of the main thread.

Python runs signal handlers in the main thread only, between two bytecodes, and a thread
inside GetQueuedCompletionStatusEx runs none. So the interpreter is told
(``signal.set_wakeup_fd``) to write to a socket as soon as a signal comes, and that socket
has a receive pending on the port: the write completes it, the wait returns, and the
handler runs. It is a UDP socket connected to itself.

What Ctrl-C then does is in `interrupt`.
"""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import time
from typing import TYPE_CHECKING

from ..errors import (
    AddressUnavailableError,
    PortClosedError,
    ResourceLimitError,
    error_of_code,
)
from ..handles.sockets.socket_handle import SocketHandle
from ..winapi.errorcodes import STATUS_SUCCESS
from . import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from .home import Home
    from .operation import Operation

#: Those of the ports that are open: while there are any, the handler is in force.
_receivers: set[SignalReceiver] = set()

#: The receiver whose socket the interpreter writes to now: it has one such socket.
_holder: SignalReceiver | None = None


#: How long a look at who holds the wake-up socket is good for: it costs a system call.
_LOOK_S = 0.05


class Signals:
    """How one port's waits end when a signal comes, and who hears of it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        #: Made when the main thread first waits.
        self.receiver: SignalReceiver | None = None
        self.main_wanted = False
        """Whether the main thread is to have the next packet: see `rouse_main`."""
        self.main_returns = 0
        """How often the main thread has returned from its sleep; it counts itself."""

    def hold(self) -> float:
        """Have signals end the main thread's sleep; return for how many seconds they do.

        On any other thread it does nothing, and returns infinity.
        """
        if not interrupt.in_main_thread():
            return math.inf
        if self.receiver is None and not self._home.closing:
            # Closed by another thread, just now; or too much memory is locked, or sockets or
            # their numbers have run out: then the next wait tries again, and until then a
            # signal is noticed within a second.
            with contextlib.suppress(PortClosedError, ResourceLimitError, AddressUnavailableError):
                self.receiver = SignalReceiver(self._home, self.rouse_main)
        if self.receiver is None or self._home.closing:
            return math.inf
        return self.receiver.hold()

    def rouse_main(self) -> None:
        """Have the main thread return from its sleep, if it sleeps; called by another one.

        The kernel hands a packet to whichever thread it likes. So those that it wakes
        instead keep away from it until the main thread has had one.
        """
        main, returns = interrupt.main_thread, self.main_returns
        self.main_wanted = True
        try:
            while main in self._home.waiting and self.main_returns == returns:
                self._home.wake()
                time.sleep(0.001)
        finally:
            self.main_wanted = False

    def cancel(self) -> None:
        """Have the pending receive come back."""
        if self.receiver is not None:
            self.receiver.cancel()

    def release(self) -> None:
        """Give the interpreter's wake-up socket and the handler back."""
        if self.receiver is not None:
            self.receiver.release()


class SignalReceiver:
    """A socket on a port that the interpreter writes to when a signal comes.

    on_signal_elsewhere: called when a thread that is not the main one has taken the signal's
        byte off the port.

    Made by a port when it first waits in the main thread. One port at a time holds the
    interpreter's wake-up socket: `hold` takes it over. If other code holds it, such as an
    asyncio loop, it is left alone, and the wait's own limit bounds the delay of a Ctrl-C.

    Raises an `IocpError` if there is no socket for it, or no room for its receive;
    `PortClosedError` if the port is closed. Then it has left nothing behind.
    """

    def __init__(self, home: Home, on_signal_elsewhere: Callable[[], None]) -> None:
        # First of all: from now on KeyboardInterrupt does not come in the middle of this.
        interrupt.install()
        self._home = home
        self._on_signal_elsewhere = on_signal_elsewhere
        self._monotonic = home.kernel.monotonic
        _receivers.add(self)
        self._released = False
        self._look_again = 0.0
        try:
            with _open_socket() as made:
                self._number = made.fileno()
                self._handle = SocketHandle(
                    home, self._number, family=socket.AF_INET, internal=True
                )
                made.detach()
        except BaseException:
            self._leave()
            raise
        home.handles.discard(self._handle)  # closed here, not with the others
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
        if status == STATUS_SUCCESS and not self._home.closing:
            with contextlib.suppress(PortClosedError):
                self._receive.post()
            if not interrupt.in_main_thread():
                self._on_signal_elsewhere()

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
