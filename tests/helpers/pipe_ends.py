"""What the tests of pipes share: ends that are connected, and waiting for given operations."""

from __future__ import annotations

import itertools
import os
from typing import Any

from pyiocp import CompletionPort, Pipe

Ends = tuple[Pipe, Pipe]

_numbers = itertools.count()


def unused_name() -> str:
    """Return a name that no pipe has."""
    return f"pyiocp-{os.getpid()}-{next(_numbers)}"


def completions_of(port: CompletionPort, *operations: Any) -> list[Any]:
    """Wait until the operations have ended; return their completions, in this order."""
    ended: dict[Any, Any] = {}
    while not ended.keys() >= set(operations):
        completions = port.wait(60)
        assert completions, f"only {ended} of {operations} came"
        for completion in completions:
            assert completion.operation not in ended, "a second completion"
            ended[completion.operation] = completion
    assert len(ended) == len(operations)
    return [ended[operation] for operation in operations]


def connected(port: CompletionPort, *, message: bool = False, **settings: Any) -> Ends:
    """Return a server's and a client's end of a new pipe; nobody else can connect to it."""
    name = unused_name()
    with port.pipe_server(name, message=message, key="ours", **settings) as server:
        accept = server.accept()
        client = port.pipe(name, message=message, key="theirs")
        [completion] = completions_of(port, accept)
    assert completion.error is None
    assert accept.accepted is not None
    return accept.accepted, client
