"""Waitable: any object that can be waited for, on a completion port.

For a process, a thread, an event, a semaphore or a timer, `Waitable.wait` posts an operation that
completes when the object is signalled. Nothing is read or written, so there is no OVERLAPPED: the
packet has a tag (see `late_packets`), by which the operation is found in the in-flight table like
any other.

The thread that takes the operation out of that table completes it: the one that dequeues the
packet, or the one that cancels, if the system says that no packet comes. If it does not say (see
`object_wait`), the operation completes when all packets queued before the cancel have been routed.
"""

from __future__ import annotations

import ctypes
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine.endless_calls import endless_calls, error_codes
from ...engine.operation import Operation
from ...engine.packet import PENDING
from ...errors import HandleInvalidError, error_of_code
from ...winapi import (
    DUPLICATE_SAME_ACCESS,
    ERROR_INVALID_HANDLE,
    HANDLE,
    STATUS_CANCELLED,
    STATUS_PENDING,
    STATUS_SUCCESS,
)
from ..association import object_type
from ..handle import Handle
from .object_wait import Cancelled, ObjectWait, make_wait

if TYPE_CHECKING:
    from typing import Self

    from ...engine.completion import Completion
    from ...engine.kernel import Kernel
    from ...engine.queue import CompletionQueue


def duplicate(kernel: Kernel, number: Any) -> int:
    """Return a second handle of the object that the caller's handle `number` refers to.

    Raises TypeError for what is not a number, ValueError for one that no handle has,
    `HandleInvalidError` if it is not open.

    Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle
    """
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"the number of a handle is needed, not {number!r}")
    if number <= 0:
        raise ValueError(f"{number} is not the number of a handle")
    here, copy = kernel.GetCurrentProcess(), HANDLE()
    if kernel.DuplicateHandle(
        here, number, here, ctypes.byref(copy), 0, False, DUPLICATE_SAME_ACCESS
    ):
        assert copy.value is not None, "DuplicateHandle succeeded"
        return copy.value
    raise error_of_code("DuplicateHandle", kernel.last_error(), None, f"handle {number:#x}")


class WaitOperation(Operation):
    """A wait for an object to be signalled. It can be posted again once it has completed."""

    __slots__ = ("_code", "_wait", "_waitable")

    def __init__(self, waitable: Waitable, kind: str = "wait") -> None:
        super().__init__(waitable, kind)
        self._waitable = waitable
        self._wait: ObjectWait | None = None
        self._code = 0
        self._failure = 0
        self._arguments = ()

    @property
    def unwritten(self) -> bool:
        """Never: the packet itself says how the wait ended."""
        return False

    def _submit(self, announce: bool) -> bool:
        waitable = self._waitable
        with waitable.posting:
            if self.state is PENDING:
                raise RuntimeError(f"{self!r} is still pending: dequeue its completion first")
            waitable.check_free(self)
            # Lifetime: a new tag each time, so that a late packet, after a cancel that was
            # faster, finds no operation.
            self.address = waitable.home.tags.new()
            self._wait = waitable.take_wait()
            self.function_name = self._wait.function_name
            self._endless = endless_calls(self._start, (), error_codes(self._code_of_start))
            self.words[0] = STATUS_SUCCESS
            try:
                return super()._submit(announce)
            except BaseException:
                waitable.give_back(self)
                raise
            finally:
                del self._endless  # which holds the operation itself

    def _start(self) -> int:
        """Start waiting; 0 if that fails. Called with the handle's lock."""
        assert self._wait is not None, "_submit() has taken one"
        waitable = self._waitable
        waitable.waiting.add(self)
        self.words[0] = STATUS_PENDING
        self._code = self._wait.start(waitable.home.handle, waitable.number, self.address)
        return not self._code

    def _code_of_start(self) -> int:
        return self._code

    def cancel(self) -> bool:
        """Stop waiting.

        Returns True if the wait was stopped, False if it had ended already. Either way
        exactly one completion comes, and only that says what happened. A wait that is
        stopped leaves the object as it is: an event stays set, a semaphore keeps its count.

        Source: https://learn.microsoft.com/windows/win32/devnotes/ntcancelwaitcompletionpacket
        """
        with self.handle.lock:
            return self.cancel_locked()

    def cancel_locked(self) -> bool:
        """Stop waiting; called with the handle's lock."""
        home = self._waitable.home
        if self._wait is None or self.address not in home.in_flight:
            return False
        outcome = self._wait.cancel()
        if outcome is Cancelled.PACKET_COMES:
            return False
        self.words[0] = STATUS_CANCELLED
        if outcome is Cancelled.UNCERTAIN:
            # If there is a packet, it comes first, and says that the object was signalled.
            home.markers.call_when_passed(partial(self._end_cancelled, self.address))
        else:
            self._end_cancelled(self.address)
        return True

    def _end_cancelled(self, address: int) -> None:
        """Complete the wait that was submitted with this address, if no packet has."""
        self._waitable.home.complete(address, (self, 0, STATUS_CANCELLED))

    def finish(self, count: int, status: int) -> Completion:
        """Give back the object's wait."""
        self.words[0] = status
        self._waitable.give_back(self)
        return super().finish(count, status)


