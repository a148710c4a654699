"""Runs of pytest: which tests run on this system and which in Windows Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from . import debian, places
from .host_tools import HostTools
from .versions import Version
from .windows_python import windows_python

HOST_FOLDERS = ("tests/runner", "tests/proof", "tests/endurance")
"""Tests that run in the interpreter that runs run.py; the others run in Windows Python."""

NOT_ON_HOST = tuple(f"--ignore={folder}" for folder in HOST_FOLDERS)
"""The arguments with which pytest leaves those out."""


def test(version: Version, arguments: Sequence[str]) -> dict[str, int]:
    """Run all tests, or those that the arguments choose, and return how each part went."""
    if arguments:
        host, windows = split_arguments(arguments)
    else:
        host, windows = [folder for folder in HOST_FOLDERS if has_tests(folder)], in_parallel()
    results: dict[str, int] = {}
    if host:
        results["tests on this system"] = run_on_host(version, host)
    if windows:
        results["tests in Windows Python"] = run_in_windows(version, windows)
    return results


def soak(version: Version, arguments: Sequence[str], seed: str) -> dict[str, int]:
    """Run the long tests, or some of them, and return how each part went."""
    if any(is_test_path(argument) for argument in arguments):
        host, windows = split_arguments(arguments)
    else:
        host, windows = [*HOST_FOLDERS, *arguments], ["tests", *arguments]
    pytest = ["-v", "-m", "soak", f"--hypothesis-seed={seed}", "--timeout=0"]
    results: dict[str, int] = {}
    if host:
        results["long tests on this system"] = run_on_host(version, [*pytest, *host])
    if windows:
        results["long tests in Windows Python"] = run_in_windows(version, [*pytest, *windows])
    # Arguments such as -k may well leave nothing to one of the two.
    nothing_left = 5 if len(results) > 1 and arguments else 0
    return {name: 0 if code == nothing_left else code for name, code in results.items()}


def run_on_host(version: Version, arguments: Sequence[str]) -> int:
    """Run tests in the interpreter that runs this; their servers run in Windows `version`."""
    tools = HostTools()
    tools.set_up()
    if any("proof" in argument for argument in arguments):
        debian.require_programs(debian.COMPILERS_OF_PROOF)
    if any("endurance" in argument for argument in arguments):
        debian.require_programs(debian.COMPILERS_OF_BENCHMARKS)  # they make the load
    os.environ["PYIOCP_PYTHON"] = version.text
    return tools.run(["pytest", *arguments])


def run_in_windows(version: Version, arguments: Sequence[str]) -> int:
    """Run tests in Windows Python."""
    command = ["-m", "pytest", *NOT_ON_HOST, *arguments]
    return windows_python(version).run(command, stdin=False, cwd=places.HERE)


def in_parallel() -> list[str]:
    """Return pytest's arguments for all tests, several at a time."""
    # Most tests wait most of the time: 829 of them took 119 s this way, one by one 240 s.
    return ["tests", f"--numprocesses={(os.cpu_count() or 1) + 1}"]


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split pytest's arguments into those for the host and those for Windows Python.

    A path decides where it runs; everything else goes along wherever a path does, and to Windows
    if there is no path at all.
    """
    destinations: list[str] = []
    for argument in arguments:
        path = path_of(argument)
        on_host = any(path.is_relative_to(places.HERE / folder) for folder in HOST_FOLDERS)
        to = "both" if not is_test_path(argument) else "host" if on_host else "windows"
        destinations.append(to)
    host = [a for a, to in zip(arguments, destinations, strict=True) if to != "windows"]
    windows = [a for a, to in zip(arguments, destinations, strict=True) if to != "host"]
    only_host = "host" in destinations and "windows" not in destinations
    return (host if "host" in destinations else []), ([] if only_host else windows)


def path_of(argument: str) -> Path:
    """Return what an argument of pytest is the path of, if it is one."""
    return (places.HERE / argument.partition("::")[0]).resolve()


def is_test_path(argument: str) -> bool:
    """Tell whether an argument of pytest is a path."""
    # Path.exists raises for a long expression of -k, as for a name that is too long.
    return not argument.startswith("-") and os.path.exists(path_of(argument))  # noqa: PTH110


def has_tests(folder: str) -> bool:
    """Tell whether a folder of tests exists and holds any."""
    return any((places.HERE / folder).rglob("test_*.py"))
