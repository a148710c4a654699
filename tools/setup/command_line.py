"""The command line: the command, the version of Python and the rest."""

from __future__ import annotations

from collections.abc import Sequence

from .failures import Failure


def parse(arguments: Sequence[str]) -> tuple[str, str | None, list[str]]:
    """Split the command line into the command, the version asked for and the rest."""
    rest = list(arguments)
    command: str | None = None
    version: str | None = None
    while rest:
        if rest[0] == "--python":
            if len(rest) == 1:
                raise Failure("--python needs a version, such as 3.12 or 3.13t")
            version, rest = rest[1], rest[2:]
        elif rest[0].startswith("--python="):
            version, rest = rest[0].removeprefix("--python="), rest[1:]
        elif command is None:
            command, rest = rest[0], rest[1:]
        else:
            break
    return command or "help", version, rest


def refuse(arguments: Sequence[str]) -> None:
    """Refuse arguments of a command that takes none."""
    if arguments:
        raise Failure(f"this command takes no arguments: {' '.join(arguments)}")
