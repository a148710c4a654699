"""Ctrl-C inside rings 2 and 3: noted at once, raised where it loses nothing.

``KeyboardInterrupt`` is raised between any two bytecodes, also between dequeuing a batch
of packets and storing them, which would lose completions. So, while a port waits in the
main thread and the handler in force is Python's own, it is replaced by one that looks
where the main thread is: inside rings 2 and 3, it only takes a note, and ``wait`` and
``run`` raise KeyboardInterrupt as they leave; elsewhere it raises at once, as ever.

A hook that never returns can be interrupted too: a second Ctrl-C before the first has been
raised is raised at once if it finds the main thread in a hook, which is what `calls_hooks`
marks, or in the user's code besides; a third is raised wherever it is.

How a signal ends a wait is in `signals`.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

_P = ParamSpec("_P")
_T = TypeVar("_T")

_PACKAGE = __name__.partition(".")[0]

#: What of the package stands outside rings 2 and 3, and may be interrupted like any code.
_OUTSIDE = {"winapi", "aio", "cli"}

#: The functions that call hooks, and other functions of the user's.
_calling_hooks: set[CodeType] = set()

#: The main thread's number. To ask for it each time costs 60 ns.
MAIN_THREAD = threading.main_thread().ident

#: How many Ctrl-C have been noted and not raised, and how many are.
presses_noted = 0
_NOTED_MAX = 2


def in_main_thread() -> bool:
    """Tell whether this is the thread that Python runs signal handlers in."""
    return threading.get_ident() == MAIN_THREAD


def install() -> None:
    """Put the handler in the place of Python's own, if that is in force; main thread only."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)


def uninstall() -> None:
    """Put Python's own handler back; main thread only."""
    if signal.getsignal(signal.SIGINT) is _handle:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def calls_hooks(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Mark a function that calls the user's: those may be interrupted, this one may not."""
    _calling_hooks.add(function.__code__)
    return function


def _handle(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or take a note of it inside rings 2 and 3."""
    global presses_noted
    # The first waits for a hook to end, a second one does not.
    if presses_noted < _NOTED_MAX and _is_guarded(frame, hooks_too=not presses_noted):
        presses_noted += 1
        return
    presses_noted = 0
    raise KeyboardInterrupt


def _is_guarded(frame: FrameType | None, hooks_too: bool) -> bool:
    """Tell whether rings 2 and 3 are at work in the frame, themselves or by what they call."""
    innermost = frame
    while frame is not None:
        package, _, module = frame.f_globals.get("__name__", "").partition(".")
        if package == _PACKAGE and module.partition(".")[0] not in _OUTSIDE:
            return hooks_too or frame is innermost or frame.f_code not in _calling_hooks
        frame = frame.f_back
    return False


def noted() -> bool:
    """Tell whether a Ctrl-C is waiting to be raised."""
    return presses_noted > 0


def raise_noted(presses: int = 1) -> None:
    """Raise the KeyboardInterrupt that was noted, if there were so many; main thread only."""
    global presses_noted
    if presses_noted >= presses and in_main_thread():
        presses_noted = 0
        raise KeyboardInterrupt
