"""What the tests of the examples share: a program that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from commands import Command, commands
from example_server import Server


@pytest.fixture
def serve(start: Callable[..., Command]) -> Callable[..., Server]:
    """Start an example with some arguments, and wait until it listens."""
    return lambda name, *arguments: Server(start, name, *arguments)


@pytest.fixture(scope="module")
def serve_all() -> Iterator[Callable[..., Server]]:
    """The same, for all tests of a file."""
    with commands() as start:
        yield lambda name, *arguments: Server(start, name, *arguments)
