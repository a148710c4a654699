"""Run the command line, and raise SIGINT for each line on stdin, as a console would.

Windows has no way to send Ctrl-C to one process only.
"""

import os
import signal
import sys
import threading

from pyiocp.cli.command_line import main


def raise_signals() -> None:
    """Raise SIGINT for each line."""
    while byte := os.read(0, 1):
        if byte == b"\n":  # which a text stream on Windows writes as two bytes
            signal.raise_signal(signal.SIGINT)


threading.Thread(target=raise_signals, daemon=True).start()
sys.exit(main(sys.argv[1:]))
