"""Passing on what a child writes and reads, as it comes."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import IO


def pump_out(source: IO[bytes], target: int, ended: threading.Event) -> None:
    """Pass on what a child writes, as it comes, until it has ended and everything is passed on.

    The end of the file does not tell when: Wine's background processes, which the first command
    starts, keep its stderr open for as long as they live.
    """
    poll = select.poll()
    poll.register(source, select.POLLIN)
    with source, contextlib.suppress(OSError):  # our reader went away: the child's pipe closes too
        while True:
            had_ended = ended.is_set()  # asked before looking, so that the last bytes are seen
            if poll.poll(0 if had_ended else 50):
                data = os.read(source.fileno(), 65536)
                if not data:
                    return
                while data:
                    data = data[os.write(target, data) :]
            elif had_ended:
                return


def pump_in(target: IO[bytes]) -> None:
    """Pass our standard input to a child."""
    with contextlib.suppress(OSError):
        while data := os.read(0, 65536):
            while data:
                data = data[target.write(data) :]
    with contextlib.suppress(OSError):
        target.close()
