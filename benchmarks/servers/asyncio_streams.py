"""asyncio's server with StreamReader and StreamWriter, a coroutine a connection."""

from __future__ import annotations

import asyncio

from .asyncio_protocol import Loop
from .control import Control


def serve_echo(control: Control, new_loop: Loop = asyncio.new_event_loop) -> None:
    """Send back what comes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=4096)
        control.ready(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    new_loop().run_until_complete(main())
