"""Without a GIL, a second thread does nearly as much as the first."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest
from scaling import GIVEN_MIN, REQUIRED, Load, Round, calibrated, run_round

WORK_US = 50.0


@pytest.mark.parametrize(
    ("seconds", "rounds", "tries_s"),
    [
        pytest.param(1.0, 1, 20.0, id="short"),
        pytest.param(
            4.0, 5, 400.0, id="5 rounds", marks=[pytest.mark.soak, pytest.mark.timeout(900)]
        ),
    ],
)
def test_two_threads_do_nearly_twice_as_much(
    load_generator: None,
    figures: Callable[..., None],
    python: str | None,
    seconds: float,
    rounds: int,
    tries_s: float,
) -> None:
    """A handler spends 50 us in Python a message: 2 threads do at least 1.7 times as many.

    Rounds in which the machine has not two processors to give say nothing about that, and are
    repeated for a while: two processes of pure work tell, right before and after. CPU time a
    message, which does not depend on that, may not grow much either.
    """
    if python is None or not python.endswith("t"):
        pytest.skip("needs a Python without a GIL: run.py --python 3.13t")
    turns = calibrated(WORK_US, python)
    load = Load(16, 16)
    tried: list[Round] = []
    counted: list[Round] = []
    until = time.monotonic() + tries_s
    while not tried or (len(counted) < rounds and time.monotonic() < until):
        tried.append(run_round(turns, load, seconds, python))
        counted = [once for once in tried if once.counts]
    cpu = [once.cpu_us[1] / once.cpu_us[0] for once in tried]
    figures(
        messages_a_second=[tuple(round(n) for n in once.messages_per_s) for once in tried],
        ratios=[round(once.ratio, 2) for once in tried],
        processors_given=[round(once.given, 2) for once in tried],
        cpu_time_a_message=[round(ratio, 2) for ratio in cpu],
    )
    assert median(cpu) <= 1.25
    if not counted:
        pytest.skip(f"this machine gave two processes less than {GIVEN_MIN} times the work of one")
    assert median(once.ratio for once in counted) >= REQUIRED
