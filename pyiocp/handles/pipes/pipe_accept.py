"""PipeAccept: waits for a client on an instance of a named pipe.

What belongs here: ConnectNamedPipe, and which of its failures are none.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ...engine.operation import Operation
from ...engine.packet import Ends
from ...winapi import HANDLE
from ...winapi.errorcodes import (
    ERROR_NO_DATA,
    ERROR_PIPE_CONNECTED,
    STATUS_PIPE_CLOSING,
    STATUS_PIPE_CONNECTED,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.completion import Completion
    from .pipe import Pipe


class PipeAccept(Operation):
    """An accept: ``accepted`` is the pipe with its client once its completion says success."""

    __slots__ = ("_on_end", "_pipe", "accepted")

    # The client was faster; or it has come and gone, and what it wrote can be read. No packet
    # comes for either, and there is a pipe to hand over in both cases.
    ends = Ends(
        statuses={ERROR_PIPE_CONNECTED: STATUS_PIPE_CONNECTED, ERROR_NO_DATA: STATUS_PIPE_CLOSING},
        ordinary=frozenset((STATUS_PIPE_CONNECTED, STATUS_PIPE_CLOSING)),
    )

    def __init__(
        self, pipe: Pipe, on_end: Callable[[Pipe, BaseException | None], None] | None = None
    ) -> None:
        super().__init__(pipe, "accept")
        self._pipe = pipe
        self._on_end = on_end
        self.accepted: Pipe | None = None
        self._calls(
            "ConnectNamedPipe",
            pipe.home.kernel.ConnectNamedPipe,
            0,
            HANDLE(pipe.number),
            ctypes.byref(self.overlapped),
        )

    def finish(self, count: int, status: int) -> Completion:
        """Hand the pipe over, and tell the server that its instance is no longer waiting."""
        completion = super().finish(count, status)
        if completion.error is None:
            self.accepted = self._pipe
        if self._on_end is not None:
            self._on_end(self._pipe, completion.error)
        return completion
