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
drops. Neither ``cancel()`` nor closing the handle takes it out: only the packet does.

What belongs here: what all operations share. What is particular to one kind of handle
stands with that handle.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import WINERROR_OF, HandleClosedError, PortClosedError, error_of_code
from ..memory.pages import extent_of
from ..winapi import OVERLAPPED
from ..winapi.errorcodes import (
    ERROR_IO_PENDING,
    ERROR_NOT_FOUND,
    STATUS_PENDING,
    STATUS_SUCCESS,
    error_name,
    status_name,
)
from .completion import Completion
from .endless_calls import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..handles.handle import Handle
    from ..memory.pages import Extent

    Receiver = Callable[[Any, int, int], None]
    """Takes a packet, its byte count and its status instead of a `Completion`."""

_OVERLAPPED_SIZE = ctypes.sizeof(OVERLAPPED)


class State(enum.Enum):
    """Where an operation is in its life; see the drawing above."""

    IDLE = "idle"
    PENDING = "pending"
    COMPLETED = "completed"


IDLE, PENDING, COMPLETED = State


class Packet:
    """What the in-flight table holds: an OVERLAPPED that a completion packet will name.

    ``overlapped`` is the structure, at ``address``; ``kind`` says in a word what it is
    for; ``state`` where it is in its life; ``buffers`` are the caller's objects that the
    kernel reads or writes meanwhile; ``function_name`` is the Win32 function behind it.
    """

    buffers: Sequence[Any]
    function_name: str
    internal = False
    """Whether the port itself made it: then it counts as nobody's."""
    ordinary_ends: ClassVar[Mapping[int, int]] = MappingProxyType({})
    """Ends that the system reports as failures and that are none for this kind, such as the
    end of a file: the code of a call that ends so, for which no packet comes, and the
    NTSTATUS that stands for it, or with which a packet comes."""

    __slots__ = ("__weakref__", "address", "kind", "overlapped", "receiver", "state", "words")

    def __init__(self, kind: str) -> None:
        # Lifetime: the structure lives in a bytearray that both views below export, so
        # that it can neither move nor go while this packet exists; and the packet exists
        # while the in-flight table holds it.
        memory = memoryview(bytearray(_OVERLAPPED_SIZE))  # one export for both: 130 bytes less
        self.overlapped = OVERLAPPED.from_buffer(memory)
        self.address = ctypes.addressof(self.overlapped)
        # [0] is Internal, the status, and [1] InternalHigh, the byte count. Read this way
        # they cost 40 ns, as attributes of the structure 100 ns.
        self.words = memory.cast("P")
        self.kind = kind
        self.receiver: Receiver | None = None
        self.state = IDLE

    @property
    def key(self) -> Any:
        """The completion key that the user knows it by."""
        raise NotImplementedError

    @property
    def winerror_of(self) -> Mapping[int, int]:
        """What each NTSTATUS means here: see `errors`."""
        return WINERROR_OF

    @property
    def unwritten(self) -> bool:
        """Whether the OVERLAPPED says pending: the kernel has not written how it ended."""
        return self.words[0] == STATUS_PENDING

    @property
    def status(self) -> int:
        """The NTSTATUS that the kernel has written, unsigned; STATUS_PENDING while it runs."""
        return self.words[0] & 0xFFFFFFFF

    @property
    def transferred(self) -> int:
        """How many bytes the kernel has transferred, once the operation has completed."""
        return self.words[1] & 0xFFFFFFFF

    @property
    def memory(self) -> tuple[Any, ...]:
        """What the kernel may read or write; first the words of the OVERLAPPED."""
        return (self.words, self.overlapped, self.buffers)

    @property
    def extents(self) -> list[Extent]:
        """Where the buffers are whose pages are locked while it is in flight."""
        return [extent_of(buffer) for buffer in self.buffers]

    def finish(self, count: int, status: int) -> Completion:
        """Turn the end that the kernel reported into the completion that the user sees.

        Called once per packet, by the thread that dequeued it. Kinds with work to do at
        this point, such as an accept, extend it.
        """
        return Completion(self, self.key, count, status)

    def __repr__(self) -> str:
        shown = self.state.value
        if self.state is COMPLETED:
            shown += f", {self.transferred} bytes, {status_name(self.status)}"
            winerror = self.winerror_of.get(self.status)
            if winerror is not None and self.status not in self.ordinary_ends.values():
                shown += f" ({error_name(winerror)})"
        elif self.state is PENDING and self.buffers:
            with contextlib.suppress(ValueError):  # completed just now, and released
                shown += f", {sum(size for _, size in self.extents)} bytes of buffer"
        return f"<{type(self).__name__} {self.kind} at {self.address:#x}: {shown}>"


class PostedPacket(Packet):
    """A packet of the user's own, made by ``CompletionPort.post``."""

    __slots__ = ("_key",)

    buffers = ()
    function_name = "PostQueuedCompletionStatus"

    def __init__(self, key: Any) -> None:
        super().__init__("post")
        self._key = key

    @property
    def key(self) -> Any:
        """The key that it was posted with."""
        return self._key

    def __repr__(self) -> str:
        return f"<PostedPacket {self._key!r} at {self.address:#x}: {self.state.value}>"


class StrayPacket(PostedPacket):
    """A packet that no operation of this port accounts for: posted by other code."""

    __slots__ = ()

    def finish(self, count: int, status: int) -> Completion:
        """Return what is known of it: the number that it was posted with."""
        return Completion(None, self.key, count, status)