class Waitable(Handle):
    """An object that can be waited for, by a handle of its own.

    Made by ``CompletionPort.waitable``. Closing it closes that handle, not the caller's.

    Thread safety: any thread may call any method. Several waits may be pending at once:
    whether one or all of them end depends on the kind of object.
    """

    kind = "waitable"

    home: CompletionQueue

    def __init__(self, home: CompletionQueue, number: int, *, key: Any = None) -> None:
        #: Held while a wait is submitted, from before its tag is taken.
        self.posting = threading.Lock()
        #: The operations that have an `ObjectWait`; changed with the lock.
        self.waiting: set[WaitOperation] = set()
        self._idle: list[ObjectWait] = []
        super().__init__(home, number, key=key, skip_on_success=False)

    @classmethod
    def of_handle(cls, home: CompletionQueue, number: Any, key: Any) -> Self:
        """Return the waitable of the object of a caller's handle, which stays the caller's.

        Raises ValueError for a mutex, `HandleInvalidError` for a handle that is not open, and what
        `duplicate` raises.
        """
        kernel = home.kernel
        kind = object_type(kernel, number) if isinstance(number, int) and number > 0 else ""
        if kind is None:
            raise HandleInvalidError("DuplicateHandle", ERROR_INVALID_HANDLE, None, hex(number))
        if kind == "Mutant":
            raise ValueError(
                f"handle {number:#x} is of a mutex: who waits for one owns it, and here that"
                " would be a thread of the system's. Use a semaphore or an event"
            )
        return cls.owning(home, duplicate(kernel, number), key)

    @classmethod
    def owning(cls, home: CompletionQueue, number: int, key: Any) -> Self:
        """Return the waitable that owns the handle `number`; if that fails it is closed.

        Source: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-closehandle
        """
        try:
            return cls(home, number, key=key)
        except BaseException:
            home.kernel.CloseHandle(number)
            raise

    def wait(self) -> WaitOperation:
        """Wait until the object is signalled; the completion says that it is, or was.

        The wait has on the object the effect that any wait has: an event that resets itself
        is reset, a semaphore's count goes down. If the object is signalled already the
        completion comes at once, from the next wait of the port.

        Raises an `IocpError` if the system refuses (``ERROR_INVALID_HANDLE`` 6: no object
        that can be waited for; ``ERROR_ACCESS_DENIED`` 5: the handle lacks SYNCHRONIZE),
        `HandleClosedError` or `PortClosedError` after a close. Completes with
        `OperationCancelledError` if it is cancelled or the waitable is closed.

        Source: https://learn.microsoft.com/windows/win32/devnotes/ntassociatewaitcompletionpacket
        """
        operation = WaitOperation(self)
        operation.post()
        return operation

    def take_wait(self) -> ObjectWait:
        """Return an idle `ObjectWait`, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return make_wait(self.home.kernel)

    def give_back(self, operation: WaitOperation) -> None:
        """Take back an operation's `ObjectWait`, whose packet has come, or never will."""
        with self.lock:
            self.waiting.discard(operation)
            wait, operation._wait = operation._wait, None
            if wait is None:
                return
            if not self.closed:
                self._idle.append(wait)
                return
        wait.close()

    def check_free(self, operation: WaitOperation) -> None:
        """Raise RuntimeError if `operation` cannot be posted beside the others that are."""

    def _associate(self) -> None:
        """Do nothing: not the object is put on the port, but each wait for it."""

    def _leave_port(self) -> bool:
        self._close_idle()
        return True

    def _cancel_pending(self) -> None:
        for operation in list(self.waiting):
            operation.cancel_locked()

    def _close_number(self) -> None:
        # Lifetime: a wait whose packet is queued is not idle: it is closed when the packet has
        # been dequeued. If it were closed before, Windows might remove the packet from the port.
        self._close_idle()
        super()._close_number()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
