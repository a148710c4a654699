"""What run.py makes of its command line and of pyproject.toml."""

import ast
import re
import sys
from types import ModuleType

import pytest
from checkouts import ROOT, Checkout


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("", ("help", None, [])),
        ("demo", ("demo", None, [])),
        ("--python 3.12 test -k name", ("test", "3.12", ["-k", "name"])),
        ("test --python 3.13t -k name", ("test", "3.13t", ["-k", "name"])),
        ("--python=3.12 python -c pass", ("python", "3.12", ["-c", "pass"])),
        ("python script.py --python 3.12", ("python", None, ["script.py", "--python", "3.12"])),
        ("python --version", ("python", None, ["--version"])),
    ],
)
def test_parse(run: ModuleType, line: str, parsed: object) -> None:
    """--python belongs to run.py right before or after the command, and else to the command."""
    assert run.parse(line.split()) == parsed


@pytest.mark.parametrize(
    ("line", "host", "windows"),
    [
        ("-k name", [], ["-k", "name"]),
        ("-x tests/runner", ["-x", "tests/runner"], []),
        ("tests -x", [], ["tests", "-x"]),
        (
            "tests/runner/conftest.py::name tests/../pyiocp -q",
            ["tests/runner/conftest.py::name", "-q"],
            ["tests/../pyiocp", "-q"],
        ),
    ],
)
def test_where_tests_run(run: ModuleType, line: str, host: object, windows: object) -> None:
    """A path decides where tests run; without one they run in Windows Python."""
    assert run.split_pytest_arguments(line.split()) == (host, windows)


def test_expression_longer_than_a_name_may_be_is_no_path(run: ModuleType) -> None:
    """The system would say "File name too long" if it was asked whether it is there."""
    arguments = ["-k", " or ".join(f"name{n}" for n in range(100))]
    assert run.split_pytest_arguments(arguments) == ([], arguments)


def test_extras_are_read_from_pyproject(run: ModuleType) -> None:
    """An extra that names another one brings what that requires."""
    test, dev = run.requirements(["test"]), run.requirements(["dev"])
    assert any(line.startswith("pytest>") for line in test)
    assert set(test) < set(dev)
    assert [line for line in dev if line.startswith("pyiocp")] == []


def test_help_names_every_command(run: ModuleType, empty_checkout: Checkout) -> None:
    """`run.py help` has a line for each command there is, and for no other."""
    done = empty_checkout.run("help")
    named = re.findall(r"^    python3 run\.py (\w+)", done.stdout, re.MULTILINE)
    assert sorted(named) == sorted(run.COMMANDS)


def test_run_py_needs_nothing_but_the_standard_library() -> None:
    """Whoever has just cloned the project has nothing else."""
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == set()
