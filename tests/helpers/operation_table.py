"""The table of operations: its rows, and a row on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import datagram_scenarios
import file_scenarios
import pipe_scenarios
import stream_scenarios
import waitable_scenarios
from faulty_kernel import FaultyKernel

from pyiocp import CompletionPort

if TYPE_CHECKING:
    from scenario import Scenario

SCENARIOS = [
    *stream_scenarios.SCENARIOS,
    *datagram_scenarios.SCENARIOS,
    *file_scenarios.SCENARIOS,
    *pipe_scenarios.SCENARIOS,
    *waitable_scenarios.SCENARIOS,
]


def row_name(row: type[Scenario]) -> str:
    """Return what a row is called in the names of tests."""
    return row.name().replace(" ", "-")


@contextlib.contextmanager
def open_scenario(row: type[Scenario], folder: Path) -> Iterator[Scenario]:
    """Open a port for a row; what is left on it at the end is cancelled, and nothing kept."""
    scenario = row(FaultyKernel(), folder)
    with CompletionPort(kernel=scenario.kernel) as port:
        scenario.port = port
        yield scenario
        assert [c for c in port.close() if c.error is None] == []
    assert port.in_flight == {}
