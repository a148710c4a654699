"""Handle: what every kind of handle on a completion port has in common.

What belongs here: association with the port, skip-on-success, and closing. Operations
belong to the kinds.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import WINERROR_OF, HandleClosedError, PortClosedError, error_of_code
from ..winapi import FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..completion_queue import CompletionQueue

_serials = itertools.count(1)


class Handle:
    """A handle or socket that is associated with a completion port.

    ``number`` is the Win32 handle, ``port`` the completion port, ``key`` any object: it
    comes back with every completion, and may be changed at any time. Windows associates a
    handle for its whole life, so a handle stays on its port until it is closed.

    ``skips_on_success`` tells whether the kernel leaves out the packet of an operation
    that finishes on the spot: what it answered when asked, not what was hoped for.

    Lifetime: the port keeps the handle until it is closed, whatever the user drops.
    """

    kind = "handle"
    winerror_of: ClassVar[Mapping[int, int]] = WINERROR_OF
    """The Win32 code for the NTSTATUS that an operation ends in: the table for this kind."""

    def __init__(
        self,
        port: CompletionQueue,
        number: int,
        *,
        key: Any = None,
        skip_on_success: bool = True,
        internal: bool = False,
    ) -> None:
        self.port = port
        self.number = number
        self.key = key
        self.internal = internal
        self.closed = False
        #: Held by a submission and by close(): the number must not be reused in between.
        self.lock = threading.Lock()
        kernel = port.kernel
        # Under the lock the port stays: its number would be another's, and 0 means a new one.
        with port.door:
            if port.closed:
                raise PortClosedError(f"{port!r} is closed: it takes no {self.kind}")
            # The kernel's own key is a serial number: it shows in a debugger. Packets are
            # routed by their OVERLAPPED: socket numbers, and these, mean nothing to it.
            if kernel.CreateIoCompletionPort(number, port.handle, next(_serials), 0) is None:
                raise error_of_code("CreateIoCompletionPort", kernel.last_error(), None, self)
            self.skips_on_success = skip_on_success and bool(
                kernel.SetFileCompletionNotificationModes(
                    number, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE
                )
            )
            port.handles.add(self)

    def close(self) -> None:
        """Close the handle. Operations still pending complete, as cancelled or aborted.

        Closing only asks: their memory stays the kernel's until their completions have
        been dequeued. Closing twice does nothing. Any thread may call it.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-closesocket
        """
        with self.lock:
            if self.closed:
                return
            self.closed = True
            # Closing cancels too, but not everywhere: Wine leaves a send pending for as long
            # as the peer does not read, and its bytes then go nowhere.
            self.port.kernel.CancelIoEx(self.number, None)
            self._close_number()
        self.port.handles.discard(self)

    def _close_number(self) -> None:
        """Give the number back to the system."""
        self.port.kernel.CloseHandle(self.number)

    def cancel(self) -> None:
        """Ask the kernel to cancel every operation pending on the handle.

        Source: https://learn.microsoft.com/windows/win32/fileio/cancelioex-func
        """
        with self.lock:
            if not self.closed:
                self.port.kernel.CancelIoEx(self.number, None)

    def check_open(self, wanted: str) -> None:
        """Raise `HandleClosedError` if the handle is closed; `wanted` names the attempt."""
        if self.closed:
            raise HandleClosedError(f"{self!r} is closed: it takes no {wanted}")

    def __repr__(self) -> str:
        shown = "closed" if self.closed else f"{self.number:#x}"
        key = "" if self.key is None else f", key={self.key!r}"
        return f"<{type(self).__name__} {shown}{key}>"
