"""CPython's own tests of asyncio, some classes of them; `run.py conformance` runs all."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from deadline import DEADLINE_S

PROGRAM = Path(__file__).resolve().parents[2] / "tools" / "conformance" / "one_class.py"

CLASSES = (
    "test_streams.StreamTests",
    "test_buffered_proto.BufferedProtocolProactorTests",
    "test_sock_lowlevel.ProactorEventLoopTests",
    "test_sendfile.ProactorEventLoopTests",
    "test_server.ProactorStartServerTests",
)


@pytest.mark.skipif(
    importlib.util.find_spec("test.test_asyncio") is None,
    reason="this Python has no tests of its library: run.py conformance installs them",
)
@pytest.mark.parametrize("name", CLASSES)
def test_asyncio_passes_its_own_tests(name: str) -> None:
    command = [sys.executable, str(PROGRAM), "--loop", "pyiocp", name]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=5 * DEADLINE_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    outcomes = {
        line["test"]: (line["outcome"], line.get("detail"))
        for line in map(json.loads, ended.stdout.splitlines())
    }
    assert len(outcomes) > 0
    bad = {test: how for test, how in outcomes.items() if how[0] not in ("passed", "skipped")}
    assert bad == {}
    assert any(how[0] == "passed" for how in outcomes.values())
