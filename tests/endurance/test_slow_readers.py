"""Clients that never read: they cost a bounded amount of memory, and others hardly notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import slow_readers
from observed import SEND_LIMIT, UPDATE_BYTES, WORLD


@pytest.mark.parametrize(
    ("slow", "prompt", "seconds", "rounds", "factor"),
    [
        # Half a minute in all, beside other tests: too little to tell 1 from 2.
        pytest.param(20, 50, 0.7, 5, 10.0, id="short"),
        pytest.param(
            200, 50, 5.0, 9, 2.0, id="200", marks=[pytest.mark.soak, pytest.mark.timeout(900)]
        ),
    ],
)
def test_slow_readers_cost_others_nothing(
    figures: Callable[..., None],
    python: str | None,
    slow: int,
    prompt: int,
    seconds: float,
    rounds: int,
    factor: float,
) -> None:
    """C36: the server broadcasts; some never read; the others' p99 does not double.

    A polite server leaves out whose `Session.send` said False, and so each keeps what it had
    then. One that insists has every slow reader aborted, at its send_limit. No message of the
    others is lost. On a machine whose p99 varies that much by itself, the ratio says nothing.
    """
    outcome = slow_readers.measure(slow, prompt, seconds, rounds, python)
    figures(
        slow_readers=slow,
        others=prompt,
        p99_ms_alone=[round(ms, 1) for ms in outcome.alone_ms],
        p99_ms_beside=[round(ms, 1) for ms in outcome.beside_ms],
        medians_ms=[round(ms, 1) for ms in outcome.medians_ms],
        waiting_bytes_polite=outcome.queued_bytes,
        waiting_bytes_most_of_one=outcome.queued_most_bytes,
        private_bytes_grew_by=outcome.private_growth_bytes,
    )
    assert outcome.lost == 0
    assert outcome.ends == {"SendQueueOverflowError": slow}
    # Of the first message each, the sockets' own buffers have taken some, which waits no more.
    most = (len(WORLD) + UPDATE_BYTES["polite"]) * slow
    assert len(WORLD) * slow // 8 <= outcome.queued_bytes <= most
    assert SEND_LIMIT < outcome.queued_most_bytes <= SEND_LIMIT + UPDATE_BYTES["insist"]
    # They share what waits for all of them: only what is each one's own counts once for each.
    assert outcome.private_growth_bytes <= 2 * SEND_LIMIT + slow * (1 << 16)
    if not outcome.holds(factor) and not outcome.calm:
        pytest.skip("p99 on this machine varies by more than slow readers could add")
    assert outcome.holds(factor)
