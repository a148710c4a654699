"""What several files of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from unanswered import Unanswered


@pytest.fixture
def unanswered() -> Iterator[Unanswered]:
    """An address at which nobody answers."""
    there = Unanswered()
    if not there.fill():
        there.close()
        pytest.skip("this system answers connections to a full backlog: Windows refuses them")
    yield there
    there.close()
