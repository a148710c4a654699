"""DEADLINE_S: how long tests wait for what comes in any case."""

from __future__ import annotations

DEADLINE_S = 60
"""Long enough for a machine with more to do than it can: a test takes it only if it fails.

It is no measure of anything. What has to be quick is compared with something else, not with it.
"""
