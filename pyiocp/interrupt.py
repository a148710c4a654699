"""Ctrl-C inside rings 2 and 3: noted at once, raised where it loses nothing.

``KeyboardInterrupt`` is raised between any two bytecodes, also between dequeuing a batch
of packets and storing them, which would lose completions. So, while a port waits in the
main thread and the handler in force is Python's own, it is replaced by one that looks
where the main thread is: inside rings 2 and 3, it only takes a note, and ``wait`` and
``run`` raise KeyboardInterrupt as they leave; elsewhere it raises at once, as ever.

A hook that never returns can be interrupted too: a second Ctrl-C before the first has been
raised is raised at once, unless it, too, finds the main thread in code of rings 2 and 3
itself and not in what that has called; a third is raised wherever it is.

What belongs here: the handler and its note. How a signal ends a wait is in
`signal_receiver`.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = __name__.rpartition(".")[0]

#: Where KeyboardInterrupt could part a packet from its operation.
_GUARDED = tuple(
    f"{_PACKAGE}.{name}"
    for name in (
        "batch",
        "completion_queue",
        "connection",
        "connector",
        "handles",
        "inbox",
        "listener",
        "operation",
        "port",
        "session",
        "timers",
    )
)

#: How many Ctrl-C have been noted and not raised, and how many are.
_noted = 0
_NOTED_MAX = 2


def in_main_thread() -> bool:
    """Tell whether this is the thread that Python runs signal handlers in."""
    return threading.get_ident() == threading.main_thread().ident


def install() -> None:
    """Put the handler in the place of Python's own, if that is in force; main thread only."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)


def uninstall() -> None:
    """Put Python's own handler back; main thread only."""
    if signal.getsignal(signal.SIGINT) is _handle:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _handle(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or take a note of it inside rings 2 and 3."""
    global _noted
    # The first: anywhere inside. A further one: not in what was called from there.
    if _noted < _NOTED_MAX and _is_guarded(frame, deep=not _noted):
        _noted += 1
        return
    _noted = 0
    raise KeyboardInterrupt


def _is_guarded(frame: FrameType | None, deep: bool) -> bool:
    """Tell whether the frame, or one that it was called from, is of rings 2 and 3."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_GUARDED):
            return True
        frame = frame.f_back if deep else None
    return False


def noted() -> bool:
    """Tell whether a Ctrl-C is waiting to be raised."""
    return _noted > 0


def raise_noted(presses: int = 1) -> None:
    """Raise the KeyboardInterrupt that was noted, if there were so many; main thread only."""
    global _noted
    if _noted >= presses and in_main_thread():
        _noted = 0
        raise KeyboardInterrupt
