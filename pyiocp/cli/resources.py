"""Resources: how many handles and operations a process holds, so that leaks show.

The first use leaves handles that are not leaks: DLLs are loaded, Winsock starts, and Windows keeps
a few threads. So a process counts its handles after it has done everything once, in `warm_up`,
and again when the port and its sessions are gone: up to 3.12 each Python lock is a handle too,
and a session has three. If each connection leaked a handle, the difference would be the number
of connections. `SLACK` allows for what Windows' own threads may come to hold meanwhile; the
figures are printed as they are.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any

from ..memory import kept_memory
from ..observing.handle_count import handle_count
from ..port import CompletionPort
from ..servers.tcp.session import Session
from .echo import EchoSession, Served

SLACK = 8
"""Handles by which a process may grow without it being called a leak."""

_WARM_UP_MAX_S = 20.0
_SETTLE_S = 2.0


@dataclass
class Resources:
    """What a process held before and after its work."""

    handles_before: int
    handles_after: int
    in_flight: int

    def leak(self) -> str | None:
        """Return what was left over; None if nothing was."""
        if self.in_flight:
            return f"{self.in_flight} operations are still in flight"
        if self.handles_after > self.handles_before + SLACK:
            more = self.handles_after - self.handles_before
            return f"there are {more} more handles than before ({self.handles_after})"
        return None


def count_in_flight(port: CompletionPort) -> int:
    """Return the operations that the kernel has not given back to this or an earlier port."""
    kept = sum(map(len, kept_memory.kept_for_ever))
    return len(port.in_flight) or kept


def count_handles() -> int:
    """Return how many Win32 handles this process has, after a garbage collection."""
    gc.collect()
    return handle_count()


def settle_handles(wanted: int) -> int:
    """Return the number of handles once it is `wanted`, or after a while.

    The system closes some of them a moment late, such as those of threads that have just ended.
    """
    deadline = time.monotonic() + _SETTLE_S
    count = count_handles()
    while count > wanted and time.monotonic() < deadline:
        time.sleep(0.05)
        count = count_handles()
    return count


def warm_up() -> None:
    """Do everything once: accept, connect, send, receive, close, on a port of its own."""
    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), lambda: EchoSession(Served()))
        client = port.connect(listener.address, lambda: _OneByte(port))
        deadline = port.call_later(_WARM_UP_MAX_S, port.stop)
        port.run()
        deadline.cancel()
        if client.data != b"w":
            raise TimeoutError(f"a first echo did not come back in {_WARM_UP_MAX_S:g} s")


class _OneByte(Session):
    """Sends one byte, and closes when it is back."""

    def __init__(self, port: Any) -> None:
        self._owner = port

    def on_connect(self) -> None:
        self.send(b"w")

    def on_receive(self, data: memoryview) -> None:
        self.data = bytes(data)
        self.close()

    def on_close(self, error: OSError | None) -> None:
        self._owner.stop()
