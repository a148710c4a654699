"""The runs that last, each in a short form for every day and a long one for `run.py soak`.

They run in the Python of this machine, as clients of a server that runs in Python for Windows:
neither then takes the other's time, nor shares its locks. What is measured, and how, is in
`benchmarks`; here stands what the figures have to be.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture
def python() -> str | None:
    """Which Python for Windows serves: the one that `run.py test` or `run.py soak` is for."""
    return os.environ.get("PYIOCP_PYTHON")


@pytest.fixture
def load_generator() -> None:
    """See that the load generator can be compiled."""
    if os.name == "nt" and shutil.which("gcc") is None:
        pytest.skip("gcc is not on PATH: the load generator is in C")


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Return a function that notes figures, to be shown when all tests are through."""

    def note(**values: object) -> None:
        for name, value in values.items():
            shown = f"{value:,}" if isinstance(value, int) else value
            shown = f"{value:,.1f}" if isinstance(value, float) else shown
            record_property(name.replace("_", " "), shown)

    return note
