"""Line editing: the shell's console, with history and completion if this Python has them.

From 3.13 on Python has its own editor, which is used in the same way as asyncio's console does.
Before that, ``readline`` has both; Python for Windows lacks it, and ``pyreadline3``, if installed,
replaces it under the same name. Without either, the Windows console edits lines and remembers
those of this session, and there is no completion. As for Python itself, ``PYTHON_BASIC_REPL``
disables the new editor.
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
    """A console that is not interactive: no prompts between what the statements print."""

    def raw_input(self, prompt: str = "") -> str:
        return input()


def _basic(names: dict[str, Any], greeting: str) -> None:
    code.InteractiveConsole(names, filename=_NAME).interact(greeting, exitmsg="")


def _editor_of_python() -> tuple[Any, Any] | None:
    """Return what runs a console with Python's own editor, and that console's class."""
    if os.environ.get("PYTHON_BASIC_REPL"):
        return None
    # It is not public: anything unexpected means that there is none.
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
    """Load the history, and save it at the end."""
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
    """Return the file of the history: ``PYIOCP_HISTORY``, or one in the user's home."""
    return os.environ.get("PYIOCP_HISTORY") or str(Path.home() / ".pyiocp_history")
