"""Run one of the servers that the benchmark compares, until its control connection ends.

python benchmarks/serve.py pyiocp echo
"""

from __future__ import annotations

import importlib
import subprocess
import sys

from servers.control import Control


def main() -> int:
    """Serve as the command line says: the server, its role, and the file that it serves."""
    name, role, *rest = sys.argv[1:]
    if name == "floor":  # whose program is the last argument
        return subprocess.call([rest[-1], role])
    serve = getattr(importlib.import_module(f"servers.{name}"), f"serve_{role}")
    serve(Control(*rest[:1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
