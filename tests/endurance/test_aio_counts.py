"""What asyncio takes for a message on pyiocp's loop, held under a ceiling.

`run.py python benchmarks/aio_counts.py` prints the figures, with `--loop stock` those of the
ProactorEventLoop. Where one has become smaller, the ceiling comes down in the same commit.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmark_programs import BENCHMARKS
from counts import Counts

CEILINGS = {
    "echo by a Protocol": Counts(330, 7, 7),
    "echo by a BufferedProtocol": Counts(380, 9, 13),
    "echo by streams": Counts(720, 30, 15),
    "connection: accept, echo, both ends": Counts(3250, 135, 90),
}
"""What was counted in 3.11, which takes most, and room for how the packets come in batches. The
ProactorEventLoop takes 948, 996, 1,314 and 3,389 bytecodes; 40, 42, 62 and 163 Python calls."""


def test_no_message_takes_more_than_its_ceiling(python: str | None) -> None:
    """Counted in a process of its own, with real connections."""
    command = [sys.executable, str(BENCHMARKS.parent / "run.py")]
    if python:
        command += ["--python", python]
    command += ["python", str(BENCHMARKS / "aio_counts.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert ended.returncode == 0, ended.stderr
    counted = {name: Counts(**values) for name, values in json.loads(ended.stdout).items()}
    assert CEILINGS.keys() == counted.keys()
    too_many = {
        name: found
        for name, found in counted.items()
        if any(count > most for count, most in zip(found, CEILINGS[name], strict=True))
    }
    assert too_many == {}
