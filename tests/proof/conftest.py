"""Running the proof the way a person does; all runs share one folder of precompiled headers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the parts of the proof, for tests of one of them

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def prove(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run the proof with arguments; `tools` is the folder of another proof than this checkout's."""
    headers = str(tmp_path_factory.mktemp("headers"))

    def run(*arguments: str, tools: Path = ROOT / "tools") -> Run:
        command = [sys.executable, str(tools / "proof.py"), "--headers", headers, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run
