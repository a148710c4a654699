"""What the loop uses of asyncio that asyncio's documentation does not promise, and why.

Nothing else in ``pyiocp.aio`` imports such a name, or calls such a method of asyncio's own objects,
without it standing here. All of it is there, with the same meaning, in Python 3.11 to 3.14; a test
looks.

- `BaseSelectorEventLoop`: the rest of a loop. It has tasks, servers, ``getaddrinfo`` and executors,
  as every loop of asyncio's; and ``sock_recv`` to ``sock_connect``, ``add_reader`` and its own
  transports over a selector, here `PortSelector`: a class of the documented `selectors.BaseSelector`.
  Overridden are the methods in `OVERRIDDEN`; read are the attributes in `READ`.
- `FlowControl`: the water marks of a transport, and ``pause_writing``. `SSLProtocol` needs them to be
  asyncio's.
- `SSLProtocol`: TLS on top of any transport.
"""

from __future__ import annotations

from asyncio import constants
from asyncio.selector_events import BaseSelectorEventLoop
from asyncio.sslproto import SSLProtocol
from asyncio.transports import _FlowControlMixin as FlowControl
from asyncio.trsock import TransportSocket

__all__ = [
    "OVERRIDDEN",
    "READ",
    "BaseSelectorEventLoop",
    "FlowControl",
    "SSLProtocol",
    "TransportSocket",
    "constants",
]

OVERRIDDEN = {
    "_make_self_pipe": "a wake-up is a packet on the port, not a byte in a socket",
    "_close_self_pipe": "the same",
    "_write_to_self": "the same",
    "_make_socket_transport": "connections are on the port",
    "_make_ssl_transport": "TLS stands on that",
    "_start_serving": "clients are accepted by AcceptEx",
    "_stop_serving": "the accepts end with the server",
}
"""Methods of `BaseSelectorEventLoop`, with the reason."""

READ = {
    "_ready": "what `select` has found is called after what is ready already",
    "_debug": "read for each callback: `get_debug()` is a call",
    "_transports": "so that `add_reader` refuses the socket of a transport",
}
"""Attributes of `BaseSelectorEventLoop`, with the reason."""
