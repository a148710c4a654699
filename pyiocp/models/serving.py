"""serve: makes a server under the network model of a given name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .completion_port import CompletionPortServer
from .completion_routines import CompletionRoutinesLoop
from .event_select import EventSelectLoop
from .overlapped_events import OverlappedEventsLoop
from .overlapped_polled import OverlappedPolledLoop
from .poll import PollLoop
from .select import SelectLoop
from .server import LoopServer, ModelServer
from .threads import ThreadsLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.kernel import Kernel
    from ..servers.tcp.session import Session
    from .loop import Loop

_LOOPS: dict[str, type[Loop]] = {
    loop.model: loop
    for loop in (
        ThreadsLoop,
        SelectLoop,
        PollLoop,
        EventSelectLoop,
        OverlappedPolledLoop,
        OverlappedEventsLoop,
        CompletionRoutinesLoop,
    )
}

MODELS = (*_LOOPS, CompletionPortServer.model)
"""The names of the models, the oldest first."""

THREADS_MAX = 1024
"""The most threads that can be asked for."""


def serve(
    model: str,
    address: Any,
    factory: Callable[[], Session],
    *,
    fd_setsize: int | None = None,
    threads: int | None = None,
    kernel: Kernel | None = None,
) -> ModelServer:
    """Return a server that listens, and serves under the model once its `run` is called.

    model: one of `MODELS`.
    address: ``(host, port)``; with port 0 the system chooses, see the server's ``address``.
    factory: called without arguments for each connection, returns a new `Session`: mostly
        the class itself. It is the session that ``CompletionPort.listen`` takes: every hook,
        method and setting of it is there, but for ``send_file``, and there is no TLS.
    fd_setsize: of "select" only: sockets that an fd_set has room for, 64 to 65,536; by
        default 64, as Windows' header has it.
    threads: of "event-select" only: how many threads may be started, 1 to 1,024, each
        for 63 connections; by default 1.
    kernel: replaces the operating system in tests; by default the real one.

    A client that the model has no room for is reset; the server's ``refusal`` says why.

    Raises ValueError for an unknown model, and for a setting that it does not have or that is
    out of range; TypeError for a bad factory or address; `AddressUnavailableError` if the
    address is in use, or is not this machine's. Any thread may call it.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, not {model!r}")
    for name, value, owner in (
        ("fd_setsize", fd_setsize, SelectLoop.model),
        ("threads", threads, EventSelectLoop.model),
    ):
        if value is not None and model != owner:
            raise ValueError(f"{name} is a setting of {owner!r}: {model!r} has none")
    if threads is not None and not 1 <= threads <= THREADS_MAX:
        raise ValueError(f"threads must be from 1 to {THREADS_MAX:,}, not {threads}")
    if model == CompletionPortServer.model:
        return CompletionPortServer(address, factory, kernel)
    make_loop: Callable[[LoopServer], Loop] = _LOOPS[model]
    if fd_setsize is not None:
        make_loop = partial(SelectLoop, fd_setsize=fd_setsize)
    return LoopServer(make_loop, address, factory, kernel, threads or 1)
