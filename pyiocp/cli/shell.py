"""Type completion ports: a Python console with a port, two connected streams and all names.

The names at hand are all public names of ``pyiocp``, ``w`` for ``pyiocp.winapi`` (Win32
to the letter), ``port``, and ``a`` and ``b``, two streams on it that are connected to each
other. ``drain()`` takes the completions that there are and shows them as a table.

examples:
  python -m pyiocp shell
  python -m pyiocp shell --quiet < statements.py

At the end everything is closed, whatever is in flight. docs/repl.md is a walk-through.
"""

from __future__ import annotations

import argparse
import platform
import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pyiocp

from .. import winapi
from ..observing.draining import drain
from ..port import CompletionPort
from .line_editing import converse
from .wording import exit_code_of

if TYPE_CHECKING:
    from collections.abc import Iterator

HELP = "a Python console with a port and two connected streams"

BANNER = f"""\
pyiocp {pyiocp.__version__}, Python {platform.python_version()}
port, a and b (two connected streams on it), drain(), explain(), w (Win32): try
  a.receive(bytearray(100))
  b.send(b"hello")
  drain()"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--quiet", action="store_true", help="without the greeting")


def run(options: argparse.Namespace) -> int:
    """Read and do statements until the end, or ``exit()``; its code."""
    with ExitStack() as stack:
        names = make_names(stack)
        try:
            converse(names, "" if options.quiet else BANNER)
        except SystemExit as end:
            return exit_code_of(end)
    return 0


def make_names(stack: ExitStack) -> dict[str, Any]:
    """Return the names at hand; leaving the stack closes the port and the streams."""
    port = stack.enter_context(CompletionPort())
    a, b = (port.stream(end, key=key) for end, key in zip(socket.socketpair(), "ab", strict=True))
    return {
        "__name__": "__console__",
        "__doc__": None,
        **dict(public_names()),
        "pyiocp": pyiocp,
        "w": winapi,
        "port": port,
        "a": a,
        "b": b,
        "drain": partial(drain, port),
    }


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield every public name of the package."""
    for name, value in vars(pyiocp).items():
        if not name.startswith("_") and not isinstance(value, type(pyiocp)):
            yield name, value
