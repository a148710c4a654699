"""The count that leaks show in."""

from __future__ import annotations

from pyiocp.handle_count import handle_count
from pyiocp.winapi import CloseHandle, CreateEventW


def test_every_handle_counts() -> None:
    """Three thousand events more are as many handles more."""
    before = handle_count()
    events = [CreateEventW(None, False, False, None) for _ in range(3000)]
    try:
        assert None not in events
        assert handle_count() == before + 3000
    finally:
        for event in events:
            CloseHandle(event)
    assert handle_count() == before
