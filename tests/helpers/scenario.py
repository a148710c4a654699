"""Scenario: one overlapped operation, described once, for every way in which it can end.

The tests of `test_outcomes.py` and `test_leaks.py` run over all scenarios. So a kind of
operation is set up, started, helped to its end and made to fail in one place, and each
promise about its ends is written once.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from completions import ended, one
from faulty_kernel import FaultyKernel, Refusal
from stuck_call import StuckCall

from pyiocp import CompletionPort


class HasClose(Protocol):
    """What can be closed."""

    def close(self) -> object:
        """Close it."""


_Closable = TypeVar("_Closable", bound=HasClose)


class Outcome(enum.Enum):
    """The ways in which an operation ends: the columns of the table."""

    ON_THE_SPOT = "success on the spot"
    PENDING = "success after pending"
    FAILURE = "failure"
    REFUSED = "refused by the system, for want of memory"
    CANCELLED = "cancel before completion"
    TOO_LATE = "cancel that loses the race"
    CLOSED = "close with it pending"


ON_THE_SPOT, PENDING, FAILURE, REFUSED, CANCELLED, TOO_LATE, CLOSED = Outcome


@dataclass(frozen=True)
class Elsewhere:
    """A cell that a test of its own fills; the file is one below ``tests``."""

    file: str
    test: str


@dataclass(frozen=True)
class Impossible:
    """A cell that cannot be filled, and why."""

    reason: str


Cell = Elsewhere | Impossible


class Scenario:
    """One operation on a port, from the set-up of its handles to every way in which it ends.

    A context manager: inside, its handles are open. Most can be posted again and again;
    one that is ``spoiled`` by an end has to be set up anew for the next.
    """

    method: ClassVar[str]
    """The method that starts it, such as ``Stream.receive``."""
    variant: ClassVar[str] = ""
    """What is particular, if the same method appears more than once."""
    function: ClassVar[str | None] = None
    """The Win32 function behind it, which the REFUSED test has fail."""
    refusal: ClassVar[tuple[int, int]] = (8, 0)
    """The code that it is refused with, and what it returns then."""
    stuck_call: ClassVar[bool] = False
    """Whether it may end at once: then the seam keeps it pending for certain."""
    within_call: ClassVar[bool] = True
    """Whether every system ends it within the call when all is there; else, soon after."""
    surely_pending: ClassVar[bool] = True
    """Whether it cannot have ended when `post` returns; Wine 8 is done with a disconnect then."""
    failure: ClassVar[type[OSError] | tuple[type[OSError], ...]]
    """What `post_failing` ends in."""
    closed_error: ClassVar[type[BaseException] | None] = None
    """What closing its handle ends it in, if not in an `OperationCancelledError`."""
    spoiled: ClassVar[frozenset[Outcome]] = frozenset()
    cancel_is_told: ClassVar[bool] = True
    """Whether `cancel` says that it comes too late; else, only the completion does."""
    leaks: ClassVar[tuple[Outcome, ...]] = (PENDING, CANCELLED, REFUSED)
    """The ends that the leak test repeats."""
    renewable: ClassVar[bool] = True
    """Whether it is cheap enough to be set up hundreds of times."""
    wine_keeps_memory: ClassVar[bool] = False
    """Whether Wine 8 forgets to free memory of its own, each time."""
    cells: ClassVar[Mapping[Outcome, Cell]] = {}
    """The cells of the table that are not filled by the common tests."""

    def __init__(self, kernel: FaultyKernel, folder: Path) -> None:
        """Wrap what is wrapped of the kernel; the port is made after that."""
        self.kernel = kernel
        self.folder = folder
        self.port: CompletionPort
        self.refused = Refusal(*self.refusal)
        self.refused.enabled = False
        self.stuck: StuckCall | None = None
        if self.function is not None:
            self.stuck = StuckCall(kernel, self.function) if self.stuck_call else None
            kernel.wrap(self.function, self.refused)

    @classmethod
    def name(cls) -> str:
        """Return what the operation is called in the table."""
        return f"{cls.method} {cls.variant}".strip()

    def __enter__(self) -> Self:
        if self.stuck is not None:
            self.stuck.port = self.port
        self.stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self.stack)
            self.set_up()
            undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def renew(self) -> None:
        """Close its handles and open new ones."""
        self.__exit__()
        self.__enter__()

    def owns(self, thing: _Closable) -> _Closable:
        """Have a handle, a socket or a file closed at the end; return it."""
        self.stack.callback(thing.close)
        return thing

    def set_up(self) -> None:
        """Open the handles that it needs, each with `owns`; ``handle`` is what it works on."""
        raise NotImplementedError

    def post(self) -> Any:
        """Post it, so that it is pending until `complete`."""
        raise NotImplementedError

    def complete(self, operation: Any) -> None:
        """Have what is pending succeed."""
        raise NotImplementedError

    def post_ready(self) -> Any:
        """Post it when all is there that it needs, so that it succeeds on the spot."""
        raise NotImplementedError

    def post_stuck(self) -> Any:
        """Post it, so that it is pending until it is cancelled or closed."""
        return self.post() if self.stuck is None else self.held(self.post)

    def held(self, post: Callable[[], Any]) -> Any:
        """Post it with the seam, which keeps it pending."""
        assert self.stuck is not None
        self.stuck.enabled = True
        try:
            return post()
        finally:
            self.stuck.enabled = False

    def post_failing(self) -> Any:
        """Post what the system fails, by exception or by packet."""
        raise NotImplementedError

    def cancel(self, operation: Any) -> bool:
        """Cancel what is pending."""
        return bool(operation.cancel())

    def post_ended(self) -> Any:
        """Post it, and have it end without its completion being dequeued."""
        operation = self.post()
        self.complete(operation)
        self.wait_until_ended(operation)
        return operation

    def wait_until_ended(self, operation: Any) -> None:
        """Wait until it has ended, without dequeuing its completion."""
        assert ended(operation)

    def close(self) -> None:
        """Close the handle with the operation pending."""
        self.handle.close()  # type: ignore[attr-defined]

    def take(self) -> Any:
        """Return the one completion that has to come."""
        return one(self.port)

    def check(self, completion: Any) -> None:
        """Check what a success brings, and take away what it leaves for the next one."""
        raise NotImplementedError
