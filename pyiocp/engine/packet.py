"""Packet: what the in-flight table holds, and what a completion packet of the kernel names.

An `Operation` is one, and so is what somebody has posted. Each has an OVERLAPPED, and while it is
in the table the kernel may write to that.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..errors import WINERROR_OF
from ..memory.pages import extent_of
from ..winapi import OVERLAPPED
from ..winapi.errorcodes import STATUS_PENDING, error_name, status_name
from .completion import Completion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..memory.pages import Extent
    from .inbox import Inbox
    from .timers import Call, ScheduledCall

    Receiver = Callable[[Any, int, int], None]
    """Takes a packet, its byte count and its status instead of a `Completion`."""

    Event = tuple["Packet | Call | ScheduledCall | Inbox", int, int]
    """A packet whose operation has ended, its byte count and its NTSTATUS; or what is to be
    called: a function, or an inbox that an exception has left with something to do."""

_OVERLAPPED_SIZE = ctypes.sizeof(OVERLAPPED)


class State(enum.Enum):
    """Where an operation is in its life; see the drawing in `operation`."""

    IDLE = "idle"
    PENDING = "pending"
    COMPLETED = "completed"


IDLE, PENDING, COMPLETED = State


class Ends(NamedTuple):
    """How the system tells the end of one kind of operation, where it does not keep to the rule.

    The rule: a call that succeeds is over, and its packet comes unless the handle skips those; of
    one that fails with ERROR_IO_PENDING the packet tells; any other code is a refusal, and no
    packet comes.
    """

    certain: bool = True
    """Whether the packet of a success on the spot comes, or not, as the rule says."""
    statuses: Mapping[int, int] = MappingProxyType({})
    """Codes that are how the operation ended and no refusals, to the NTSTATUS that they stand for.
    No packet comes for a call that fails with one of them."""
    ordinary: frozenset[int] = frozenset()
    """The NTSTATUS of ends that are no errors, such as the end of a file."""
    warnings: frozenset[int] = frozenset()
    """Codes of a call that has done its work, and queues a packet unless the handle skips those.
    Whether it then leaves out this one as well, nobody says: Wine does."""


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
    ends: ClassVar[Ends] = Ends()
    """How the system tells that one of this kind has ended."""

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
            if winerror is not None and self.status not in self.ends.ordinary:
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
        Packet.__init__(self, "post")  # super() would be another call
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
