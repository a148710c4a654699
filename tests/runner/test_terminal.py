"""`run.py shell` on a terminal: lines can be edited, Ctrl-C interrupts, the terminal is given back.

A pseudo-terminal stands for the terminal; the test types and reads what comes.
"""

import contextlib
import os
import re
import select
import subprocess
import sys
import time

import pytest
from checkouts import ROOT, clean_environment

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

import fcntl
import pty
import termios

pytestmark = pytest.mark.usefixtures("ready")


def read_until(terminal: int, wanted: str, timeout_seconds: float = 180) -> str:
    """Read from a terminal until a pattern appears; return what came, without control codes."""
    deadline = time.monotonic() + timeout_seconds
    raw = b""
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                raw += os.read(terminal, 65536)
        text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", raw.decode(errors="replace"))
        if re.search(wanted, text):
            return text
    raise AssertionError(f"{wanted!r} did not come; this did: {raw!r}")


def wait_for_raw_mode(terminal: int, timeout_seconds: float = 60) -> None:
    """Wait until the terminal passes on keys, not lines: Wine sees to it at the first read."""
    deadline = time.monotonic() + timeout_seconds
    while termios.tcgetattr(terminal)[3] & termios.ICANON:
        assert time.monotonic() < deadline, "the terminal still edits lines itself"
        time.sleep(0.01)  # nothing tells of it; bounded above


def test_shell_on_a_terminal() -> None:
    """Cursor keys edit the line, Ctrl-C interrupts a running statement, exit() ends it."""
    terminal, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "shell"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=clean_environment() | {"TERM": "xterm"},
        start_new_session=True,
        # Its controlling terminal, or the kernel would not turn Ctrl-C into a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    with process:
        try:
            read_until(terminal, r"drain\(\)\s[^>]*>>> *$")
            wait_for_raw_mode(slave)
            os.write(terminal, b"3 + 4\x1b[D\x1b[D\x1b[D\x1b[D4\r")  # four to the left: 34 + 4
            read_until(terminal, r"\b38\s+>>> *$")
            os.write(terminal, b"import time; print('sleep' + 'ing'); time.sleep(60)\r")
            read_until(terminal, "sleeping")
            os.write(terminal, b"\x03")
            read_until(terminal, r"KeyboardInterrupt\s+>>> *$")
            os.write(terminal, b"exit(5)\r")
            assert process.wait(timeout=120) == 5
            assert termios.tcgetattr(slave) == before
        finally:
            process.kill()
            os.close(slave)
            os.close(terminal)
