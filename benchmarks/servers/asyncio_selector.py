"""asyncio's protocols on the SelectorEventLoop: select(), with at most 512 sockets."""

import asyncio
from functools import partial

from . import asyncio_protocol

serve_echo = partial(asyncio_protocol.serve_echo, new_loop=asyncio.SelectorEventLoop)
serve_broadcast = partial(asyncio_protocol.serve_broadcast, new_loop=asyncio.SelectorEventLoop)
serve_datagrams = partial(asyncio_protocol.serve_datagrams, new_loop=asyncio.SelectorEventLoop)
serve_download = partial(asyncio_protocol.serve_download, new_loop=asyncio.SelectorEventLoop)
