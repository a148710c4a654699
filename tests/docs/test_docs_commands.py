"""The commands that the pages show exist, and take the arguments that are shown."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from types import ModuleType

import pytest
from pages import ROOT, Block, all_blocks

from pyiocp.cli import command_line


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """run.py, as a module."""
    specification = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["run"] = module
    try:
        specification.loader.exec_module(module)
        yield module
    finally:
        del sys.modules["run"]


def typed_lines(block: Block) -> list[list[str]]:
    """Return the words of each line that a console block says to type, up to ``#`` or ``<``."""
    lines = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    return [shlex.split(re.split(r" [<>] ", line)[0], comments=True) for line in lines]


COMMANDS = [(str(block), words) for block in all_blocks("console") for words in typed_lines(block)]


def check(words: list[str], runner: ModuleType) -> None:
    """Fail if there is no such command, or if it does not take these arguments."""
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]  # a variable for this command only
    match words:
        case ["python3" | "python", "run.py", *arguments]:
            if arguments == ["--help"]:
                return  # which parse() itself answers, and ends
            command, _version, rest = runner.parse(arguments)
            assert command in runner.COMMANDS
            if command == "demo":
                parse_pyiocp(["demo", *rest])
            elif command == "test":
                check_test_arguments(rest)
            elif command == "python" and rest[:1] == ["-m"]:
                check(["python", *rest], runner)
            elif command == "python" and rest and rest[0].endswith(".py"):
                assert (ROOT / rest[0]).is_file()
        case ["python3" | "python", "-m", "pyiocp", *arguments]:
            parse_pyiocp(arguments)
        case ["python3" | "python", "-m", module, *_] if module.startswith("pyiocp."):
            assert importlib.util.find_spec(module) is not None
        case ["python3" | "python", "-m", "pip", "install", *_]:
            assert (ROOT / "pyproject.toml").is_file()
        case ["python3" | "python", script, *_] if script.endswith(".py"):
            assert (ROOT / script).is_file()
        case ["sphinx-build", *arguments]:
            assert (ROOT / "docs" / "conf.py").is_file()
            assert "docs" in arguments
        case _:
            raise AssertionError(f"{words}: say here how to check it")


def check_test_arguments(arguments: list[str]) -> None:
    """Every file that is shown as an argument of pytest exists."""
    for argument in arguments:
        if argument.startswith("tests"):
            assert (ROOT / argument.partition("::")[0]).exists()


def parse_pyiocp(arguments: list[str]) -> None:
    """Have the command line itself read the arguments."""
    command_line.parse(arguments)


def check_all(commands: list[tuple[str, list[str]]], runner: ModuleType) -> None:
    """Check each command; a failure says where the command stands."""
    for place, words in commands:
        try:
            check(words, runner)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{place}: {' '.join(words)}: {error!r}") from error


def test_commands_on_the_pages_exist(runner: ModuleType) -> None:
    """Each is given to the parser of the program that it names; files that it names exist."""
    shown = {" ".join(words) for _, words in COMMANDS}
    assert {"python3 run.py demo", "python3 run.py test"} <= shown
    check_all(COMMANDS, runner)


def commands_in_docstrings() -> list[tuple[str, list[str]]]:
    """Return the commands in the docstrings of programs: the lines that begin with python."""
    files = [ROOT / "benchmarks" / f"{name}.py" for name in ("bench", "calls", "serve")]
    files += [*(ROOT / "pyiocp" / "cli").glob("*.py"), *(ROOT / "examples").glob("*.py")]
    found: list[tuple[str, list[str]]] = []
    for file in sorted(files):
        docstring = file.read_text(encoding="utf-8").split('"""')[1]
        lines = re.findall(r"^ +(python3? (?:-m|\S+\.py).*)", docstring, re.MULTILINE)
        # What follows several spaces says what the command is for.
        found += [(file.name, shlex.split(re.split(r"  | [<>] ", line)[0])) for line in lines]
    return found


def test_commands_in_docstrings_exist(runner: ModuleType) -> None:
    """Those of the command line, of the benchmarks and of the examples."""
    commands = commands_in_docstrings()
    assert ["python", "-m", "pyiocp", "demo"] in [words for _, words in commands]
    check_all(commands, runner)
