"""asyncio's protocols on winloop, which is libuv."""

from functools import partial

import winloop

from . import asyncio_protocol

serve_echo = partial(asyncio_protocol.serve_echo, new_loop=winloop.new_event_loop)
serve_broadcast = partial(asyncio_protocol.serve_broadcast, new_loop=winloop.new_event_loop)
serve_datagrams = partial(asyncio_protocol.serve_datagrams, new_loop=winloop.new_event_loop)
