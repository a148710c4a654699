"""Programs that have our terminal or our streams, and what Ctrl-C does to them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .messages import say
from .streams import pump_in, pump_out


def run_inherited(
    command: Sequence[str], env: dict[str, str] | None = None, cwd: Path | None = None
) -> int:
    """Run a child on our own terminal or streams; Ctrl-C reaches both, and the child decides."""
    child = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 (no threads yet)
    )
    with signals_handled(interrupt=lambda _presses: None, end=child.kill):
        code = child.wait()
    return code if code >= 0 else 128 - code


def run_piped(
    command: Sequence[str], env: dict[str, str], *, stdin: bool, cwd: Path | None = None
) -> int:
    """Run a child whose streams are pipes, pass on what comes as it comes, return its exit code.

    Under Wine, Windows Python ends at start-up with "WinError 6, invalid handle" if a standard
    stream is a regular file or /dev/null. Pipes always work.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        bufsize=0,
        start_new_session=True,  # Ctrl-C on the terminal reaches us only; we pass it on, once
        preexec_fn=die_with_parent(),  # noqa: PLW1509 (no threads yet)
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    ended = threading.Event()
    pumps = [
        threading.Thread(target=pump_out, args=(child.stdout, 1, ended), daemon=True),
        threading.Thread(target=pump_out, args=(child.stderr, 2, ended), daemon=True),
    ]
    for thread in pumps:
        thread.start()
    if stdin:
        threading.Thread(target=pump_in, args=(child.stdin,), daemon=True).start()
    else:
        child.stdin.close()

    def interrupt(presses: int) -> None:
        if presses == 3:
            say("third Ctrl-C: ending the program by force")
        kill_group(child.pid, signal.SIGINT if presses < 3 else signal.SIGKILL)

    with signals_handled(interrupt, end=lambda: kill_group(child.pid, signal.SIGKILL)):
        code = child.wait()
        ended.set()
        for thread in pumps:
            thread.join()
    return code if code >= 0 else 128 - code


def kill_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)


def die_with_parent() -> Callable[[], object] | None:
    """Return what a child calls before it starts, so that it ends even if we are killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up now: between fork and exec it would not be safe
    pr_set_pdeathsig = 1
    return lambda: prctl(pr_set_pdeathsig, int(signal.SIGKILL))


@contextlib.contextmanager
def signals_handled(
    interrupt: Callable[[int], object], end: Callable[[], object]
) -> Iterator[None]:
    """While a child runs, have Ctrl-C call `interrupt(how often)`, and `end()` if we are to end."""
    presses = 0

    def on_interrupt(_number: int, _frame: object) -> None:
        nonlocal presses
        presses += 1
        interrupt(presses)

    def on_end(number: int, _frame: object) -> None:
        end()
        sys.exit(128 + number)

    handlers = {signal.SIGINT: on_interrupt, signal.SIGTERM: on_end}
    if sys.platform != "win32":
        handlers[signal.SIGHUP] = on_end
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
