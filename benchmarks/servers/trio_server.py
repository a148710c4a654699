"""trio's server: a task a connection."""

from __future__ import annotations

import functools

import trio

from .control import Control


def serve_echo(control: Control) -> None:
    """Send back what comes."""

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            serve = functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1", backlog=4096)
            [listener] = await nursery.start(serve)
            control.ready(listener.socket.getsockname()[1])

    trio.run(main)
