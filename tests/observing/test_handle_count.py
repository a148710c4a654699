"""The count that leaks show in."""

from __future__ import annotations

import gc

import pytest

from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import CloseHandle, CreateEventW

EVENTS = 3000
# Other threads of the process that runs the tests open a handle now and then: up to
# CPython 3.12 each lock is one.
OTHERS = 20


def test_every_handle_counts() -> None:
    """Three thousand events more are as many handles more."""
    gc.collect()  # or what earlier tests have left is collected meanwhile, with its handles
    before = handle_count()
    events = [CreateEventW(None, False, False, None) for _ in range(EVENTS)]
    try:
        assert None not in events
        assert handle_count() == pytest.approx(before + EVENTS, abs=OTHERS)
    finally:
        for event in events:
            CloseHandle(event)
    assert handle_count() == pytest.approx(before, abs=OTHERS)
