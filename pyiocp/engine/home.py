"""Home: what a handle, an operation and a connection ask of the queue that they belong to.

A completion port's `CompletionQueue` is one, and so is the loop of each model in ``models``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections import deque
    from collections.abc import Callable, Collection, Iterator

    from ..handles.handle import Handle
    from .in_flight import InFlightTable
    from .kernel import Kernel
    from .packet import Event
    from .timers import ScheduledCall


class Home(Protocol):
    """Where operations are in flight, and where they are told to have ended.

    Thread safety: any thread may call any method.
    """

    kernel: Kernel
    error_codes: Iterator[int]
    """Gives the error code of the last call, for `endless_calls`."""
    handle: int
    """The kernel port, or 0 where there is none."""
    closing: bool
    """Whether nothing more is taken in."""
    closed: bool
    """Whether its number is no longer the kernel port's."""
    entry_lock: threading.RLock
    """Held by what lets a handle or a packet in, and by the close, which lets nothing more in."""
    in_flight: InFlightTable
    """Every packet that the kernel may still write to, by the address of its OVERLAPPED."""
    ready: deque[Event]
    """What has ended, first in, first out."""
    handles: set[Handle]
    """Those that have not been closed, or given back."""
    spare_locks: deque[threading.RLock]
    """Locks of handles that are gone, for others."""
    ifs_handles_by_family: dict[int, bool]
    """Whether sockets of a family are handles of the file system, once somebody has asked."""

    @property
    def waiting(self) -> Collection[int]:
        """The threads that sleep, or are about to: who appends to `ready` wakes one."""

    @property
    def port(self) -> Any:
        """What users know it by: the `CompletionPort`."""

    def enqueue(self, event: Event) -> None:
        """Append to `ready`, and wake a thread if all of them sleep."""

    def settle(self, operation: Any, address: int) -> None:
        """Complete an `Operation` that has ended, whether or not a packet comes for it."""

    def wake(self) -> None:
        """Make one waiting thread return."""

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called, after what is ready now."""

    def call_later(
        self, seconds: float, function: Callable[..., object], *arguments: Any
    ) -> ScheduledCall:
        """Have a function called after some seconds, unless that is cancelled."""
