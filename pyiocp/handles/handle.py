"""Handle: what every kind of handle has in common: joining a port, closing, giving it back."""

from __future__ import annotations

import ctypes
import itertools
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import WINERROR_OF, HandleClosedError, closed_error, error_of_code
from ..winapi import (
    FILE_COMPLETION_INFORMATION,
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS,
    FILE_SKIP_SET_EVENT_ON_HANDLE,
    IO_STATUS_BLOCK,
    STATUS_SUCCESS,
    FileReplaceCompletionInformation,
)
from .association import association_error, skips_packets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..engine.home import Home
    from ..port import CompletionPort

_serials = itertools.count(1)


class Handle:
    """A handle or socket that is associated with a completion port.

    ``number`` is the Win32 handle, ``port`` the `CompletionPort`, ``key`` any object: it
    comes back with every completion, and may be changed at any time. A handle stays on its
    port until it is closed or given back with `detach`. ``associated`` tells whether the
    kernel has it on the port: after `detach`, whether Windows could not take it off.

    ``skips_on_success`` tells whether the kernel leaves out the packet of an operation
    that completes at once: it is what the kernel answered when asked.

    Lifetime: the port keeps the handle until it is closed, whatever the user drops.
    """

    kind = "handle"
    port: CompletionPort
    """The port that it is on. A port's internal handles have none, so they keep no port open."""
    winerror_of: ClassVar[Mapping[int, int]] = WINERROR_OF
    """The Win32 code for each NTSTATUS that an operation on this kind of handle may end in."""

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        key: Any = None,
        skip_on_success: bool = True,
        internal: bool = False,
    ) -> None:
        self.home = home
        if not internal:
            self.port = home.port
        self.number = number
        self.key = key
        self.internal = internal
        self.closed = False
        self.associated = False
        self.skips_on_success = False
        #: Held by a submission and by close(): the number must not be reused in between.
        #: Reentrant: a garbage collection may run anywhere, and what it finalizes, such as the
        #: generator of `read_blocks`, cancels its operations.
        try:
            self.lock = home.spare_locks.pop()
        except IndexError:
            self.lock = threading.RLock()
        # The lock keeps the port open: its number could be reused, and 0 would make a new port.
        with home.entry_lock:
            if home.closed:
                raise closed_error(home, f"it takes no {self.kind}")
            self._associate()
            self.associated = True
            self.skips_on_success = skip_on_success and bool(
                home.kernel.SetFileCompletionNotificationModes(
                    number, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE
                )
            )
            if not self.skips_on_success:
                # A previous owner may have set the mode, and nothing can unset it (C08).
                self.skips_on_success = skips_packets(home.kernel, number)
            home.handles.add(self)

    def _associate(self) -> None:
        """Have the kernel queue the handle's packets to the port; called with the entry lock."""
        # The kernel's key is a serial number, which helps in a debugger. Packets are routed by
        # the address of their OVERLAPPED, not by their key.
        kernel, serial = self.home.kernel, next(_serials)
        if kernel.CreateIoCompletionPort(self.number, self.home.handle, serial, 0) is None:
            raise association_error(kernel, self.number, kernel.last_error(), self)

    def close(self) -> None:
        """Close the handle. Operations still pending complete, as cancelled or aborted.

        Closing only asks: their memory stays the kernel's until their completions have
        been dequeued. Closing twice does nothing. Any thread may call it.

        Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-closesocket
        """
        self._close(cancel=True)

    def _close(self, cancel: bool) -> None:
        """Close; without `cancel` if the caller knows that nothing is pending."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            # Closing cancels too, but not everywhere: Wine leaves a send pending for as long
            # as the peer does not read, and its bytes then go nowhere.
            if cancel:
                self._cancel_pending()
            self._close_number()
        self.home.handles.discard(self)

    def _close_number(self) -> None:
        """Give the number back to the system."""
        self.home.kernel.CloseHandle(self.number)

    def cancel(self) -> None:
        """Ask the kernel to cancel every operation pending on the handle.

        Source: https://learn.microsoft.com/windows/win32/fileio/cancelioex-func
        """
        with self.lock:
            if not self.closed:
                self._cancel_pending()

    def _cancel_pending(self) -> None:
        """Ask the kernel to cancel all operations; called with the lock."""
        self.home.kernel.CancelIoEx(self.number, None)

    def detach(self) -> int:
        """Take the handle off the port and give it back: its number is the caller's to close.

        Windows 8.1 and later take it off, and it may join another port. Elsewhere it stays
        on this port for as long as it is open: ``associated`` then remains True, and what
        is posted on it by other means comes as a completion without an operation.

        A socket waits again, or does not, as it did when it came (see
        ``SocketHandle.set_blocking``). A UDP socket reports unreachable peers again as a new one
        does, whatever it came with: the system does not tell. One thing nothing can undo: it
        goes on leaving out the packets of operations that succeed at once, and not signalling
        the handle itself, if it did so here (``skips_on_success``).

        Raises RuntimeError while operations are in flight, `HandleClosedError` if it is
        closed or detached already. Any thread may call it.

        Source: https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntsetinformationfile
        """
        with self.lock:
            if self.closed:
                raise closed_error(self, "there is nothing to give back", HandleClosedError)
            self.check_idle("detached")
            self._restore()
            self.associated = not self._leave_port()
            self.closed = True
        self.home.handles.discard(self)
        return self.number

    def _restore(self) -> None:
        """Undo what this class has changed of the handle's modes; called with the lock."""

    def _leave_port(self) -> bool:
        """Take the handle off the port; tell whether the system could."""
        nowhere, outcome = FILE_COMPLETION_INFORMATION(), IO_STATUS_BLOCK()
        status = self.home.kernel.NtSetInformationFile(
            self.number,
            ctypes.byref(outcome),
            ctypes.byref(nowhere),
            ctypes.sizeof(nowhere),
            FileReplaceCompletionInformation,
        )
        return status == STATUS_SUCCESS

    def check_idle(self, wanted: str) -> None:
        """Raise RuntimeError while operations are in flight; `wanted` says what they prevent."""
        in_flight = list(self.home.in_flight.values())
        kinds = sorted({p.kind for p in in_flight if getattr(p, "handle", None) is self})
        if kinds:
            raise RuntimeError(
                f"{self!r} cannot be {wanted}: in flight on it are {', '.join(kinds)}."
                " cancel(), and wait() for their completions first"
            )

    def check_open(self, wanted: str) -> None:
        """Raise `HandleClosedError` if the handle is closed; `wanted` names the attempt."""
        if self.closed:
            raise closed_error(self, f"it takes no {wanted}", HandleClosedError)

    def _call(self, function: str, *arguments: Any) -> None:
        """Call a Win32 function of the handle; an `IocpError` if it returns 0."""
        with self.lock:
            self.check_open(function)
            kernel = self.home.kernel
            if getattr(kernel, function)(self.number, *arguments):
                return
            code = kernel.last_error()
        raise error_of_code(function, code, None, self)

    def __repr__(self) -> str:
        shown = "closed" if self.closed else f"{self.number:#x}"
        key = "" if self.key is None else f", key={self.key!r}"
        return f"<{type(self).__name__} {shown}{key}>"