class Operation(Packet):
    """An overlapped request on one handle.

    Made by the methods of the handles (``stream.receive(…)``), which post it at once.
    ``handle`` is what it works on, ``buffers`` are the caller's objects that the kernel
    reads or writes.

    Thread safety: any thread may call any method.

    Source: https://learn.microsoft.com/windows/win32/sync/synchronous-and-asynchronous-i-o
    """

    packet_is_certain: ClassVar[bool] = True
    """Whether the system keeps to its rules about the packet of what ends on the spot."""
    prepares: ClassVar[bool] = False
    """Whether `prepare`, and `refused`, have something to do."""

    __slots__ = (
        "_arguments",
        "_attempts",
        "_failure",
        "_function",
        "buffers",
        "function_name",
        "handle",
    )

    queued_codes: ClassVar[frozenset[int]] = frozenset()
    """Codes of a failed call that has done its work and queues a packet all the same.

    The status behind such a code is a warning, and the kernel leaves out the packet of an
    operation that ends at once only for an error (and for a success, if told to).
    """
    outcomes: ClassVar[Mapping[int, int]] = MappingProxyType({})
    """Codes of a failed call that are how the operation ended, and no refusal; as NTSTATUS.

    No packet comes for them either. Unlike `ordinary_ends` they are errors.
    """

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
        self._attempts = attempts(function, arguments, self.handle.port.error_codes)

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
        renewed = attempts(self._function, arguments, self.handle.port.error_codes)
        address, words = ctypes.addressof(overlapped), memory.cast("P")
        # All or nothing: there is no call from here on that a signal handler may raise after.
        self._arguments, self._attempts = arguments, renewed
        self.overlapped, self.address, self.words = overlapped, address, words

    def prepare(self) -> None:
        """Get ready for a submission that nothing speaks against; with the lock of the handle."""

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
        queue = handle.port
        in_flight = queue.in_flight
        # The lock keeps close() from giving the handle's number away under the call.
        with handle.lock:
            if handle.closed:
                raise HandleClosedError(f"{handle!r} is closed: it takes no {self.kind}")
            if queue.closing:
                raise PortClosedError(f"{queue!r} is closed: it takes no {self.kind}")
            if self.state is PENDING:
                raise RuntimeError(f"{self!r} is still pending: dequeue its completion first")
            if self.words[0] == STATUS_PENDING:
                raise RuntimeError(f"{self!r} was abandoned by the kernel: make a new operation")
            if self.prepares:
                self.prepare()
                if handle.closed:  # by a signal handler, or by what a collection has ended
                    self.refused()  # type: ignore[unreachable]
                    raise HandleClosedError(f"{handle!r} is closed: it takes no {self.kind}")
            address = self.address
            # A signal handler may raise after a call and at the end of a loop's body. From here
            # until it is known who has the operation there is neither, if nobody observes the
            # table: see `attempts`.
            self.state = PENDING
            try:
                # Lifetime: in the table before the call, because another thread may dequeue
                # the packet before the call has returned here.
                in_flight[address] = self
            except BaseException:  # an observer of the table was interrupted
                self.state = IDLE
                in_flight.pop(address, None)
                raise
            for result, code in self._attempts:  # noqa: B007
                break
            if result != self._failure:
                # Completed. With skip-on-success in force no packet comes for it.
                packet_comes = not handle.skips_on_success if self.packet_is_certain else None
            elif code == ERROR_IO_PENDING:
                packet_comes = True  # Pending: the packet will tell.
            elif code in self.queued_codes:
                # Done, with a warning. Whether "skip on success" leaves out that packet too,
                # nobody says (Wine does).
                packet_comes = None if handle.skips_on_success else True
            else:
                # Failed: the kernel kept nothing, and no packet will come. A call may have
                # written STATUS_PENDING before it failed.
                packet_comes = False
                ends = self.ordinary_ends if code in self.ordinary_ends else self.outcomes
                if code not in ends:
                    if self.prepares:
                        self.refused()
                    self.words[0] = STATUS_SUCCESS
                    self.state = IDLE
                    try:
                        del in_flight[address]
                    except BaseException:  # an observer of the table was interrupted
                        in_flight.pop(address, None)
                        raise
                    raise error_of_code(self.function_name, code, None, self)
                # In name only: completed, after all.
                self.words[0], self.words[1] = ends[code], 0
            if packet_comes:
                return False
            if packet_comes is None:
                try:
                    queue.settle(self, address)
                except BaseException:  # of a signal handler
                    queue.settle(self, address)
                    raise
                return False
            event = None
            if announce:
                event = self, self.words[1] & 0xFFFFFFFF, self.words[0] & 0xFFFFFFFF
            try:
                del in_flight[address]
            except BaseException:  # an observer of the table was interrupted
                in_flight.pop(address, None)
                raise
            finally:
                if event is not None:
                    # Under the lock: close() takes it when it cancels, and finds what was
                    # submitted before that in flight or in the ready queue.
                    queue.ready.append(event)
            if announce and queue.waiting:
                queue.wake()
            return True

    def cancel(self) -> bool:
        """Ask the kernel to cancel the operation.

        Returns True if the kernel had it to cancel, False if it had ended already. Either
        way exactly one completion comes, and only that says what happened: an operation
        whose data won the race completes with its data.

        Source: https://learn.microsoft.com/windows/win32/fileio/cancelioex-func
        """
        handle = self.handle
        with handle.lock:
            if handle.closed or self.address not in handle.port.in_flight:
                return False
            handle.port.in_flight.cancel_asked(self)
            kernel = handle.port.kernel
            if kernel.CancelIoEx(handle.number, ctypes.byref(self.overlapped)):
                return True
            code = kernel.last_error()
        if code == ERROR_NOT_FOUND:
            return False
        raise error_of_code("CancelIoEx", code, None, self)
