"""Run a program, and raise SIGINT for each line on stdin, as a console would.

    python interruptible.py -m pyiocp demo
    python interruptible.py examples/chat.py --port 0

Windows has no way to send Ctrl-C to one process only.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def raise_signals() -> None:
    """Raise SIGINT for each line."""
    while byte := os.read(0, 1):
        if byte == b"\n":  # which a text stream on Windows writes as two bytes
            signal.raise_signal(signal.SIGINT)


threading.Thread(target=raise_signals, daemon=True).start()
del sys.argv[0]
if sys.argv[0] == "-m":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    sys.path[0] = str(Path(sys.argv[0]).parent)  # as if it had been run by itself
    runpy.run_path(sys.argv[0], run_name="__main__")
