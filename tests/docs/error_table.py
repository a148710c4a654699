"""The table of docs/errors.md, made from what `pyiocp.errors` does with each code.

    python tests/docs/error_table.py

prints it, to be pasted into the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pyiocp import errors
from pyiocp.winapi import errorcodes

PREFIXES = ("ERROR_", "WSAE", "WSA_")


def codes_by_class() -> dict[str, list[str]]:
    """Return the names of the Win32 and Winsock codes that each class stands for."""
    found: dict[str, list[str]] = {}
    for name, code in vars(errorcodes).items():
        if name.startswith(PREFIXES) and isinstance(code, int):
            kind = type(errors.error_of_code("", code))
            if kind is not errors.IocpError:
                found.setdefault(kind.__name__, []).append(f"`{name}` {code}")
    return found


def statuses_by_class() -> dict[str, list[str]]:
    """Return the names of the NTSTATUS values that each class stands for.

    One that means something else on a socket than on a file or pipe says where.
    """
    found: dict[str, list[str]] = {}
    for status in errors.SOCKET_WINERROR_OF:
        name = f"`{errorcodes.status_name(status)}`"
        on_socket = type(errors.error_of_status("", status, None, errors.SOCKET_WINERROR_OF))
        if status not in errors.WINERROR_OF:
            found.setdefault(on_socket.__name__, []).append(name)
            continue
        elsewhere = type(errors.error_of_status("", status))
        if elsewhere is on_socket:
            found.setdefault(on_socket.__name__, []).append(name)
        else:
            found.setdefault(on_socket.__name__, []).append(f"{name} (sockets)")
            found.setdefault(elsewhere.__name__, []).append(f"{name} (files, pipes)")
    return found


def built_in_base(kind: type[BaseException]) -> str:
    """Return the class of Python's own that an ``except`` may name instead."""
    own = [base for base in kind.__mro__ if base.__module__ == "builtins"]
    return f"`{own[0].__name__}`"


def table() -> str:
    """Return the table in Markdown."""
    codes, statuses = codes_by_class(), statuses_by_class()
    lines = [
        "| class | also caught as | Win32 and Winsock codes | NTSTATUS |",
        "| --- | --- | --- | --- |",
    ]
    for name, kind in vars(errors).items():
        if not isinstance(kind, type) or kind.__module__ != "pyiocp":
            continue
        if name == "IocpError":
            cells = ["every other code", "every other status"]
        else:
            cells = [", ".join(found.get(name, [])) or "none" for found in (codes, statuses)]
        lines.append(f"| `{name}` | {built_in_base(kind)} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
