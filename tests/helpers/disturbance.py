"""Disturbance: raises where CPython runs signal handlers, at each such place in turn.

CPython runs them when a function has begun, after a call, and at the end of a loop's body. Here,
sys.settrace raises at each such place of some modules, one a round, until a round has passed
undisturbed: what a signal can do by bad luck is done on purpose, everywhere. `Meanwhile` does the
same with what another thread does in between.
"""

from __future__ import annotations

import dis
import functools
import gc
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import pytest
from deadline import DEADLINE_S

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


class Meanwhile(Disturbance):
    """Has another thread call a function at the nth instruction, once, and waits for it.

    So it may be with any two threads where there is no GIL. Then, if an error is given, raises
    that at the next place where a signal handler might.
    """

    def __init__(
        self,
        function: Callable[[], object],
        n: int,
        modules: Collection[str],
        error: type[BaseException] | None = None,
    ) -> None:
        super().__init__(error or Alarm, 0, modules)
        self._function = function
        self._instructions_left = n
        self._raises = error is not None

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self._instructions_left -= 1
            if not self._instructions_left:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                thread = threading.Thread(target=self._function, daemon=True)
                thread.start()
                thread.join(DEADLINE_S)
                assert not thread.is_alive(), f"the other thread waits for this one: {self.where}"
                self._left = int(self._raises)
        return super()._trace(frame, event, argument)


def meanwhile(
    function: Callable[[], object],
    modules: Collection[str],
    error: type[BaseException] | None = None,
    *,
    step: int = 1,
) -> Iterator[Meanwhile]:
    """Yield one after the other, for each instruction, the last of which finds none.

    step: look at every so many of them only.
    """
    for n in range(1, ROUNDS_MAX, step):
        yield (meanwhile := Meanwhile(function, n, modules, error))
        if not meanwhile.where:
            assert n > 1, "nothing was disturbed"
            return
    pytest.fail("there is no end to it")


def rounds(error: type[BaseException], modules: Collection[str]) -> Iterator[Disturbance]:
    """Yield one disturbance after the other, the last of which finds nothing to disturb."""
    for n in range(1, ROUNDS_MAX):
        yield (disturbance := Disturbance(error, n, modules))
        if not disturbance.where:
            assert n > 1, "nothing was disturbed"
            return
    pytest.fail("there is no end to it")
