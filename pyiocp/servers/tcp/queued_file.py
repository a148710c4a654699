"""QueuedFile: a file, or a part of one, in the queue of what a session sends."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ...handles.sockets.transmit import FilePart, SendFileOperation, check_part, file_number
from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.packet import Receiver
    from ...handles.sockets.stream import Stream

logger = logging.getLogger("pyiocp")


class _InParts(SendFileOperation):
    """A send of a file that reports each part of it that has been taken; see `Pace`."""

    __slots__ = ("_began_at", "_now", "_on_part", "_pace")

    def __init__(self, stream: Stream, part: FilePart, on_part: Callable[[int], None]) -> None:
        self._pace = Pace()
        super().__init__(stream, part, b"", b"")
        self._on_part = on_part
        self._now = stream.home.kernel.monotonic
        self._began_at = 0.0

    def _submit(self, announce: bool) -> bool:
        """Start the first part."""
        self._began_at = self._now()
        return super()._submit(announce)

    @property
    def call_max(self) -> int:  # type: ignore[override]  # it changes from part to part
        """Bytes of the next part."""
        return self._pace.size

    def part_ended(self, part: Any, count: int, status: int) -> None:
        """Report the part, then send the next."""
        now = self._now()
        self._pace.taken(count, now - self._began_at)
        self._began_at = now
        self._on_part(count)
        super().part_ended(part, count, status)


class LentFile:
    """A user's file while it is to be sent; with `close` it is closed at the end.

    Raises TypeError for anything but a file, ValueError for a closed file and bad numbers.
    """

    __slots__ = ("_close", "part")

    def __init__(self, part: FilePart, *, close: bool) -> None:
        file_number(part.file)  # raise now, where the caller sees it
        self.part = check_part(part)
        self._close = close

    def end(self) -> None:
        """Let go of it: it has been sent, or will not be."""
        if self._close:
            self._close = False
            try:
                self.part.file.close()
            except OSError:
                logger.exception("%r could not be closed after it had been sent", self.part.file)


class QueuedFile(LentFile):
    """A file that the system sends, with ``operation``.

    on_part: called when a part of it has been sent, with its bytes, by any worker.
    """

    __slots__ = ("operation",)

    def __init__(
        self,
        stream: Stream,
        part: FilePart,
        *,
        close: bool,
        receiver: Receiver,
        on_part: Callable[[int], None],
    ) -> None:
        super().__init__(part, close=close)
        self.operation = _InParts(stream, part, on_part)
        self.operation.receiver = receiver

    @property
    def piece_bytes(self) -> int:
        """How many bytes at most are under way, and not reported."""
        return self.operation.call_max
