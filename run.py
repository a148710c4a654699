#!/usr/bin/env python3
"""Set up what pyiocp needs on this machine, then run it: the same commands on every OS.

    python3 run.py demo [ARGS]           show I/O completion ports at work
    python3 run.py test [PYTEST ARGS]    every check and test; with arguments, those tests only
    python3 run.py check                 the static checks only (ruff, mypy)
    python3 run.py python ARGS...        Windows Python with pyiocp importable
    python3 run.py shell                 a Python console with a port and two connected streams
    python3 run.py bench [ARGS]          benchmarks: against other libraries; `calls`: cost per call
    python3 run.py soak [PYTEST ARGS]    the long tests, with a seed that can be given again
    python3 run.py coverage [ARGS]       the tests again, and which branches of pyiocp they take
    python3 run.py conformance [MODULES] CPython's tests of asyncio, with both loops
    python3 run.py setup                 only the set-up for all of these

    --python 3.12 (or 3.13t), right before or after the command: another version of Python

On Windows the commands run in a virtual environment beside this file (`.venv-3.13`). Elsewhere
they run in Windows CPython under Wine, which lives in `.cache` and is put together on first use:
the interpreter is python.org's build as carried by a wheel on PyPI, the standard library is the
host's, and mingw-w64 compiles a few lines of C. `tools/setup` does all that.

A fresh clone and Python are enough: nothing here needs more than the standard library. What it
does is said in lines that begin with `run.py:`, and every failure is one such line.
"""

from __future__ import annotations

import os
import platform
import random
import sys
from collections.abc import Callable
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 (it may be started with an older one)
    sys.exit(f"run.py: error: needs Python 3.11 or later; this is {platform.python_version()}")
# Also when it is imported from elsewhere, or Python was told to leave this folder out (-P).
sys.path.insert(0, str(Path(__file__).resolve().parent))

from tools.setup import coverage, debian, failures, library_tests, places, pytest_runs
from tools.setup.children import run_inherited
from tools.setup.command_line import parse, refuse
from tools.setup.extras import EXTRAS
from tools.setup.host_tools import HostTools
from tools.setup.messages import report, say
from tools.setup.versions import Version
from tools.setup.windows_python import windows_python


def command_setup(version: Version, arguments: list[str]) -> int:
    """Set up everything that the other commands need."""
    refuse(arguments)
    windows_python(version)
    HostTools().set_up()
    debian.require_programs(debian.COMPILERS_OF_PROOF)
    return 0


def command_demo(version: Version, arguments: list[str]) -> int:
    """Show what the library does."""
    return windows_python(version).run(["-m", "pyiocp", "demo", *arguments])


def command_python(version: Version, arguments: list[str]) -> int:
    """Run Windows Python; without arguments, interactively."""
    python = windows_python(version)
    return python.run(arguments) if arguments else python.interact(["-i"])


def command_shell(version: Version, arguments: list[str]) -> int:
    """Run `python -m pyiocp shell`: a console with a port and two connected streams."""
    return windows_python(version).interact(["-m", "pyiocp", "shell", *arguments])


def command_bench(version: Version, arguments: list[str]) -> int:
    """Run the benchmarks: servers in Windows Python, and their load where it is cheapest."""
    calls = arguments[:1] == ["calls"]
    script = f"benchmarks/{'calls' if calls else 'bench'}.py"
    arguments = arguments[1:] if calls else arguments
    if not (places.HERE / script).is_file():
        raise failures.Failure(f"{script} is not in this checkout")
    python = windows_python(version, EXTRAS if calls else (*EXTRAS, "peers"))
    if sys.platform == "win32":
        return python.run([script, *arguments], cwd=places.HERE)
    debian.require_programs(debian.COMPILERS_OF_BENCHMARKS)
    command = [sys.executable, script, "--python", version.text, *arguments]
    return run_inherited(command, cwd=places.HERE)


def command_conformance(version: Version, arguments: list[str]) -> int:
    """Run CPython's own tests of asyncio with pyiocp's loop, beside asyncio's."""
    tests = library_tests.find(version.minor)
    python = windows_python(version)
    os.environ["PYTHON_LIBRARY_TESTS"] = python.path(tests)
    return python.run(["tools/conformance/run.py", *arguments], cwd=places.HERE)


def command_soak(version: Version, arguments: list[str]) -> int:
    """Run the long tests, with a seed that repeats them when it is given again."""
    seed = os.environ.setdefault("PYIOCP_SEED", str(random.randrange(2**32)))
    say(f"seed {seed}; to run the same again: PYIOCP_SEED={seed} python3 run.py soak")
    return report(pytest_runs.soak(version, arguments, seed))


def command_coverage(version: Version, arguments: list[str]) -> int:
    """Run the tests, or those that are chosen, and tell which branches of the package they take."""
    return report(coverage.measure(version, arguments))


def command_check(_version: Version, arguments: list[str]) -> int:
    """Run the static checks."""
    refuse(arguments)
    tools = HostTools()
    tools.set_up()
    mypy = ["mypy", "--strict", "--platform"]
    return report(
        {
            "ruff check": tools.run(["ruff", "check", "."]),
            "ruff format --check": tools.run(["ruff", "format", "--check", "."]),
            "mypy": tools.run([*mypy, "win32", "pyiocp", "examples"]),
            "mypy of run.py": tools.run([*mypy, "linux", "run.py", "tools/setup"]),
        }
    )


def command_test(version: Version, arguments: list[str]) -> int:
    """Run every check and test, or the tests that the arguments choose."""
    results = {} if arguments else {"static checks": command_check(version, [])}
    return report(results | pytest_runs.test(version, arguments))


COMMANDS: dict[str, Callable[[Version, list[str]], int]] = {
    "demo": command_demo,
    "test": command_test,
    "check": command_check,
    "python": command_python,
    "shell": command_shell,
    "bench": command_bench,
    "conformance": command_conformance,
    "soak": command_soak,
    "coverage": command_coverage,
    "setup": command_setup,
}


def main() -> int:
    """Run the command that the command line names."""
    command, asked, arguments = parse(sys.argv[1:])
    if command in ("help", "-h", "--help"):
        print((__doc__ or "").strip(), flush=True)
        return 0
    if command not in COMMANDS:
        raise failures.Failure(f"no command {command!r}; there are {', '.join(COMMANDS)}")
    return COMMANDS[command](Version(asked) if asked else Version.running(), arguments)


if __name__ == "__main__":
    sys.exit(failures.exit_code(main))
