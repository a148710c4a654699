"""PortSettings: what a port is made with, for the layers that it is made of.

What belongs here: the values, and whether they are possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .kernel import Kernel
    from .signals import SignalReceiver


@dataclass(frozen=True)
class PortSettings:
    """The settings of a `CompletionPort`, as it documents them: a plain value.

    signal_receiver: makes what wakes a port's waits in the main thread when a signal comes.

    Raises ValueError for a number out of range.
    """

    concurrency: int
    batch: int
    kernel: Kernel
    signal_receiver: Callable[[Any], SignalReceiver]
    debug: bool

    def __post_init__(self) -> None:
        if not 0 <= self.concurrency <= 0xFFFFFFFF:
            value = self.concurrency
            raise ValueError(f"concurrency must be 0 or a number of threads, not {value}")
        if not 1 <= self.batch <= 65536:
            raise ValueError(f"batch must be between 1 and 65536 packets, not {self.batch}")
