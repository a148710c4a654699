"""Completions: waiting for them in tests, always with an end."""

from __future__ import annotations

import time
from typing import Any

from deadline import DEADLINE_S

from pyiocp import Completion, CompletionPort, Operation
from pyiocp.winapi import STATUS_PENDING


def one(port: CompletionPort) -> Any:
    """Return the one completion that there is; it may have to be waited for."""
    [completion] = port.wait(DEADLINE_S)
    return completion


def completions_of(port: CompletionPort, count: int) -> list[Completion]:
    """Wait for so many completions, and no more than that in the last batch."""
    seen: list[Completion] = []
    while len(seen) < count:
        completions = port.wait(DEADLINE_S)
        assert completions, f"only {seen} came"
        seen += completions
    assert len(seen) == count
    return seen


def ended(operation: Operation) -> bool:
    """Wait until the kernel has written the operation's end, which nobody has dequeued."""
    until = time.monotonic() + DEADLINE_S
    while operation.status == STATUS_PENDING and time.monotonic() < until:
        time.sleep(0.001)  # for the kernel to carry the bytes over; bounded above
    return operation.status != STATUS_PENDING
