"""Operation: one overlapped request, and who owns its memory while it runs.

The life of an operation::

    IDLE ──post()──▶ PENDING ──packet dequeued, or done on the spot──▶ COMPLETED
      ▲                │                                                   │
      └── the call ────┘ (it failed: an exception, and no completion)      │
                       ▲                                                   │
                       └──────────────── post() again ─────────────────────┘

From just before the system call until its completion is handed out, the operation is in
its port's in-flight table (or, finished on the spot, in the ready queue). The table is
its owner: it keeps alive the OVERLAPPED, the buffers and the handle, whatever the user
drops. Neither ``cancel()`` nor closing the handle takes it out: only its end does. That is its
packet, a success on the spot without one, or a refusal.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import HandleClosedError, closed_error, error_of_code
from ..winapi import OVERLAPPED
from ..winapi.errorcodes import (
    ERROR_IO_PENDING,
    ERROR_NOT_FOUND,
    STATUS_PENDING,
    STATUS_SUCCESS,
)
from .endless_calls import endless_calls
from .packet import COMPLETED, IDLE, PENDING, Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..handles.handle import Handle


class Operation(Packet):
    """An overlapped request on one handle.

    Made by the methods of the handles (``stream.receive(…)``), which post it at once.
    ``handle`` is what it works on, ``buffers`` are the caller's objects that the kernel
    reads or writes.

    Thread safety: any thread may call any method.

    Source: https://learn.microsoft.com/windows/win32/sync/synchronous-and-asynchronous-i-o
    """

    prepares: ClassVar[bool] = False
    """Whether `prepare`, and `refused`, have something to do."""

    __slots__ = (
        "_arguments",
        "_endless",
        "_failure",
        "_function",
        "buffers",
        "function_name",
        "handle",
    )

    def __init__(self, handle: Handle, kind: str) -> None:
        super().__init__(kind)
        self.handle = handle
        self.buffers = ()
        self.function_name = kind

    @property
    def internal(self) -> bool:  # type: ignore[override]
        """Whether the port itself made it: then it counts as nobody's."""
        return self.handle.internal

    def _calls(
        self, name: str, function: Callable[..., int], failure: int, *arguments: Any
    ) -> None:
        """Set the system call that starts the operation; `failure` is its bad result.

        The arguments are ctypes objects; kept here, they keep the memory behind them.
        """
        self.function_name = name
        self._failure = failure
        self._function = function
        self._arguments = arguments
        self._endless = endless_calls(function, arguments, self.handle.home.error_codes)

    def renew(self) -> None:
        """Take a fresh OVERLAPPED, with the same contents, for the next submission."""
        memory = memoryview(bytearray(self.words.cast("B")))
        overlapped = OVERLAPPED.from_buffer(memory)
        arguments = tuple(
            ctypes.byref(overlapped)
            if getattr(argument, "_obj", None) is self.overlapped
            else argument
            for argument in self._arguments
        )
        renewed = endless_calls(self._function, arguments, self.handle.home.error_codes)
        address, words = ctypes.addressof(overlapped), memory.cast("P")
        # All or nothing: there is no call from here on that a signal handler may raise after.
        self._arguments, self._endless = arguments, renewed
        self.overlapped, self.address, self.words = overlapped, address, words

    def prepare(self) -> None:
        """Get ready for a submission that has passed all checks; with the lock of the handle."""

    def refused(self) -> None:
        """Give back what was got ready, because the system refuses; with the lock."""

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read or write: also what the call's arguments point to."""
        return (*super().memory, self._arguments)

    @property
    def winerror_of(self) -> Mapping[int, int]:
        """What each NTSTATUS means on this kind of handle."""
        return self.handle.winerror_of

    @property
    def key(self) -> Any:
        """The completion key: whatever the user named the handle with."""
        return self.handle.key

    def post(self) -> None:
        """Submit the operation; once it has completed, submit it again as it is.

        The outcome, even one reached on the spot, comes as a completion. If the system
        refuses the request there is none: the error is raised here, the buffers are the
        caller's, and the operation may be posted again.

        Raises an `IocpError` for the system's refusal (``WSAENOTCONN``, ``WSAENOBUFS``
        …), `HandleClosedError` or `PortClosedError` after a close, and RuntimeError while
        it is pending.
        """
        self._submit(announce=True)

    def start(self) -> bool:
        """Submit the operation like `post`, but leave an outcome on the spot to the caller.

        Returns True if the operation has completed and no completion will come for it:
        the caller then does what is to be done. False if a completion will come.
        """
        if self._submit(announce=False):
            self.state = COMPLETED
            return True
        return False

    def _submit(self, announce: bool) -> bool:
        """Make the system call; True if it completed and the kernel queues no packet.

        announce: have the port hand out a completion then.
        """
        handle = self.handle
        home = handle.home
        in_flight = home.in_flight
        # The lock keeps close() from giving the handle's number away under the call.
        with handle.lock:
            if handle.closed or home.closing or self.state is PENDING:
                raise self._why_not()
            if self.words[0] == STATUS_PENDING:
                raise RuntimeError(f"{self!r} was abandoned by the kernel: make a new operation")
            if self.prepares:
                self.prepare()
                if handle.closed:  # by a signal handler, or by what a collection has ended
                    self.refused()  # type: ignore[unreachable]
                    raise self._why_not()
            address = self.address
            # A signal handler may raise after a call and at the end of a loop's body. From here
            # until it is known who has the operation there is neither: see `endless_calls`. But
            # an observed table makes calls. Where one of them is interrupted, the operation is
            # taken off the table again, which does nothing if it is off already.
            self.state = PENDING
            try:
                # Lifetime: in the table before the call, because another thread may dequeue
                # the packet before the call has returned here.
                in_flight[address] = self
            except BaseException:
                self.state = IDLE
                in_flight.pop(address, None)
                raise
            for result, code in self._endless:  # noqa: B007
                break
            if result != self._failure:
                # Completed: its packet comes, unless the handle skips those.
                doubtful = not self.ends.certain
                if not doubtful and not handle.skips_on_success:
                    return False
            elif code == ERROR_IO_PENDING:
                # Pending: its packet will tell.
                return False
            elif code in self.ends.warnings:
                # Completed, with a warning.
                doubtful = True
                if not handle.skips_on_success:
                    return False
            elif code in self.ends.statuses:
                # Completed, though the call says that it failed. No packet comes.
                doubtful = False
                self.words[0], self.words[1] = self.ends.statuses[code], 0
            else:
                # Failed: the kernel kept nothing, and no packet will come. The call may have
                # written STATUS_PENDING before it failed.
                if self.prepares:
                    self.refused()
                self.words[0] = STATUS_SUCCESS
                self.state = IDLE
                try:
                    del in_flight[address]
                except BaseException:
                    in_flight.pop(address, None)
                    raise
                raise error_of_code(self.function_name, code, None, self)
            if doubtful:
                try:
                    home.settle(self, address)
                except BaseException:
                    home.settle(self, address)
                    raise
                return False
            if announce:
                event = self, self.words[1] & 0xFFFFFFFF, self.words[0] & 0xFFFFFFFF
            else:
                event = None
            try:
                del in_flight[address]
            except BaseException:
                in_flight.pop(address, None)
                raise
            finally:
                if event is not None:
                    # Under the lock: close() takes it when it cancels, and finds what was
                    # submitted before that in flight or in the ready queue.
                    home.ready.append(event)
            if announce and home.waiting:
                home.wake()
            return True

    def _why_not(self) -> Exception:
        """Return why it cannot be submitted now."""
        handle = self.handle
        if handle.closed:
            return closed_error(handle, f"it takes no {self.kind}", HandleClosedError)
        if handle.home.closing:
            return closed_error(handle.home, f"it takes no {self.kind}")
        return RuntimeError(f"{self!r} is still pending: dequeue its completion first")

    def cancel(self) -> bool:
        """Ask the kernel to cancel the operation.

        Returns True if the kernel had it to cancel, False if it had ended already. Either
        way exactly one completion comes, and only that says what happened: an operation
        whose data won the race completes with its data.

        Source: https://learn.microsoft.com/windows/win32/fileio/cancelioex-func
        """
        handle = self.handle
        with handle.lock:
            if handle.closed or self.address not in handle.home.in_flight:
                return False
            handle.home.in_flight.cancel_asked(self)
            kernel = handle.home.kernel
            if kernel.CancelIoEx(handle.number, ctypes.byref(self.overlapped)):
                return True
            code = kernel.last_error()
        if code == ERROR_NOT_FOUND:
            return False
        raise error_of_code("CancelIoEx", code, None, self)
