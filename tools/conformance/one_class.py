"""Runs one class of CPython's tests of asyncio, with the loop that is asked for.

    python one_class.py --list test_streams
    python one_class.py --loop pyiocp test_streams.StreamTests

It prints a line of JSON for each test as it begins and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import unittest
from pathlib import Path
from typing import Any

FOLDER = "test.test_asyncio"


def say(**what: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(what), file=sys.__stdout__, flush=True)


class Telling(unittest.TestResult):
    """Tells of each test as it begins and ends."""

    def startTest(self, test: unittest.TestCase) -> None:
        """A test begins."""
        super().startTest(test)
        self._outcome, self._detail = "passed", ""
        say(test=test.id(), outcome="begun")

    def stopTest(self, test: unittest.TestCase) -> None:
        """A test has ended."""
        super().stopTest(test)
        say(test=test.id(), outcome=self._outcome, detail=self._detail)

    def _note(self, outcome: str, error: Any) -> None:
        self._outcome = outcome
        self._detail = f"{error[0].__name__}: {error[1]}"[:300]

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        """A test has raised."""
        super().addError(test, err)
        if isinstance(test, unittest.TestCase):
            self._note("error", err)
        else:  # setUpClass and its like
            say(test=test.id(), outcome="error", detail=str(err[1])[:300])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        """A test has failed."""
        super().addFailure(test, err)
        self._note("failed", err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:
        """A part of a test has ended."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note("failed", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """A test is left out."""
        super().addSkip(test, reason)
        if hasattr(self, "_outcome"):
            self._outcome, self._detail = "skipped", reason
        else:
            say(test=test.id(), outcome="skipped", detail=reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        """A test has failed, as it should."""
        super().addExpectedFailure(test, err)
        self._outcome = "skipped"


def replace_loop() -> None:
    """Have pyiocp's loop made where a ProactorEventLoop would be."""
    # Not before: without it, nothing of pyiocp is in the process.
    windows_events: Any = importlib.import_module("asyncio.windows_events")
    loop = importlib.import_module("pyiocp.aio").EventLoop
    replaced = windows_events.ProactorEventLoop
    for module in (asyncio, windows_events):
        for name, value in list(vars(module).items()):
            if value is replaced:
                setattr(module, name, loop)
    for policy in ("WindowsProactorEventLoopPolicy", "_WindowsProactorEventLoopPolicy"):
        found = getattr(windows_events, policy, None)
        if found is not None:
            found._loop_factory = loop


def add_library_tests() -> None:
    """Find the tests where PYTHON_LIBRARY_TESTS says, if this Python has none of its own."""
    folder = os.environ.get("PYTHON_LIBRARY_TESTS")
    if folder:
        library_tests: Any = importlib.import_module("test")
        library_tests.__path__.append(folder)


def classes(module: Any) -> list[str]:
    """Return the classes of a module that have tests, by their names."""
    loader = unittest.TestLoader()
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
        and loader.getTestCaseNames(value)
    ]


def main() -> None:
    """Run a class, or list those of a module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--loop", choices=("stock", "pyiocp"), default="stock")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    # In the place of this file's folder, whose names are not for the tests.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    add_library_tests()
    module_name, _, class_name = options.name.partition(".")
    if options.loop == "pyiocp":
        replace_loop()
    module = importlib.import_module(f"{FOLDER}.{module_name}")
    if options.list:
        say(classes=classes(module))
        return
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(module, class_name))
    # As CPython's own runner does, which sets the module up.
    set_up, tear_down = (getattr(module, f"{n}Module", None) for n in ("setUp", "tearDown"))
    if set_up is not None:
        set_up()
    suite.run(Telling())
    if tear_down is not None:
        tear_down()


if __name__ == "__main__":
    main()
