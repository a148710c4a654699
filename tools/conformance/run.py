"""Runs CPython's tests of asyncio with both loops, and compares; see the package."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from known import KNOWN

ONE_CLASS = Path(__file__).resolve().with_name("one_class.py")

MODULES = (
    "test_events",
    "test_streams",
    "test_server",
    "test_sendfile",
    "test_buffered_proto",
    "test_sock_lowlevel",
    "test_subprocess",
    "test_windows_events",
    "test_windows_utils",
    "test_ssl",
    "test_sslproto",
    "test_timeouts",
    "test_taskgroups",
    "test_tasks",
    "test_runners",
    "test_base_events",
    "test_futures",
    "test_locks",
    "test_queues",
    "test_threads",
    "test_transports",
    "test_waitfor",
    "test_context",
)

LOOPS = ("stock", "pyiocp")
OUTCOMES = ("passed", "failed", "error", "hung", "skipped")
LIMIT_S = 400.0
AT_A_TIME = 2


@dataclass
class Outcome:
    """How a test ended with one loop."""

    outcome: str
    detail: str = ""


@dataclass
class Both:
    """How a test ended with both loops."""

    stock: Outcome = field(default_factory=lambda: Outcome("missing"))
    pyiocp: Outcome = field(default_factory=lambda: Outcome("missing"))

    @property
    def worse(self) -> bool:
        """Whether it passes with the ProactorEventLoop only."""
        return self.stock.outcome == "passed" and self.pyiocp.outcome != "passed"


def lines(arguments: Iterable[str], limit: float) -> tuple[list[dict[str, str]], str]:
    """Return what a process has printed until it ended or the time was over, and its stderr."""
    process = start([sys.executable, str(ONE_CLASS), *arguments])
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")], errors


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a process; once more if that fails, as it does one time in a thousand in Wine 8."""
    pipe = subprocess.PIPE
    settings = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "text": True}
    try:
        return subprocess.Popen(command, **settings)
    except OSError:
        return subprocess.Popen(command, **settings)


def classes_of(module: str) -> list[str]:
    """Return the classes of tests in a module; exit if it cannot be loaded."""
    found, errors = lines(["--list", module], LIMIT_S)
    if not found:
        raise SystemExit(f"{module} cannot be loaded: {errors.strip()[-300:]}")
    names: list[str] = list(found[0]["classes"])
    return [f"{module}.{name}" for name in names if "Select" not in name]


def run_class(name: str, loop: str, limit: float) -> dict[str, Outcome]:
    """Return how each test of a class ended."""
    found, errors = lines(["--loop", loop, name], limit)
    outcomes: dict[str, Outcome] = {}
    for line in found:
        test = line["test"].removeprefix("test.test_asyncio.")
        outcomes[test] = Outcome(line["outcome"], line.get("detail", ""))
    for test, outcome in outcomes.items():
        if outcome.outcome == "begun":
            outcomes[test] = Outcome("hung", errors.strip()[-300:])
    if not found:
        outcomes[name] = Outcome("error", errors.strip()[-300:])
    return outcomes


def compare(name: str, limit: float) -> dict[str, Both]:
    """Return how each test of a class ended with both loops."""
    found: dict[str, Both] = {}
    for loop in LOOPS:
        for test, outcome in run_class(name, loop, limit).items():
            setattr(found.setdefault(test, Both()), loop, outcome)
    if any(both.worse for test, both in found.items() if test not in KNOWN):
        for test, outcome in run_class(name, "pyiocp", limit).items():
            both = found.setdefault(test, Both())
            if both.worse and outcome.outcome == "passed":
                both.pyiocp = Outcome("passed", "at the second try")
    return found


def show(results: dict[str, Both], seconds: float) -> None:
    """Print the tests that differ, and how many ended how."""
    for test, both in sorted(results.items()):
        if both.stock.outcome != both.pyiocp.outcome or both.pyiocp.detail == "at the second try":
            print(f"{test}\n    ProactorEventLoop: {both.stock.outcome} {both.stock.detail}")
            print(f"    pyiocp:            {both.pyiocp.outcome} {both.pyiocp.detail}")
            if test in KNOWN:
                print(f"    known:             {KNOWN[test]}")
    print()
    print(f"| {len(results):,} tests | ProactorEventLoop | pyiocp |\n| --- | ---: | ---: |")
    counts = [Counter(getattr(both, loop).outcome for both in results.values()) for loop in LOOPS]
    for outcome in (*OUTCOMES, "missing"):
        if any(count[outcome] for count in counts):
            print(f"| {outcome} | {counts[0][outcome]:,} | {counts[1][outcome]:,} |")
    print(f"\n{seconds:,.0f} s, Python {sys.version.split()[0]}")


def main() -> int:
    """Run the tests; return the exit code."""
    parser = argparse.ArgumentParser(prog="run.py conformance", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one class")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    options = parser.parse_args()
    begun = time.monotonic()
    results: dict[str, Both] = {}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        names = [name for found in pool.map(classes_of, options.modules) for name in found]
        for name, found in zip(
            names, pool.map(lambda name: compare(name, options.limit), names), strict=True
        ):
            counts = Counter(both.pyiocp.outcome for both in found.values())
            print(f"{name}: {dict(counts)}", file=sys.stderr, flush=True)
            results |= found
    show(results, time.monotonic() - begun)
    if options.json is not None:
        told = {
            test: {loop: vars(getattr(both, loop)) for loop in LOOPS}
            for test, both in results.items()
        }
        options.json.write_text(json.dumps(told, indent=1))
    worse = [test for test, both in results.items() if both.worse and test not in KNOWN]
    modules = {name.partition(".")[0] for name in options.modules}
    stale = [
        test
        for test in KNOWN
        if test.partition(".")[0] in modules and not (test in results and results[test].worse)
    ]
    for test in worse:
        print(f"FAILED: {test} passes with the ProactorEventLoop only")
    for test in stale:
        print(f"FAILED: {test} is among the known ones, and need not be")
    return 1 if worse or stale else 0


if __name__ == "__main__":
    sys.exit(main())
