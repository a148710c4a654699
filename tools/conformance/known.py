"""Tests that pass with the ProactorEventLoop and cannot pass with another loop: name to reason."""

from __future__ import annotations

_PROACTOR = "it calls the ProactorEventLoop's own proactor"

KNOWN: dict[str, str] = {
    "test_windows_events.ProactorTests.test_address_argument_type_error": _PROACTOR,
    "test_windows_events.ProactorTests.test_connect_pipe_cancel": _PROACTOR,
    "test_windows_events.ProactorTests.test_wait_for_handle": _PROACTOR,
    "test_windows_events.ProactorTests.test_wait_for_handle_cancel": _PROACTOR,
}
"""Names as ``test_streams.StreamTests.test_x``. An entry that is no longer needed is an error."""
