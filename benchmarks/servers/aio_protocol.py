"""asyncio's protocols on pyiocp's loop."""

from functools import partial

from pyiocp import aio

from . import asyncio_protocol

serve_echo = partial(asyncio_protocol.serve_echo, new_loop=aio.new_event_loop)
serve_broadcast = partial(asyncio_protocol.serve_broadcast, new_loop=aio.new_event_loop)
serve_datagrams = partial(asyncio_protocol.serve_datagrams, new_loop=aio.new_event_loop)
serve_download = partial(asyncio_protocol.serve_download, new_loop=aio.new_event_loop)
