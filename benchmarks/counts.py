"""Exact counts of what Python does: bytecodes, Python calls and C calls.

Times drift with the machine; these do not. For one version of Python they are the same on every
machine, run after run.

How they are counted:

- **Bytecodes** are the ``opcode`` events of `sys.settrace`. An instruction counts as one, whether
  the interpreter has specialised it or not. What a C function does is not seen.
- **Python calls** and **C calls** are the ``call`` and ``c_call`` events of `sys.setprofile`, in
  other turns. A generator that goes on is a call too. A C function counts when bytecode calls it:
  one that another C function calls does not, nor do operators, nor making an object of a class in
  C in some versions. So compare figures of one version only.
- The function counted runs some turns first, so that caches are filled and first times are over.
  One more turn runs under the tracer before the turn that counts, because Python 3.12 and later
  rewrite the code of a function when it is first traced.
- Garbage collection is off. Only the calling thread is seen. The call of the turn itself is not
  counted, but all that happens in it is.

Do this in a process of its own, never in one that measures time: from 3.12 on, code that has been
traced may stay slower.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

WARM_UP_TURNS = 20


class Counts(NamedTuple):
    """What one turn, or one operation of it, takes."""

    bytecodes: float
    python_calls: float
    c_calls: float

    def per(self, operations: int) -> Counts:
        """Return the share of one of so many operations."""
        return Counts(*(count / operations for count in self))


def version() -> str:
    """Return the version of Python that counts hold for: 3.13, or 3.13t if it has no GIL."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return f"{sys.version_info.major}.{sys.version_info.minor}{'t' * free_threaded}"


def count(turn: Callable[[], object]) -> Counts:
    """Return what `turn` takes after some turns. It must do the same each time."""
    if sys.gettrace() is not None or sys.getprofile() is not None:
        raise RuntimeError("something else traces this process, such as coverage or a debugger")
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(WARM_UP_TURNS):
            turn()
        bytecodes = _bytecodes(turn)
        python_calls, c_calls = _calls(turn)
    finally:
        if collecting:
            gc.enable()
    return Counts(bytecodes, python_calls, c_calls)


def _bytecodes(turn: Callable[[], object]) -> int:
    counted = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal counted
        if event == "opcode":
            counted += 1
        elif event == "call":
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
        return trace

    sys.settrace(trace)
    try:
        turn()
        counted = 0
        turn()
    finally:
        sys.settrace(None)
    return counted


def _calls(turn: Callable[[], object]) -> tuple[int, int]:
    counted = {"call": 0, "c_call": 0}
    here = sys._getframe()

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        caller = frame.f_back if event == "call" else frame
        if caller is not here and event in counted:
            counted[event] += 1

    sys.setprofile(profile)
    try:
        turn()
        counted.update(call=0, c_call=0)
        turn()
    finally:
        sys.setprofile(None)
    return counted["call"], counted["c_call"]
