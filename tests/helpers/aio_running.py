"""Running a test in a loop of pyiocp's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from deadline import DEADLINE_S

from pyiocp import aio


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine in a loop; what the loop reports is a failure."""
    assert reports_of(main) == []


def reports_of(main: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """Run a coroutine in a loop; return what it reports."""
    reports: list[dict[str, Any]] = []

    async def reporting() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        await asyncio.wait_for(main(), 4 * DEADLINE_S)

    aio.run(reporting())
    return reports


def running() -> aio.EventLoop:
    """Return the loop that runs."""
    return cast("aio.EventLoop", asyncio.get_running_loop())
