"""The server process of `models`: echoes under one model until its stdin ends, then reports.

    python -m pyiocp.cli.model_server MODEL LIFETIME_S

prints a line of JSON with its address, and at the end one with the processor time that it
took, and why it refused clients, if it did. It ends with its parent, or after LIFETIME_S.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading

from .. import models
from ..servers.tcp.session import Session
from .demo_server import write


class _Echo(Session):
    def on_receive(self, data: memoryview) -> None:
        self.send(data)


def main(model: str, lifetime_s: float) -> None:
    """Serve until stdin ends, and at most `lifetime_s`."""
    # Ctrl-C is for the parent, which then closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.dump_traceback_later(lifetime_s, exit=True)
    logging.getLogger("pyiocp").setLevel(logging.CRITICAL)  # refusals are in the report
    with models.serve(model, ("127.0.0.1", 0), _Echo) as server:

        def stop_at_end_of_stdin() -> None:
            while os.read(0, 1):
                pass
            server.stop()

        threading.Thread(target=stop_at_end_of_stdin, daemon=True).start()
        before = os.times()
        write({"address": server.address})
        server.run()
        after = os.times()
    write(
        {
            "cpu_s": after.user - before.user + after.system - before.system,
            "refusal": None if server.refusal is None else str(server.refusal),
        }
    )
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
