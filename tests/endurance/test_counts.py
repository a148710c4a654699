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
        "3.11": Counts(659.0, 17.0, 18.0),
        "3.13": Counts(607.0, 17.0, 18.0),
    },
    "receive, by packet, 64 at a time": {
        "3.11": Counts(227.6, 5.3, 3.3),
        "3.13": Counts(202.2, 5.3, 3.3),
    },
    "receive, on the spot, 64 at a time": {
        "3.11": Counts(213.9, 5.2, 3.2),
        "3.13": Counts(196.7, 5.2, 3.2),
    },
    "receive with a new operation": {
        "3.11": Counts(919.0, 27.0, 27.0),
        "3.13": Counts(837.0, 26.0, 27.0),
    },
    "post": {
        "3.11": Counts(281.6, 7.3, 7.3),
        "3.13": Counts(240.2, 7.3, 7.3),
    },
    "echo by a session, one connection": {
        "3.11": Counts(957.0, 22.0, 24.0),
        "3.13": Counts(900.0, 22.0, 24.0),
    },
    "echo by sessions": {
        "3.11": Counts(572.0, 12.2, 10.2),
        "3.13": Counts(541.7, 12.2, 10.2),
    },
    "echo by sessions, all on the spot": {
        "3.11": Counts(559.1, 12.1, 10.1),
        "3.13": Counts(536.9, 12.1, 10.1),
    },
    "echo by sessions, all by packet": {
        "3.11": Counts(572.0, 12.2, 10.2),
        "3.13": Counts(541.7, 12.2, 10.2),
    },
    "connection: accept, echo, reset": {
        "3.11": Counts(3667.6, 128.5, 93.5),
        "3.13": Counts(3369.6, 127.5, 93.5),
    },
    "broadcast, per session": {
        "3.11": Counts(196.1, 5.1, 2.1),
        "3.13": Counts(199.1, 5.1, 2.1),
    },
    "datagram received": {
        "3.11": Counts(730.0, 22.0, 19.0),
        "3.13": Counts(665.0, 22.0, 19.0),
    },
    "datagram sent": {
        "3.11": Counts(1370.0, 49.0, 54.0),
        "3.13": Counts(1240.0, 48.0, 54.0),
    },
    "datagram sent at once": {
        "3.11": Counts(434.0, 17.0, 30.0),
        "3.13": Counts(399.0, 17.0, 30.0),
    },
    "echo by a session of datagrams": {
        "3.11": Counts(497.2, 19.1, 20.1),
        "3.13": Counts(445.1, 19.1, 20.1),
    },
    "call_soon": {
        "3.11": Counts(104.3, 5.1, 2.2),
        "3.13": Counts(91.1, 5.1, 2.2),
    },
    "call_later, called": {
        "3.11": Counts(210.3, 7.2, 6.3),
        "3.13": Counts(191.0, 7.2, 6.3),
    },
    "call_later, cancelled": {
        "3.11": Counts(138.0, 5.1, 5.1),
        "3.13": Counts(125.0, 5.1, 5.1),
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
