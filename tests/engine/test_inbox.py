"""Inbox: whatever is raised, no entry is left with nobody."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disturbance import Alarm, Stop, meanwhile, rounds

import pyiocp
from pyiocp import CompletionPort
from pyiocp.engine.inbox import Inbox

MODULES = {"inbox"}


class Desk:
    """An inbox of a port, and what it has called."""

    def __init__(self, port: CompletionPort) -> None:
        self.port = port
        self.called: list[Any] = []
        self.inbox = Inbox(port._queue.ready, self.called.append)

    def note(self, *what: Any) -> None:
        """Be called."""
        self.called.append(what)

    def nest(self, *_: Any) -> None:
        """Be called, and find the inbox in use."""
        self.inbox.deliver_end(self.note, 7, 0)
        self.inbox.deliver(self.note, "nested")


def deliver(desk: Desk) -> None:
    """Deliver an entry, within which there are others."""
    desk.inbox.deliver(desk.nest)


def deliver_end(desk: Desk) -> None:
    """Deliver the end of an operation; there may be entries."""
    desk.inbox.deliver_end(desk.nest, 1, 0)


def go_on(desk: Desk) -> None:
    """Go on after an exception."""
    desk.port._queue.ready.append((desk.inbox, 0, 0))
    desk.port.wait(0)


WAYS = [deliver, deliver_end, go_on]


def fill(desk: Desk, entries: int) -> None:
    """Have an exception left so many entries."""
    for _ in range(entries):
        desk.inbox.put(desk.nest)


@pytest.mark.parametrize("error", [Alarm, Stop])
@pytest.mark.parametrize("entries", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_interrupted_inbox_is_gone_on_with(
    port: CompletionPort, way: Callable[[Desk], None], entries: int, error: type[BaseException]
) -> None:
    """Wherever a signal handler raises after the call has begun."""
    for disturbance in rounds(error, MODULES):
        desk = Desk(port)
        fill(desk, entries if way is not go_on else 1)
        with contextlib.suppress(error), disturbance:
            way(desk)
        port.wait(0)
        port.wait(0)
        assert not desk.inbox.busy, disturbance.where
        if way is go_on or desk.called:
            assert len(desk.inbox) == 0, disturbance.where
        else:  # the call had not begun
            assert len(desk.inbox) == entries, disturbance.where


@pytest.mark.parametrize("entries", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_entry_of_another_thread_is_called_whatever_is_raised(
    port: CompletionPort, way: Callable[[Desk], None], entries: int
) -> None:
    """It comes while the inbox is in use, at any instruction; and then a handler raises."""
    desk = Desk(port)

    def come() -> None:
        desk.inbox.deliver(desk.note, "other")

    for disturbance in meanwhile(come, MODULES, Alarm):
        desk = Desk(port)
        fill(desk, entries)
        with contextlib.suppress(Alarm), disturbance:
            way(desk)
        port.wait(0)
        port.wait(0)
        assert len(desk.inbox) == 0, disturbance.where
        expected = [("other",)] if disturbance.where else []
        assert [what for what in desk.called if what == ("other",)] == expected, disturbance.where


def test_receivers_that_deliver_an_end_do_nothing_else() -> None:
    """The port puts their event back if that is interrupted at its beginning: see `queue`."""
    found = []
    for path in Path(pyiocp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
                if any(isinstance(f, ast.Attribute) and f.attr == "deliver_end" for f in calls):
                    found.append(path.stem)
                    assert isinstance(node, ast.FunctionDef), path
                    statements = node.body[1:] if ast.get_docstring(node) else node.body
                    assert [type(statement) for statement in statements] == [ast.Expr], path
                    assert len(calls) == 1, path
    assert sorted(found) == ["receiving", "sending"]
