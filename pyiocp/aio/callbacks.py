"""Callbacks: how a transport calls its protocol."""

from __future__ import annotations

import contextvars
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("asyncio")


def runner(loop: Any) -> Callable[..., Any]:
    """Return what calls a function with its arguments, in a context of a transport's own.

    In debug mode it warns of functions that take too long: what asyncio measures is the whole round
    of completions that they are part of.
    """
    run = contextvars.copy_context().run
    return partial(_run_and_time, loop, run) if loop.get_debug() else run


def _run_and_time(
    loop: Any, run: Callable[..., Any], function: Callable[..., Any], *arguments: Any
) -> Any:
    begun = loop.time()
    try:
        return run(function, *arguments)
    finally:
        seconds = loop.time() - begun
        if seconds >= loop.slow_callback_duration:
            logger.warning("Executing %r took %.3f seconds", function, seconds)
