"""Record what every operation and thread does, into a file for https://ui.perfetto.dev.

What runs is a script of yours, as if by ``python script.py``, and every port that it makes
is recorded; without one, it is an echo server and its clients, for a short while. Open the
page and drop the file on it: each operation is shown from its submission to its completion,
and each thread asleep in the kernel or at work.

examples:
  python -m pyiocp trace trace.json
  python -m pyiocp trace trace.json --clients 100 --seconds 0.5
  python -m pyiocp trace trace.json -- examples/echo.py

A script that ends by Ctrl-C, or in an error, is recorded until then. The exit code is then
the script's own.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

from ..observing.recording import Recording
from ..observing.trace import EVENTS_MAX
from ..port import CompletionPort
from ..servers.tcp.session import Session
from .arguments import add_number
from .client_load import Load, Plan
from .json_output import add_json_option, print_json
from .wording import counted, exit_code_of, reason

HELP = "record a run into a file for Perfetto"

_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("file", metavar="FILE", help="where to write the trace")
    parser.usage = "%(prog)s [OPTIONS] FILE [-- SCRIPT [ARGUMENT ...]]"
    parser.set_defaults(script=[])  # what follows `--`: see `command_line.parse`
    add_number(parser, "--clients N", 1, 10_000, "without a script: how many clients", 10)
    add_number(parser, "--seconds S", 0.1, 3600, "without a script: how long they send", 1)
    add_number(parser, "--events N", 1, 100_000_000, "the most to keep, of each port", EVENTS_MAX)
    add_json_option(parser, "what was recorded", ", after what the script prints")


def run(options: argparse.Namespace) -> int:
    """Run, and write what was recorded; the script's exit code, or 1 if that was nothing."""
    Path(options.file).open("w", encoding="utf-8").close()  # to fail now, if it does
    begun = time.perf_counter()
    with Recording(options.events) as recording:
        if options.script:
            code = run_script(*options.script)
        else:
            code = run_echo(options.clients, options.seconds)
    seconds = time.perf_counter() - begun
    recording.save(options.file)
    ports = len(recording.traces)
    if options.json:
        print_json(
            {
                "file": options.file,
                "events": recording.events,
                "dropped": recording.dropped,
                "ports": ports,
                "seconds": round(seconds, 3),
                "exit_code": code,
            }
        )
    else:
        dropped = f" ({recording.dropped:,} older ones had no room)" if recording.dropped else ""
        print(
            f"{options.file}: {counted(recording.events, 'event')}{dropped}"
            f" of {counted(ports, 'port')}, {seconds:.1f} s; open it at https://ui.perfetto.dev",
            flush=True,
        )
    if not ports:
        print("pyiocp: error: the script has made no port", file=sys.stderr)
        return code or 1
    return code


def run_script(script: str, *arguments: str) -> int:
    """Run a script as Python itself does; return its exit code."""
    if not Path(script).is_file():
        raise FileNotFoundError(f"there is no script {script!r}")
    sys.argv[:] = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        return exit_code_of(end)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BaseException as error:  # noqa: BLE001, it is the script's, and shown as Python does
        traceback.print_exception(error.with_traceback(within(error, script)))
        return 1
    return 0


def within(error: BaseException, script: str) -> TracebackType | None:
    """Return a traceback from where it enters the script; all of it if it does not."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename != script:
        at = at.tb_next
    return at or error.__traceback__


class _Echo(Session):
    def on_receive(self, data: memoryview) -> None:
        self.send(data)


def run_echo(clients: int, seconds: float) -> int:
    """Have clients send and receive, with a server on another port and thread."""
    plan = Plan(clients, seconds, seed=0, size_max=64, same_size=True, depth=1)
    with CompletionPort() as port, CompletionPort() as serving:
        listener = serving.listen(("127.0.0.1", 0), _Echo)
        server = threading.Thread(target=serving.run, name="server", args=(1,))
        server.start()
        try:
            outcome = Load(port, listener.address, plan, lambda _seconds, _figures: None).run()
        finally:
            serving.stop()
            server.join()
    for fault in outcome.faults:
        print(f"pyiocp: error: {reason(fault)}", file=sys.stderr)
    return 1 if outcome.faults else 0
