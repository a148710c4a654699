"""TlsBacklog: the files that a session over TLS has to send, and what waits behind them.

Without a file there is no backlog: what is sent is encrypted at once. A file takes a while, and
what is sent after it waits behind it, unencrypted. Whenever there is room in the connection's
queue, the next block is read, encrypted and queued there. So memory holds at most that queue's
`high_water`, a block, and what waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ...errors import REFUSALS
from ..session_state import CLOSED, OPEN
from ..tcp.sending import FILES_MAX, MERGED_MAX
from .tls_file import TlsFile

if TYPE_CHECKING:
    from ...handles.sockets.transmit import FilePart
    from .tls_layer import TlsLayer


class TlsBacklog:
    """What waits, the first thing first. `go_on` runs within the inbox, the rest with the lock."""

    def __init__(self, layer: TlsLayer) -> None:
        self.bytes = 0
        """How many bytes wait, not counting files."""
        self.files = 0
        """How many files wait, including the one being read."""
        self._layer = layer
        self._entries: deque[bytes | TlsFile] = deque()

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def many_files(self) -> bool:
        """Whether so many files wait that `send` says False."""
        return self.files >= FILES_MAX

    def add(self, data: bytes) -> None:
        """Add bytes, to those that wait already if they are few."""
        self.bytes += len(data)
        last = self._entries[-1] if self._entries else None
        if isinstance(last, bytes) and len(last) + len(data) <= MERGED_MAX:
            self._entries[-1] = last + data
        else:
            self._entries.append(data)
        self._report()

    def _report(self) -> None:
        sends = self._layer.connection.sends
        with sends.lock:
            sends.bytes_above = self.bytes
            sends.report()

    def file(self, part: FilePart, *, close: bool) -> TlsFile:
        """Return a file that can wait here; raises as `Session.send_file`."""
        return TlsFile(part, self._on_read, close=close)

    def add_file(self, file: TlsFile) -> None:
        """Add a file, and begin with it if nothing waits before it."""
        self._entries.append(file)
        self.files += 1
        if len(self._entries) == 1:
            self._layer.connection.submit(self.go_on)

    def go_on(self) -> None:
        """Send what there is room for."""
        layer = self._layer
        while self._may_go_on():
            entry = self._entries[0]
            if isinstance(entry, TlsFile):
                if entry.reading or self._read(entry):
                    break
                continue
            with layer.lock:
                self._entries.popleft()
                self.bytes -= len(entry)
                self._report()
                layer.encrypt(entry)
        layer.went_on()

    def _may_go_on(self) -> bool:
        layer = self._layer
        ready = layer.established and layer.has_room and layer.below.state is OPEN
        return ready and bool(self._entries)

    def _read(self, file: TlsFile) -> bool:
        """Have the next block read; return False if the file is over."""
        layer = self._layer
        try:
            if file.read(layer.connection.open_stream.home):
                return True
        except (*REFUSALS, ValueError) as error:  # the latter for a file that is closed
            layer.connection.break_off(error)
            return True
        with layer.lock:
            self._entries.popleft()
            self.files -= 1
        file.end()
        return False

    def _on_read(self, file: TlsFile, count: int, status: int) -> None:
        self._layer.connection.inbox.deliver(self._take, file, count, status)

    def _take(self, file: TlsFile, count: int, status: int) -> None:
        """Encrypt a block that has been read, and go on."""
        layer = self._layer
        if layer.below.state is CLOSED:
            return
        try:
            block = file.take(count, status)
        except OSError as error:
            layer.connection.break_off(error)
            return
        with layer.lock:
            layer.encrypt(block)
        self.go_on()

    def drop(self) -> None:
        """Drop everything: the session has ended."""
        entries: list[Any] = []
        with self._layer.lock:
            entries, self._entries = list(self._entries), deque()
        for entry in entries:
            if isinstance(entry, TlsFile):
                entry.end()
