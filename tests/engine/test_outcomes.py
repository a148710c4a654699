"""Every operation, in every way in which it can end: the table of operations and outcomes.

The rows are the scenarios, the columns the outcomes, and each cell is a test against the
real functions. A cell without one says why, or which test elsewhere it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operation_table import SCENARIOS, open_scenario, row_name
from scenario import (
    CANCELLED,
    CLOSED,
    FAILURE,
    ON_THE_SPOT,
    PENDING,
    REFUSED,
    TOO_LATE,
    Elsewhere,
    Impossible,
    Outcome,
    Scenario,
)

import pyiocp
from pyiocp import (
    CompletionPort,
    IocpError,
    OperationCancelledError,
    PipeServer,
    ResourceLimitError,
)
from pyiocp.engine.operation import Packet
from pyiocp.handles.handle import Handle
from pyiocp.winapi import STATUS_PENDING

TESTS = Path(__file__).parents[1]

NO_OPERATIONS = {"Timer.wait"}
"""It only says what to call instead."""


def scenarios_of(outcome: Outcome) -> list[type[Scenario]]:
    """Return the rows that have a test of this outcome here."""
    return [row for row in SCENARIOS if outcome not in row.cells]


@pytest.fixture
def scenario(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scenario]:
    """One row of the table, set up; nothing of it may be in flight after the test."""
    with open_scenario(request.param, tmp_path) as scenario, scenario:
        yield scenario


def rows(outcome: Outcome) -> pytest.MarkDecorator:
    """Run a test over all rows that have this outcome."""
    return pytest.mark.parametrize("scenario", scenarios_of(outcome), indirect=True, ids=row_name)


# --- The table is whole ---------------------------------------------------------------------------


def test_every_method_that_starts_an_operation_has_a_row() -> None:
    """Those that return something with a completion, and `Directory.watch`, which keeps it."""
    results = {"Operation", *names_below(Packet)} - {"Packet", "PostedPacket"}
    kinds = [k for k in classes_below(Handle) if getattr(pyiocp, k.__name__, None) is k]
    starting = {
        f"{kind.__name__}.{name}"
        for kind in [CompletionPort, PipeServer, *kinds]
        for name in dir(kind)
        if not name.startswith("_") and returned_by(getattr(kind, name)) in results
    }
    for_later = {name for name in starting if name.endswith("_operation")}
    assert {row.method for row in SCENARIOS} == (starting - for_later - NO_OPERATIONS) | {
        "Directory.watch"
    }


def test_every_cell_is_a_test_or_a_reason() -> None:
    """A cell that names a test elsewhere names one that there is."""
    for row in SCENARIOS:
        for outcome, cell in row.cells.items():
            if isinstance(cell, Elsewhere):
                tree = ast.parse((TESTS / cell.file).read_text(encoding="utf-8"))
                there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
                assert cell.test in there, f"{row.name()}, {outcome.value}: no {cell}"
            else:
                assert isinstance(cell, Impossible)
                assert cell.reason


def test_rows_have_names_of_their_own() -> None:
    names = [row.name() for row in SCENARIOS]
    assert len(names) == len(set(names))


def classes_below(base: type) -> set[type]:
    """Return all classes that derive from one."""
    return {base, *(c for below in base.__subclasses__() for c in classes_below(below))}


def names_below(base: type) -> set[str]:
    """Return the names of all classes that derive from one."""
    return {kind.__name__ for kind in classes_below(base)}


def returned_by(method: Any) -> str:
    """Return the name of what a method is annotated to return."""
    return str(getattr(method, "__annotations__", {}).get("return", ""))


# --- The six ends, and refusal --------------------------------------------------------------------


def nothing_more(port: CompletionPort) -> None:
    """See that no second completion comes, and that nothing is in flight."""
    assert port.wait(0.02) == []
    assert port.in_flight_by_kind() == {}


@rows(ON_THE_SPOT)
def test_success_on_the_spot_completes_once(scenario: Scenario) -> None:
    """All is there when it is posted: it has ended before the port is asked, and comes once."""
    operation = scenario.post_ready()
    if scenario.within_call:
        assert operation.status != STATUS_PENDING
    else:
        scenario.wait_until_ended(operation)
    completion = scenario.take()
    assert (completion.operation, completion.error) == (operation, None)
    scenario.check(completion)
    nothing_more(scenario.port)


@rows(PENDING)
def test_success_after_pending_completes_once(scenario: Scenario) -> None:
    """It is in flight, then what it waits for comes, and then one completion."""
    operation = scenario.post()
    if scenario.surely_pending:
        assert scenario.port.in_flight_by_kind() == {operation.kind: 1}
    scenario.complete(operation)
    completion = scenario.take()
    assert (completion.operation, completion.error) == (operation, None)
    scenario.check(completion)
    nothing_more(scenario.port)


@rows(FAILURE)
def test_failure_is_raised_or_completes_once(scenario: Scenario) -> None:
    """What the system itself fails: by the call, and then nothing comes, or by one completion."""
    error: OSError | None = None
    try:
        operation = scenario.post_failing()
    except IocpError as raised:
        error = raised
    if error is None:
        completion = scenario.take()
        assert completion.operation is operation
        error = completion.error
    assert isinstance(error, scenario.failure)
    nothing_more(scenario.port)


@rows(REFUSED)
def test_refused_for_want_of_memory_takes_nothing(scenario: Scenario) -> None:
    """C14: the call fails, nothing is in flight, and what is posted after that works."""
    scenario.refused.enabled = True
    with pytest.raises(ResourceLimitError) as caught:
        scenario.post()
    assert caught.value.function == scenario.function
    assert scenario.refused.refused > 0
    nothing_more(scenario.port)
    scenario.refused.enabled = False
    operation = scenario.post()
    scenario.complete(operation)
    scenario.check(scenario.take())
    nothing_more(scenario.port)


@rows(CANCELLED)
def test_cancelled_before_it_ends_completes_once_as_cancelled(scenario: Scenario) -> None:
    """C05: cancel() says yes, the operation stays in flight, and one packet says cancelled."""
    operation = scenario.post_stuck()
    assert scenario.cancel(operation) is True
    completion = scenario.take()
    assert completion.operation is operation
    assert type(completion.error) is OperationCancelledError
    assert operation.cancel() is False
    nothing_more(scenario.port)


@rows(TOO_LATE)
def test_cancel_that_comes_too_late_delivers_the_success(scenario: Scenario) -> None:
    """C06: it has ended, nobody has dequeued it; cancel() says no, and all of it is delivered."""
    operation = scenario.post_ended()
    said_yes = scenario.cancel(operation)
    assert not (said_yes and scenario.cancel_is_told)
    completion = scenario.take()
    assert (completion.operation, completion.error) == (operation, None)
    scenario.check(completion)
    nothing_more(scenario.port)


@rows(CLOSED)
@pytest.mark.parametrize("what", ["handle", "port"])
def test_closed_with_it_pending_completes_it_once(scenario: Scenario, what: str) -> None:
    """C05: the table owns it until its packet; closing the port returns the completion."""
    operation = scenario.post_stuck()
    if what == "handle":
        scenario.close()
        assert operation.address in scenario.port.in_flight or operation.status != STATUS_PENDING
        completion = scenario.take()
        nothing_more(scenario.port)
    else:
        [completion] = scenario.port.close()
        assert scenario.port.in_flight == {}
    assert completion.operation is operation
    assert type(completion.error) is (scenario.closed_error or OperationCancelledError)
