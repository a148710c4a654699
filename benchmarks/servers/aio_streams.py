"""asyncio's streams on pyiocp's loop."""

from functools import partial

from pyiocp import aio

from . import asyncio_streams

serve_echo = partial(asyncio_streams.serve_echo, new_loop=aio.new_event_loop)
