"""Every operation, thousands of times: as many handles and as much memory as before.

The rows of the table of operations drive it. Each is repeated through the ends that leave it
usable, also refused by the system (C14), and set up anew now and then.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from footprint import Footprint
from operation_table import SCENARIOS, open_scenario, row_name
from scenario import CANCELLED, ON_THE_SPOT, REFUSED, Outcome, Scenario
from wine import WINE

from pyiocp import OperationCancelledError, ResourceLimitError

RENEWED_EVERY = 20
"""Rounds between two set-ups of a scenario, if its operation does not ask for more."""

WARM_UP = 300
"""Rounds before the first measurement: free lists, caches and heaps have their size then.

Without a GIL, a heap takes longer: after 100 rounds it grew by up to 900 KB more, after 300 by 60.
"""

BATCHES_MAX = 12
"""How often the rounds are measured, as long as there is more memory than they may leave.

What is kept once, such as the next megabyte of Python's own heap, spreads over them; what is kept
each time does not.
"""


def end(scenario: Scenario, outcome: Outcome) -> None:
    """Have the operation end in one way, and take all of it."""
    if outcome is REFUSED:
        scenario.refused.enabled = True
        with pytest.raises(ResourceLimitError):
            scenario.post()
        scenario.refused.enabled = False
    elif outcome is CANCELLED:
        scenario.cancel(scenario.post_stuck())
        assert isinstance(scenario.take().error, OperationCancelledError)
    elif outcome is ON_THE_SPOT:
        scenario.post_ready()
        scenario.check(scenario.take())
    else:
        scenario.complete(scenario.post())
        scenario.check(scenario.take())


def run(scenario: Scenario, rounds: int) -> None:
    """End the operation so many times or a few more, in all its ways, to the same one at last.

    Some ends leave open for the next one what others do not.
    """
    period = math.lcm(len(scenario.leaks), RENEWED_EVERY)
    for n in range(math.ceil(rounds / period) * period):
        outcome = scenario.leaks[n % len(scenario.leaks)]
        end(scenario, outcome)
        if outcome in scenario.spoiled or (scenario.renewable and n % RENEWED_EVERY == 0):
            scenario.renew()


def grown(scenario: Scenario, rounds: int, growth_max: float) -> tuple[int, float]:
    """Return how many handles more there are after the rounds, and how many bytes for each batch.

    One batch of rounds, and more of them while the bytes are `growth_max` or more.
    """
    run(scenario, WARM_UP)
    before = Footprint.now()
    for batches in range(1, BATCHES_MAX + 1):
        run(scenario, rounds)
        now = Footprint.now()
        growth = (now.private_bytes - before.private_bytes) / batches
        if growth < growth_max:
            break
    return now.handles - before.handles, growth


@pytest.mark.parametrize(
    ("rounds", "growth_max"),
    [
        pytest.param(200, 100_000, id="200"),
        pytest.param(10_000, 1_000_000, id="10000", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("row", SCENARIOS, ids=row_name)
def test_rounds_leave_no_handle_and_no_memory(
    row: type[Scenario], rounds: int, growth_max: int, tmp_path: Path
) -> None:
    """C14: after the first rounds, which may, no more keep a handle, an operation or a buffer.

    A kept operation with its buffers is more than half a kilobyte. Under Wine the bytes of
    an operation whose buffers the system itself keeps are not counted.
    """
    most = math.inf if WINE and row.wine_keeps_memory else growth_max
    with open_scenario(row, tmp_path) as scenario, scenario:
        handles, growth = grown(scenario, rounds, most)
        assert scenario.port.in_flight_by_kind() == {}
    assert handles <= 0
    assert growth < most


def test_operation_that_keeps_a_buffer_each_time_is_found(tmp_path: Path) -> None:
    """The test above would fail: every batch has as much more, however many there are.

    A megabyte now and then: less could be of a piece that the heap has had all the time.
    """
    kept: list[bytearray] = []
    takes = itertools.count()
    row = next(row for row in SCENARIOS if row_name(row) == "Timer.every")

    class Keeping(row):  # type: ignore[misc, valid-type]
        def take(self) -> Any:
            if next(takes) % 40 == 0:
                kept.append(bytearray(1 << 20))
            return super().take()

    with open_scenario(Keeping, tmp_path) as scenario, scenario:
        _, growth = grown(scenario, 200, 100_000)
    assert growth >= 100_000
