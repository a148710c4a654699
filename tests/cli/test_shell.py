"""python -m pyiocp shell: what is typed is done, and the end closes everything without a word."""

from __future__ import annotations

import io
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from commands import run_python

import pyiocp
from pyiocp.cli import line_editing
from pyiocp.cli.line_editing import converse
from pyiocp.cli.shell import make_names


def shell(typed: str, *arguments: str) -> tuple[int, str, str]:
    """Type into a shell, with every warning shown; return exit code, stdout and stderr."""
    done = run_python("-W", "always", "-m", "pyiocp", "shell", *arguments, typed=typed)
    return done.returncode, done.stdout, done.stderr


def test_the_three_lines_of_the_greeting_do_what_they_promise() -> None:
    """They are taken from the greeting itself."""
    code, _, greeting = shell("")
    assert (code, greeting.strip().count("\n")) == (0, 4)
    tried = [line.strip() for line in greeting.splitlines() if line.startswith("  ")]
    assert len(tried) == 3
    code, output, errors = shell("\n".join(tried) + "\n", "--quiet")
    assert code == 0
    assert errors.strip() == ""
    assert re.search(r"receive +'a' +5 +STATUS_SUCCESS +b'hello'", output)


def test_names_are_those_of_pyiocp_and_a_few_more() -> None:
    with ExitStack() as stack:
        names = make_names(stack)
        public = {name: value for name, value in vars(pyiocp).items() if name[0].isupper()}
        assert public.items() <= names.items()
        assert names["explain"] is pyiocp.explain
        assert names["w"] is pyiocp.winapi
        port = names["port"]
        assert {names["a"], names["b"]} == port.handles
        assert [names["a"].key, names["b"].key] == ["a", "b"]
    assert port.closed


@pytest.mark.parametrize(
    ("statement", "code", "said"),
    [
        ("exit()", 0, ""),
        ("exit(7)", 7, ""),
        ("exit('enough')", 1, "enough\n"),
        ("", 0, ""),
    ],
)
def test_end_closes_what_is_in_flight_without_a_warning(
    statement: str, code: int, said: str
) -> None:
    """A receive and a session are pending, and somebody's own port is closed as well."""
    typed = (
        "pending = a.receive(bytearray(100))\n"
        "listener = port.listen(('127.0.0.1', 0), Session)\n"
        "session = port.connect(listener.address, Session)\n"
        f"{statement}\n"
    )
    found, _, errors = shell(typed, "--quiet")
    assert (found, errors.replace("\n", "")) == (code, said.replace("\n", ""))


def test_an_error_is_shown_and_the_next_statement_is_done() -> None:
    code, output, errors = shell("1 / 0\nprint(6 * 7)\n", "--quiet")
    assert (code, output) == (0, "42\n")
    assert "ZeroDivisionError: division by zero" in errors


def test_arguments_have_no_business_there() -> None:
    """The shell is not a way to run a script."""
    done = run_python("-m", "pyiocp", "shell", "script.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


class Terminal(io.StringIO):
    """A stdin at which somebody sits, and types."""

    def isatty(self) -> bool:
        return True


class Editor(types.ModuleType):
    """Stands for readline: it tells what it was asked, and what it completes."""

    def __init__(self, doc: str = "") -> None:
        super().__init__("readline", doc)
        self.asked: list[Any] = []
        self.complete: Callable[[str, int], str | None] = lambda text, state: None

    def set_completer(self, complete: Callable[[str, int], str | None]) -> None:
        self.complete = complete

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments: self.asked.append((name, *arguments))


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Somebody types ``x = 1`` at a terminal, whose Python has no editor."""
    monkeypatch.setenv("PYIOCP_HISTORY", str(tmp_path / "history"))
    monkeypatch.setattr(sys, "stdin", Terminal("x = 1\n"))
    monkeypatch.setitem(sys.modules, "_pyrepl.main", None)
    monkeypatch.setitem(sys.modules, "readline", None)
    return monkeypatch


def test_without_an_editor_it_says_that_nothing_is_completed(
    typing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    converse(names, "hello")
    assert names["x"] == 1
    assert capsys.readouterr().err.startswith(f"hello\n{line_editing.MISSING}\n")


@pytest.mark.parametrize(
    ("doc", "binding"), [("", "tab: complete"), ("uses libedit", "bind ^I rl_complete")]
)
def test_readline_completes_names_and_remembers_lines(
    typing: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    doc: str,
    binding: str,
) -> None:
    editor = Editor(doc)
    typing.setitem(sys.modules, "readline", editor)
    converse({"portable": 1}, "hello")
    file = str(tmp_path / "history")
    assert editor.asked == [
        ("parse_and_bind", binding),
        ("read_history_file", file),
        ("set_history_length", 1000),
        ("write_history_file", file),
    ]
    assert editor.complete("porta", 0) == "portable"
    assert line_editing.MISSING not in capsys.readouterr().err


def test_editor_of_python_itself_comes_first(
    typing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of 3.13, which is not public: stand-ins tell how it is asked."""
    modules = {
        "_pyrepl.main": {"CAN_USE_PYREPL": True},
        "_pyrepl.console": {"InteractiveColoredConsole": line_editing.code.InteractiveConsole},
        "_pyrepl.simple_interact": {
            "run_multiline_interactive_console": lambda console: console.push("y = 2")
        },
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        typing.setitem(sys.modules, name, module)
    history = Editor()
    typing.setitem(sys.modules, "_pyrepl.readline", history)
    names: dict[str, Any] = {}
    converse(names, "hello")
    assert names["y"] == 2
    assert [name for name, *_ in history.asked] == [
        "read_history_file",
        "set_history_length",
        "write_history_file",
    ]
    assert capsys.readouterr().err == "hello\n"
    typing.setenv("PYTHON_BASIC_REPL", "1")
    converse(names, "")
    assert names["x"] == 1


def test_editor_that_is_not_as_expected_is_none(typing: pytest.MonkeyPatch) -> None:
    """Another version of Python may have another one."""
    typing.setitem(sys.modules, "_pyrepl.main", types.ModuleType("_pyrepl.main"))
    names: dict[str, Any] = {}
    converse(names, "")
    assert names["x"] == 1
