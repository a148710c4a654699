"""The model "completion-port": what all the others are measured against.

**How it works.** Operations are started as with the other overlapped models, by any thread.
When one ends, the kernel queues a packet to the port, and a thread takes it: any of those
that wait, and no more of them at a time than there are processors to run them. See
docs/how-iocp-works.md, which has the whole way of a packet.

**What a message costs.** WSARecv, WSASend, and a share of a GetQueuedCompletionStatusEx, which
brings up to 64 packets a call. Nothing has to look at connections that do nothing: 10,000 of
them cost memory and no time.

**Its limit.** None in number. The pages of the buffers that wait are locked, which counts
against a quota: see docs/page-locking.md.

**When to choose it.** For a server, on Windows.

Source: https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..port import CompletionPort
from .server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.kernel import Kernel
    from ..servers.tcp.session import Session


class CompletionPortServer(ModelServer):
    """A server on its own completion port."""

    model = "completion-port"

    def __init__(self, address: Any, factory: Callable[[], Session], kernel: Kernel | None) -> None:
        super().__init__()
        self._port = CompletionPort(kernel=kernel)
        try:
            self._listener = self._port.listen(address, factory)
        except BaseException:
            self._port.close()
            raise
        self.address = self._listener.address
        self._thread_id = 0

    @property
    def sessions(self) -> set[Session]:
        """The sessions that have not ended: a new set."""
        return set(self._listener.sessions)

    @property
    def accepted(self) -> int:
        """How many clients became sessions."""
        return self._listener.accepted

    @property
    def failed(self) -> int:
        """How many clients were gone, or their session could not be made, before that."""
        return self._listener.failed

    def stop(self) -> None:
        """Make `run` return; see `ModelServer.stop`."""
        self._port.stop()

    def _serve(self) -> None:
        self._thread_id = threading.get_ident()
        with self._port:
            self._port.run(threads=1)

    def _discard(self) -> None:
        self._port.close()

    def _runs_here(self) -> bool:
        return threading.get_ident() == self._thread_id
