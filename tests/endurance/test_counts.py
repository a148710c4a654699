"""What an operation takes of bytecodes, Python calls and C calls, held under a ceiling.

`run.py bench calls --counts` prints the figures. Where one has become smaller, the ceiling comes
down in the same commit. A ceiling goes up only in a commit that says what the count pays for.
"""

from __future__ import annotations

import json

import counts
import pytest
from benchmark_programs import run
from counts import Counts

TABLE_OF = {"3.11": "3.11", "3.13": "3.13", "3.13t": "3.13"}
"""Versions of Python whose counts are known; without a GIL, 3.13 takes the same."""

CEILINGS = {
    "receive, by packet, one at a time": {
        "3.11": Counts(647.0, 16.0, 18.0),
        "3.13": Counts(591.0, 16.0, 18.0),
    },
    "receive, by packet, 64 at a time": {
        "3.11": Counts(220.5, 5.3, 3.3),
        "3.13": Counts(194.1, 5.3, 3.3),
    },
    "receive, on the spot, 64 at a time": {
        "3.11": Counts(211.0, 5.2, 3.2),
        "3.13": Counts(194.8, 5.2, 3.2),
    },
    "receive with a new operation": {
        "3.11": Counts(907.0, 26.0, 27.0),
        "3.13": Counts(821.0, 25.0, 27.0),
    },
    "post": {
        "3.11": Counts(279.5, 7.3, 7.3),
        "3.13": Counts(238.0, 7.3, 7.3),
    },
    "echo by a session, one connection": {
        "3.11": Counts(929.0, 20.0, 22.0),
        "3.13": Counts(874.0, 20.0, 22.0),
    },
    "echo by sessions": {
        "3.11": Counts(550.0, 11.2, 8.2),
        "3.13": Counts(521.6, 11.2, 8.2),
    },
    "echo by sessions, all on the spot": {
        "3.11": Counts(541.1, 11.1, 8.1),
        "3.13": Counts(523.0, 11.1, 8.1),
    },
    "echo by sessions, all by packet": {
        "3.11": Counts(550.0, 11.2, 8.2),
        "3.13": Counts(521.6, 11.2, 8.2),
    },
    "connection: accept, echo, reset": {
        "3.11": Counts(3907.5, 135.4, 83.5),
        "3.13": Counts(3596.4, 134.4, 83.5),
    },
    "broadcast, per session": {
        "3.11": Counts(176.2, 3.1, 2.1),
        "3.13": Counts(179.2, 3.1, 2.1),
    },
    "datagram received": {
        "3.11": Counts(718.0, 21.0, 19.0),
        "3.13": Counts(649.0, 21.0, 19.0),
    },
    "datagram sent": {
        "3.11": Counts(1378.0, 48.0, 54.0),
        "3.13": Counts(1241.0, 47.0, 54.0),
    },
    "datagram sent at once": {
        "3.11": Counts(454.0, 17.0, 30.0),
        "3.13": Counts(416.0, 17.0, 30.0),
    },
    "echo by a session of datagrams": {
        "3.11": Counts(483.4, 19.1, 18.0),
        "3.13": Counts(435.5, 19.1, 18.0),
    },
    "call_soon": {
        "3.11": Counts(100.5, 5.1, 2.2),
        "3.13": Counts(87.2, 5.1, 2.2),
    },
    "call_later, called": {
        "3.11": Counts(194.6, 6.2, 5.3),
        "3.13": Counts(175.1, 6.2, 5.3),
    },
    "call_later, cancelled": {
        "3.11": Counts(135.3, 5.1, 4.1),
        "3.13": Counts(121.2, 5.1, 4.1),
    },
}
"""What was counted with the kernel that returns at once, rounded up to one decimal."""


KINDS = ("bytecodes", "Python calls", "C calls")


def over(case: str, version: str, counted: Counts) -> list[str]:
    """Say which counts of a case are over their ceiling."""
    ceilings = CEILINGS[case][TABLE_OF[version]]
    return [
        f"{case}: {count:,.2f} {kind}, the ceiling for {version} is {ceiling:,}"
        for kind, count, ceiling in zip(KINDS, counted, ceilings, strict=True)
        if count > ceiling
    ]


@pytest.mark.usefixtures("load_generator")
def test_no_operation_takes_more_than_its_ceiling(python: str | None) -> None:
    """Counted in a process of its own, with all of the cases."""
    found = json.loads(run("calls.py", python, "--counts", "--json"))
    version = found["version"]
    if version not in TABLE_OF:
        pytest.skip(f"no ceilings for Python {version}: there are some for {', '.join(TABLE_OF)}")
    counted = {name: Counts(**values) for name, values in found["counts"].items()}
    assert CEILINGS.keys() == counted.keys() - {"a system call alone"}
    too_many = [text for case in CEILINGS for text in over(case, version, counted[case])]
    assert too_many == [], "\n".join(["", *too_many])


def called() -> None:
    """Do nothing."""


def test_counting_is_exact() -> None:
    """Three rounds more of a loop are three times the same, and nothing of the counter's own."""

    def rounds(number: int) -> Counts:
        data = [0] * number

        def turn() -> None:
            for _ in data:
                called()
                len(data)
                len(data)

        return counts.count(turn)

    none, one, four = rounds(0), rounds(1), rounds(4)
    assert (0, 0) == (none.python_calls, none.c_calls)
    assert (1, 2) == (one.python_calls, one.c_calls)
    assert (4, 8) == (four.python_calls, four.c_calls)
    assert one.bytecodes - none.bytecodes > 10
    assert four.bytecodes - none.bytecodes == 4 * (one.bytecodes - none.bytecodes)
