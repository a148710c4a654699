"""The command line itself: which commands there are, and what their exit codes mean."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from .. import __version__
from . import demo, explain, info, load, models, monitor, pages, serve, shell, trace
from .wording import reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

FINE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130

EXIT_CODES = """\
exit codes: 0 fine, 1 a check failed or the system refused, 2 wrong arguments or not
Windows, 130 ended by Ctrl-C before its time"""

#: Name and module, in the order of the help.
COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "serve": serve,
    "load": load,
    "monitor": monitor,
    "trace": trace,
    "models": models,
    "pages": pages,
    "info": info,
    "explain": explain,
    "shell": shell,
}


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, and says where the help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="python -m pyiocp",
        description="Windows I/O completion ports, to look at and to try.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyiocp {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; after ``--`` come a script and its arguments, where there can be one.

    argparse would look for its own options among them, and remove each further ``--``.
    """
    parser = make_parser()
    at = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:at])
    if at < len(arguments):
        if not hasattr(options, "script"):
            parser.error(f"unrecognized arguments: {' '.join(arguments[at:])}")
        if at + 1 == len(arguments):
            parser.error("a script must follow --")
        options.script = list(arguments[at + 1 :])
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say (by default those of the process); return the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.command is None:
        make_parser().print_help()
        return FINE
    module = COMMANDS[options.command]
    if sys.platform != "win32" and getattr(module, "NEEDS_WINDOWS", True):
        say(
            f"{options.command} needs Windows: run it with Python for Windows, or, in a checkout"
            f" of pyiocp, {elsewhere(options.command)}"
        )
        return USAGE
    try:
        code: int = module.run(options)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except OSError as error:
        if _reader_has_gone(error):
            # Otherwise Python would complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        else:
            say(f"error: {reason(error)}")
        return FAILED
    return code


def _reader_has_gone(error: OSError) -> bool:
    """Return whether the reader of our output is gone: on Windows that is a C error, EINVAL."""
    windows = error.errno == errno.EINVAL and getattr(error, "winerror", None) is None
    return isinstance(error, BrokenPipeError) or (type(error) is OSError and windows)


def elsewhere(command: str) -> str:
    """Return how to run a command in Wine."""
    if command in ("demo", "shell"):
        return f"python3 run.py {command}"
    return f"python3 run.py python -m pyiocp {command}"


def say(line: str) -> None:
    """Print a message about the command to stderr."""
    print(f"pyiocp: {line}", file=sys.stderr, flush=True)
