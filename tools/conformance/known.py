"""Tests that pass with the ProactorEventLoop and cannot pass with another loop: name to reason."""

from __future__ import annotations

KNOWN: dict[str, str] = {}
"""Names as ``test_streams.StreamTests.test_x``. An entry that is no longer needed is an error."""
