"""Connections that come and go: every one is accounted for, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import storm

from pyiocp.cli.resources import SLACK


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "connections",
    [
        pytest.param(600, id="short"),
        pytest.param(20_000, id="20000", marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_storm_of_connections_leaves_nothing(
    figures: Callable[..., None], python: str | None, connections: int, threads: int
) -> None:
    """A third of the clients reset their connection, half of all do before they say anything.

    Each is either a session, whose on_close comes exactly once, or counted as failed: gone
    before it was accepted. Those that ended in order did so for the server, too.
    """
    sums = storm.measure(connections, python, threads)
    resets = storm.resets_of(connections)
    figures(
        connections=connections,
        reset=resets,
        seconds=sums["seconds"],
        sessions=sums["made"],
        gone_before_the_accept=sums["failed"],
        on_close_calls=sums["ended"] + sums["ended again"],
        ends=sums["ends"],
        handles_more=sums["handles"],
        in_flight_more=sums["in flight"],
    )
    assert sums["accepted"] + sums["failed"] == connections
    assert sums["made"] == sums["accepted"]
    assert sums["ended"] == sums["made"]
    assert sums["ended again"] == 0
    assert sums["open"] == sums["of the port"] == 0
    assert sums["ends"].get("in order", 0) >= connections - resets
    assert set(sums["ends"]) <= {"in order", "PeerResetError", "ConnectionLostError"}
    assert sums["handles"] <= SLACK
    assert sums["in flight"] == {}
