"""``python -m pyiocp``: the command line; what it does is in ``pyiocp.cli``."""

from __future__ import annotations

from .cli.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
