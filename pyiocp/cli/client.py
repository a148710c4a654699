"""Client: one connection of a load, which sends and checks what comes back.

It keeps a number of messages under way and sends the next as soon as one is back. With two or
more it would notice messages that overtake each other.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from ..servers.tcp.session import Session
from .content import Echo

if TYPE_CHECKING:
    from .client_load import Load
    from .content import Messages, SameSize


class Client(Session):
    """A client of the echo server. ``fault`` is what it has found wrong."""

    def __init__(self, load: Load, number: int, messages: Messages | SameSize, depth: int) -> None:
        self.number = number
        self.fault: str | None = None
        self.completed = 0
        """Messages that came back as they were sent."""
        self.sent_bytes = 0
        self.received_bytes = 0
        self._load = load
        self._messages = messages
        self._depth = depth
        self._echo = Echo()
        self._sent_at: deque[float] = deque()
        self._was_connected = False

    def on_connect(self) -> None:
        """Begin."""
        self._was_connected = True
        if self._load.finishing:
            self.close()
        else:
            for _ in range(self._depth):
                self._send_next()
        self._load.on_client_connected()

    def on_receive(self, data: memoryview) -> None:
        """Check what came, and send a message for each that is complete."""
        now = time.perf_counter()
        self.received_bytes += len(data)
        completed = self._echo.take(bytes(data))
        for _ in range(completed):
            self._load.round_trips_s.append(now - self._sent_at.popleft())
        self.completed += completed
        if self._echo.is_wrong:
            self._load.on_wrong()
            if self._echo.all_came():
                self.abort()
            return
        if not self._load.finishing:
            for _ in range(completed):
                self._send_next()
        elif not self._sent_at:
            self.close()

    def on_close(self, error: OSError | None) -> None:
        """Report what is wrong, now that nothing more will come."""
        if not self._was_connected:
            self.fault = f"not connected: {error}"
        else:
            self.fault = self._echo.fault()
            if self.fault is not None and error is not None and not self._echo.is_wrong:
                self.fault += f" ({error})"
            elif self.fault is None and error is not None:
                self.fault = f"broken off: {error}"
        self._load.on_client_ended(self)

    def _send_next(self) -> None:
        message = self._messages.next()
        self._echo.send(message)
        self._sent_at.append(time.perf_counter())
        self.sent_bytes += len(message)
        self.send(message)
