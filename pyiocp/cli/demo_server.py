"""The server process of the demo: echoes until its stdin ends, then reports.

    python -m pyiocp.cli.demo_server SECONDS

prints a line of JSON with its address, and at the end one with what it served and what it still
holds. It ends with its parent, whose end closes its stdin, or after SECONDS.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..port import CompletionPort
from .echo import EchoSession, Served
from .resources import Resources, count_handles, count_in_flight, settle_handles, warm_up

ACCEPTS = 32
"""AcceptEx outstanding."""

_STOP_MAX_S = 10.0


def main(lifetime_s: float, factory: Callable[[Served], EchoSession] = EchoSession) -> None:
    """Serve sessions that `factory` makes, until stdin ends, and at most `lifetime_s`."""
    # Ctrl-C is for the parent, which then closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # It is written in C and does not need the interpreter: so it ends a process that hangs.
    faulthandler.dump_traceback_later(lifetime_s, exit=True)
    warm_up()
    handles_before = count_handles()
    report = serve(factory)
    handles = settle_handles(handles_before)
    report["resources"] = asdict(Resources(handles_before, handles, report.pop("in_flight")))
    write(report)
    faulthandler.cancel_dump_traceback_later()


def serve(factory: Callable[[Served], EchoSession]) -> dict[str, Any]:
    """Serve until stdin ends; return the report, except for the handles."""
    served = Served()
    with CompletionPort() as port:
        listener = port.listen(("127.0.0.1", 0), lambda: factory(served), accepts=ACCEPTS)
        # The thread may stay in a read that nothing ends; it then ends with the process.
        threading.Thread(target=_stop_at_end_of_stdin, args=(port,), daemon=True).start()
        write({"address": listener.address, "process": os.getpid(), "accepts": ACCEPTS})
        port.run()
        sessions_left = len(port.sessions)
    return {
        "connections": served.connections,
        "received_bytes": served.received_bytes,
        "sent_bytes": served.sent_bytes,
        "errors": served.errors[:20],
        "sessions_left": sessions_left,
        "lost_before_accept": listener.failed,
        "in_flight": count_in_flight(port),
    }


def _stop_at_end_of_stdin(port: CompletionPort) -> None:
    # Not through sys.stdin: a thread holding its buffer's lock would block the exit.
    while os.read(0, 1):
        pass
    faulthandler.dump_traceback_later(_STOP_MAX_S, exit=True)
    port.stop()


def write(values: dict[str, Any]) -> None:
    """Tell the parent."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
