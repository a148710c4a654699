"""Coverage: the tests in Windows Python again, and how many branches of pyiocp they take."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence

from . import places
from .failures import Failure
from .messages import say
from .pytest_runs import NOT_ON_HOST, in_parallel
from .versions import Version
from .windows_python import windows_python

BRANCHES_MIN_PERCENT = 95.0
"""How many of the package's branches the tests have to take."""


def measure(version: Version, arguments: Sequence[str]) -> dict[str, int]:
    """Run the tests, or those that are chosen, and return how each part went.

    The minimum applies only when all tests run.
    """
    folder = places.CACHE / f"coverage-{version.text}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    python = windows_python(version)
    os.environ["COVERAGE_FILE"] = python.path(folder / "data")  # also of what the tests start
    pytest = ["-m", "pytest", *NOT_ON_HOST, "--cov", "--cov-report="]
    pytest += arguments or in_parallel()
    results = {"tests in Windows Python": python.run(pytest, stdin=False, cwd=places.HERE)}
    python.run(["-m", "coverage", "report"], stdin=False, cwd=places.HERE)
    summary = folder / "summary.json"
    write_summary = ["-m", "coverage", "json", "--quiet", "-o", python.path(summary)]
    if python.run(write_summary, stdin=False, cwd=places.HERE):
        raise Failure("coverage has nothing to say: did no test run?")
    totals = json.loads(summary.read_text(encoding="utf-8"))["totals"]
    taken, branches = totals["covered_branches"], totals["num_branches"]
    percent = 100 * taken / branches
    say(f"{taken} of {branches} branches of pyiocp taken, {percent:.2f} %")
    if not arguments:
        enough = percent >= BRANCHES_MIN_PERCENT
        results[f"at least {BRANCHES_MIN_PERCENT:.0f} % of the branches"] = 0 if enough else 1
    return results
