"""What the loop uses of asyncio that asyncio's documentation does not promise, and why.

Nothing else in ``pyiocp.aio`` imports such a name. All of it is there, with the same meaning, in
Python 3.11 to 3.14; a test looks. The classes are shown to type checkers with just those members
that are used, each with its reason.

- `BaseSelectorEventLoop`: the rest of a loop. It has tasks, servers, ``getaddrinfo`` and executors,
  as every loop of asyncio's; and ``sock_recv`` to ``sock_connect``, ``add_reader`` and its own
  transports over a selector. That is `PortSelector`, a documented `selectors.BaseSelector`.
- `FlowControl`: the water marks of a transport. `SSLProtocol` needs those of asyncio.
- `SSLProtocol`: TLS on top of any transport.
- `SendfileMode`: how a transport says that it sends files by itself.
- `BaseSubprocessTransport`: what a process tells its protocol, and when, and the streams of it.
- `popen` and `PipeHandle`: starts a process with pipes that can be put on a port, and has a handle
  as its ``fileno()``. `asyncio.windows_utils` has no underscore, and no documentation.
- `AsyncioPipeServer`: what ``start_serving_pipe`` returns is one: so type checkers have it.
- `attach` and `detach`: a server counts its transports, to tell when all of them have ended.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import selector_events
from asyncio.base_events import Server
from asyncio.constants import _SendfileMode as SendfileMode
from asyncio.sslproto import SSLProtocol
from asyncio.trsock import TransportSocket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import selectors
    from collections import deque
    from collections.abc import MutableMapping

    class BaseSelectorEventLoop(selector_events.BaseSelectorEventLoop):
        """As the loop sees it."""

        _ready: deque[asyncio.Handle]
        """What ``select`` has found is called after what is ready already."""
        _debug: bool
        """Read for each callback: ``get_debug()`` is a call."""
        _transports: MutableMapping[int, Any]
        """``add_reader`` refuses the sockets that are in here."""

        def _process_events(self, event_list: list[tuple[selectors.SelectorKey, int]]) -> None:
            """Called with what has become ready."""

        def _check_closed(self) -> None:
            """Called by what a closed loop refuses."""

        def _make_self_pipe(self) -> None:
            """Overridden: a wake-up is an event of the port, not a byte in a socket."""

        def _close_self_pipe(self) -> None:
            """Overridden likewise."""

        def _write_to_self(self) -> None:
            """Overridden likewise."""

        def _make_socket_transport(self, *arguments: Any, **more: Any) -> Any:
            """Overridden: connections are on the port, unless they are on another one."""

        def _make_datagram_transport(self, *arguments: Any) -> Any:
            """Overridden: datagram sockets are on the port, unless they are on another one."""

        def _make_ssl_transport(self, *arguments: Any, **more: Any) -> Any:
            """Overridden: TLS stands on such connections."""

        def _start_serving(self, *arguments: Any) -> None:
            """Overridden: clients are accepted by AcceptEx."""

        def _stop_serving(self, sock: Any) -> None:
            """Overridden likewise."""

        async def _sendfile_native(self, *arguments: Any) -> Any:
            """Overridden: files are sent by TransmitFile."""

        def _add_callback_signalsafe(self, handle: asyncio.Handle) -> None:
            """Called by a signal handler: ``call_soon_threadsafe`` of a handle that there is."""

        def _make_read_pipe_transport(self, *arguments: Any, **more: Any) -> Any:
            """Overridden: pipes are on the port, or have a thread."""

        def _make_write_pipe_transport(self, *arguments: Any, **more: Any) -> Any:
            """Overridden likewise."""

        async def _make_subprocess_transport(self, *arguments: Any, **more: Any) -> Any:
            """Overridden: the end of a process is a packet."""

    class FlowControl(asyncio.Transport):
        """As a transport sees it."""

        _extra: dict[str, Any]
        """What ``get_extra_info`` knows."""
        _high_water: int
        """Looked at for each write that has to wait, before a call."""
        _protocol_paused: bool
        """Looked at after each send."""

        def __init__(self, extra: dict[str, Any] | None, loop: Any) -> None:
            """Begin with asyncio's own water marks."""

        def _maybe_pause_protocol(self) -> None:
            """Called when more waits."""

        def _maybe_resume_protocol(self) -> None:
            """Called when less waits."""

    class BaseSubprocessTransport(asyncio.SubprocessTransport):
        """As the transport of a process sees it."""

        _loop: Any
        """Where the process is waited for."""
        _proc: Any
        """The Popen, which `_start` sets."""
        _closed: bool
        """Whether ``close`` has been called."""

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            """Start the process, and connect its pipes."""

        def _start(self, *arguments: Any, **settings: Any) -> None:
            """Overridden: starts the process."""

        def _process_exited(self, returncode: int) -> None:
            """Called once, when the process has ended."""

        async def _wait(self) -> int:
            """Called for a process that is not wanted any more."""

    class PipeHandle:
        """As seen by what stands for one."""

        def fileno(self) -> int:
            """Return the handle."""

        def close(self) -> None:
            """Overridden: the pipe is closed."""

    class AsyncioPipeServer:
        """As seen by what stands for one: its state is not used."""

        def closed(self) -> bool:
            """Overridden."""

        def close(self) -> None:
            """Overridden."""

else:
    from asyncio.base_subprocess import BaseSubprocessTransport
    from asyncio.transports import _FlowControlMixin as FlowControl

    BaseSelectorEventLoop = selector_events.BaseSelectorEventLoop
    if sys.platform == "win32":
        from asyncio.windows_events import PipeServer as AsyncioPipeServer
        from asyncio.windows_utils import PipeHandle
    else:
        AsyncioPipeServer = PipeHandle = object

if sys.platform == "win32":
    from asyncio import windows_utils

__all__ = [
    "AsyncioPipeServer",
    "BaseSelectorEventLoop",
    "BaseSubprocessTransport",
    "FlowControl",
    "PipeHandle",
    "SSLProtocol",
    "SendfileMode",
    "Server",
    "TransportSocket",
    "attach",
    "detach",
    "popen",
]


def attach(server: Any, transport: object) -> None:
    """Have a server count a transport."""
    if sys.version_info >= (3, 13):
        server._attach(transport)
    else:
        server._attach()


def detach(server: Any, transport: object) -> None:
    """Have a server count a transport no more."""
    if sys.version_info >= (3, 13):
        server._detach(transport)
    else:
        server._detach()


def popen(args: Any, **settings: Any) -> Any:
    """Start a process; its ``stdin``, ``stdout`` and ``stderr`` are `PipeHandle`s, or None."""
    return windows_utils.Popen(args, **settings)
