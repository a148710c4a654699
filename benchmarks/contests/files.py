"""Files: blocks read and written in no order, with some of them in flight."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from contest import Contest, Figure, Options
from server_process import ROOT, ServerError, python_command

DEPTHS = (1, 8, 32)


def measure(kind: str, depth: int, contender: str, options: Options) -> dict[str, float]:
    """Have a contender do the work, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        work = ("benchmarks/file_work.py", contender, kind, depth, options.seconds)
        command = [*python_command(options.python), *map(str, work), str(Path(folder, "blocks"))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError((done.stderr.strip() or "it ended without a word").splitlines()[-1])
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _contest(kind: str, depth: int) -> Contest:
    return Contest(
        f"file-{kind}-{depth}",
        f"A file {'read' if kind == 'read' else 'written'} in blocks of 64 KB, {depth} in flight",
        ("pyiocp", "threads"),
        partial(measure, kind, depth),
        (
            Figure("mb_per_s", "MB/s"),
            Figure("user_us", "user µs/block"),
            Figure("system_us", "system µs/block"),
        ),
    )


CONTESTS = [_contest(kind, depth) for kind in ("read", "write") for depth in DEPTHS]
