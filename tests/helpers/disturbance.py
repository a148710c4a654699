"""Disturbance: raises where CPython runs signal handlers, at each such place in turn.

CPython runs them when a function has begun, after a call, and at the end of a loop's body. Here,
sys.settrace raises at each such place of some modules, one a round, until a round has passed
undisturbed: what a signal can do by bad luck is done on purpose, everywhere.
"""

from __future__ import annotations

import dis
import functools
import gc
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import pytest

ROUNDS_MAX = 3000


class Alarm(Exception):
    """What most handlers raise."""


class Stop(BaseException):
    """Like KeyboardInterrupt: nobody catches it."""


@functools.cache
def instructions(code: CodeType) -> dict[int, str]:
    """Return the names of a function's instructions by their place in it."""
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


def looks_for_signals(name: str) -> bool:
    """Tell whether CPython looks for signals after an instruction."""
    return name in {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}


class Disturbance:
    """Raises an exception at the nth place where a signal handler might, once."""

    def __init__(self, error: type[BaseException], n: int, modules: Collection[str]) -> None:
        self._error = error
        self._modules = modules
        self._left = n
        self._last: dict[FrameType, int] = {}
        self.where = ""

    def __enter__(self) -> Self:
        # A collection may find a port of an earlier test, whose end is not what is looked at.
        gc.disable()
        self._others = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._others)
        gc.enable()
        self._last.clear()

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        if path.stem not in self._modules or "pyiocp" not in path.parts:
            return None
        # A function's beginning, or a generator going on, is the instruction RESUME.
        self._pass_a_place(frame)
        # In this order: CPython 3.13 tells of the instructions of this very call only if the frame
        # has its function when they are asked for; otherwise from a later call on, or never.
        frame.f_trace = self._trace
        frame.f_trace_opcodes = True
        return self._trace

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "return":
            self._last.pop(frame, None)
        if event == "opcode":
            names = instructions(frame.f_code)
            last = self._last.get(frame)
            self._last[frame] = frame.f_lasti
            if last is not None and looks_for_signals(names[last]):
                self._pass_a_place(frame)
        return self._trace

    def _pass_a_place(self, frame: FrameType) -> None:
        self._left -= 1
        if not self._left:
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            self._handle()

    def _handle(self) -> None:
        """Do what the handler does."""
        raise self._error


def rounds(error: type[BaseException], modules: Collection[str]) -> Iterator[Disturbance]:
    """Yield one disturbance after the other, the last of which finds nothing to disturb."""
    for n in range(1, ROUNDS_MAX):
        yield (disturbance := Disturbance(error, n, modules))
        if not disturbance.where:
            assert n > 1, "nothing was disturbed"
            return
    pytest.fail("there is no end to it")
