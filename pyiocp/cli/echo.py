"""The echo server: a session that sends back what comes, and the totals of a server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..servers.tcp.session import Session


@dataclass
class Served:
    """The totals of one server's sessions; each adds its figures when it ends."""

    connections: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    errors: list[str] = field(default_factory=list)
    """Why sessions ended that did not end in order."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class EchoSession(Session):
    """Sends back what comes; stops receiving while its peer does not take it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.received_bytes = 0
        self.sent_bytes = 0

    def on_receive(self, data: memoryview) -> None:
        """Send it back."""
        self.received_bytes += len(data)
        self.echo(data)

    def echo(self, data: memoryview | bytes) -> None:
        """Send data, and receive no more until there is room for it again."""
        self.sent_bytes += len(data)
        if not self.send(data):
            self.pause_receiving()

    def on_writable(self) -> None:
        """There is room again."""
        self.resume_receiving()

    def on_close(self, error: OSError | None) -> None:
        """Add what this session did."""
        with self.served.lock:
            self.served.connections += 1
            self.served.received_bytes += self.received_bytes
            self.served.sent_bytes += self.sent_bytes
            if error is not None:
                self.served.errors.append(str(error))
