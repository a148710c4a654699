"""drain(): all completions until no more come, shown as a table; for a REPL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.completion import Completion
    from ..port import CompletionPort

    _Base = list[Completion]
else:
    _Base = list

_HEADER = ("operation", "key", "bytes", "outcome", "data")
_DATA_SHOWN = 24
_BRINGS_DATA = ("receive", "read", "transact")


class Completions(_Base):
    """A list of completions, which a REPL shows as a table. A plain value."""

    def __repr__(self) -> str:
        if not self:
            return "nothing came"
        rows = [_HEADER, *map(_row, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if name == "bytes" else cell.ljust(width)
                for name, cell, width in zip(_HEADER, row, widths, strict=True)
            ).rstrip()
            for row in rows
        )


def drain(port: CompletionPort, timeout: float = 0.1) -> Completions:
    """Take the completions that come, until none has come for a while; show them as a table.

    timeout: seconds without a completion after which it is over, at least 0.

    Returns a list of `Completion`, in the order in which they came. Raises what
    ``port.wait`` raises. Several threads may call it: each completion goes to one.
    """
    completions = Completions()
    while batch := port.wait(timeout):
        completions += batch
    return completions


def _row(completion: Completion) -> tuple[str, ...]:
    operation = completion.operation
    return (
        "packet" if operation is None else operation.kind,
        "" if completion.key is None else repr(completion.key),
        f"{completion.bytes:,}",
        completion.outcome,
        _shown_data(completion),
    )


def _shown_data(completion: Completion) -> str:
    """Return the beginning of what was received; nothing for what the caller has sent."""
    operation = completion.operation
    if operation is None or not operation.kind.startswith(_BRINGS_DATA):
        return ""
    try:
        data = bytes(completion.data[: _DATA_SHOWN + 1])
    except ValueError:  # the caller has released the buffer
        return ""
    if len(data) > _DATA_SHOWN:
        return f"{data[:_DATA_SHOWN]!r}..."
    return repr(data) if data else ""
