"""Ctrl-C inside rings 2 and 3: noted at once, raised where it loses nothing.

``KeyboardInterrupt`` is raised between any two bytecodes, also between dequeuing a batch
of packets and storing them, which would lose completions. So, while a port waits in the
main thread and the handler in force is Python's own, it is replaced by one that looks
where the main thread is: inside rings 2 and 3, it only takes a note, and ``wait`` and
``run`` raise KeyboardInterrupt as they leave; elsewhere it raises at once, as Python does.

A hook that never returns can be interrupted too: a second Ctrl-C before the first has been
raised is raised at once if it finds the main thread in code of the user's that the package has
called, and a third wherever it is. The frames tell which code that is. Between the package and
where the thread is now, the user's code is whatever comes from neither the package, nor the
standard library, nor a replaced kernel, nor what observes an in-flight table: those are called in
the middle of submissions. A hook that is a C function has no frame: it takes the third press.

How a signal ends a wait is in `signals`.
"""

from __future__ import annotations

import signal
import sys
import threading
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

_PACKAGE = __name__.partition(".")[0]

#: What of the package may be interrupted like any code. The models are not among it: their loops
#: take care as a port does. Callbacks of the asyncio loop are; what a packet has it call is not.
_OUTSIDE = {"aio", "winapi", "cli", "__main__"}

_AIO = _PACKAGE, "aio"

#: Functions of replaced kernels and of observers.
_trusted: set[CodeType] = set()

#: The number of the thread that Python runs signal handlers in, once it has waited on a port; 0
#: until then, and always in a subinterpreter, where there is none.
main_thread = 0

#: How many Ctrl-C are noted and not yet raised; and how many may be, at most.
presses_noted = 0
_NOTED_MAX = 2


def in_main_thread() -> bool:
    """Tell whether this is the thread that Python runs signal handlers in.

    Only after `find_main_thread` has been called in it.
    """
    return threading.get_ident() == main_thread


def find_main_thread() -> bool:
    """Ask Python whether this is the thread that it runs signal handlers in, and take note of it.

    `threading` takes another for the main thread in a subinterpreter, and up to Python 3.12 where
    it was first imported by another: what is asked of `signal` there raises ValueError.
    """
    global main_thread
    try:
        signal.signal(signal.SIGINT, None)
    except ValueError:
        return False
    except TypeError:  # None is no handler; but the thread is the right one
        main_thread = threading.get_ident()
    return True


def install() -> None:
    """Put the handler in the place of Python's own, if that is in force; main thread only."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)


def uninstall() -> None:
    """Put Python's own handler back; main thread only."""
    if signal.getsignal(signal.SIGINT) is _handle:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def trust(*functions: Any) -> None:
    """Do not take these for the user's code: they are called in the middle of submissions."""
    for function in functions:
        code = _code_of(function)
        if code is not None:
            _trusted.add(code)


def _code_of(function: Any) -> CodeType | None:
    """Return the code of what somebody calls, if it is in Python."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, (MethodType, staticmethod, classmethod)):
        function = function.__func__
    if not isinstance(function, FunctionType):
        function = getattr(type(function), "__call__", None)  # noqa: B004, its code is wanted
    return function.__code__ if isinstance(function, FunctionType) else None


def trust_all_of(owner: object) -> None:
    """The same for all functions that an object or its class has, such as a replaced kernel."""
    trust(*getattr(owner, "__dict__", {}).values())
    for kind in type(owner).__mro__:
        trust(*vars(kind).values())


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
    called: list[FrameType] = []
    while frame is not None:
        package, module = _place_of(frame)
        if package == _PACKAGE and module not in _OUTSIDE:
            return hooks_too or not _is_users(called)
        called.append(frame)
        frame = frame.f_back
    return False


def _is_users(called: list[FrameType]) -> bool:
    """Tell whether the user's code is among what the package has called, innermost first."""
    if not called:
        return False
    first = called[-1]
    if first.f_code in _trusted or _place_of(first) == (_PACKAGE, "winapi"):
        return False
    # What logs, and what a garbage collection ends, may be called from anywhere.
    if _place_of(first)[0] == "logging" or first.f_code.co_name == "__del__":
        return False
    places = map(_place_of, called)
    return any(p != _AIO and p[0] not in sys.stdlib_module_names for p in places)


def _place_of(frame: FrameType) -> tuple[str, str]:
    """Return the package that a frame's code is from, and the module or folder in it."""
    package, _, module = frame.f_globals.get("__name__", "").partition(".")
    return package, module.partition(".")[0]


def noted() -> bool:
    """Tell whether a Ctrl-C is waiting to be raised."""
    return presses_noted > 0


def raise_noted(presses: int = 1) -> None:
    """Raise the KeyboardInterrupt that was noted, if there were so many; main thread only."""
    global presses_noted
    if presses_noted >= presses and in_main_thread():
        presses_noted = 0
        raise KeyboardInterrupt
