"""What the tests of the command line share: the command in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from commands import INTERRUPTIBLE, Command


@pytest.fixture
def start_interruptible(start: Callable[..., Command]) -> Callable[..., Command]:
    """Start a command of pyiocp to which Ctrl-C can be sent."""
    return lambda *arguments: start(INTERRUPTIBLE, "-m", "pyiocp", *arguments)
