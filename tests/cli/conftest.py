"""What the tests of the command line share: the command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from commands import HERE, Command


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Start Python with some arguments; stderr comes with stdout."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Command:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                # Under Wine standard streams have to be pipes.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
            )
            command = Command(process)
            stack.callback(command.clean_up)
            return command

        yield start


@pytest.fixture
def start_interruptible(start: Callable[..., Command]) -> Callable[..., Command]:
    """Start a command of pyiocp to which Ctrl-C can be sent."""
    return lambda *arguments: start(str(HERE / "interruptible.py"), *arguments)
