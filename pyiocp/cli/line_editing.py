"""Line editing: the console of the shell, with history and completion as this Python has them.

From 3.13 on Python has an editor of its own, which is used as asyncio's console uses it.
Before, ``readline`` has both; Python for Windows lacks it, and ``pyreadline3``, if it is
installed, stands in under the same name. Without any, the console of Windows edits lines and
knows those of this session, and there is no completion. As for Python itself,
``PYTHON_BASIC_REPL`` keeps the new editor away.
"""

from __future__ import annotations

import code
import contextlib
import importlib
import os
import rlcompleter
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINES_MAX = 1000
_NAME = "<shell>"

MISSING = "No completion by Tab here: pip install pyreadline3 brings it."


def converse(names: dict[str, Any], greeting: str) -> None:
    """Read statements and do them, until the end of the input or SystemExit."""
    if not sys.stdin.isatty():
        _Unseen(names, filename=_NAME).interact(greeting, exitmsg="")
        return
    editor = _editor_of_python()
    if editor is not None:
        run, console_of = editor
        console = console_of(names, filename=_NAME)
        console.write(f"{greeting}\n")
        with _remembered_lines(importlib.import_module("_pyrepl.readline")):
            run(console)
        return
    readline: Any = None
    with contextlib.suppress(ImportError):
        readline = importlib.import_module("readline")
    if readline is None:
        _basic(names, f"{greeting}\n{MISSING}" if greeting else "")
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    with _remembered_lines(readline):
        _basic(names, greeting)


class _Unseen(code.InteractiveConsole):
    """A console at which nobody sits: no prompts between what the statements print."""

    def raw_input(self, prompt: str = "") -> str:
        return input()


def _basic(names: dict[str, Any], greeting: str) -> None:
    code.InteractiveConsole(names, filename=_NAME).interact(greeting, exitmsg="")


def _editor_of_python() -> tuple[Any, Any] | None:
    """Return what runs a console with Python's own editor, and that console's class."""
    if os.environ.get("PYTHON_BASIC_REPL"):
        return None
    # It is not public. So whatever is not as expected means that there is none.
    try:
        if not importlib.import_module("_pyrepl.main").CAN_USE_PYREPL:
            return None
        console = importlib.import_module("_pyrepl.console").InteractiveColoredConsole
        interact = importlib.import_module("_pyrepl.simple_interact")
        return interact.run_multiline_interactive_console, console
    except (ImportError, AttributeError):
        return None


@contextlib.contextmanager
def _remembered_lines(readline: Any) -> Iterator[None]:
    """Begin with the lines of the last time, and keep them for the next."""
    file = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        readline.set_history_length(_LINES_MAX)
        with contextlib.suppress(OSError):
            readline.write_history_file(file)


def history_file() -> str:
    """Return where lines are remembered: ``PYIOCP_HISTORY``, or a file of the user's."""
    return os.environ.get("PYIOCP_HISTORY") or str(Path.home() / ".pyiocp_history")
