"""Fixtures of the tests of the declarations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from win32_helpers import Handles

from pyiocp.winapi import *


@pytest.fixture
def handles() -> Iterator[Handles]:
    """Handles that are closed when the test ends."""
    kept = Handles()
    yield kept
    kept.close_all()


@pytest.fixture
def iocp(handles: Handles) -> int:
    """A completion port."""
    return handles.keep(CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, 0))
