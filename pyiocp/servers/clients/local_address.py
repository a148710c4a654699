"""LocalAddress: where a client's connections come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...handles.sockets.connect import share_local_ports
from ...handles.sockets.stream import Stream
from ..resolve import check_address, check_family, is_numeric, resolve

if TYPE_CHECKING:
    from ...handles.sockets.socket_handle import SocketHandle


class LocalAddress:
    """The ``local_address`` of `CompletionPort.connect`: a plain value.

    address: numeric; None has the system choose, when it connects.
    peers: the addresses to connect to.

    Raises TypeError and ValueError for bad arguments, a peer of another family among them.
    """

    family = 0
    """AF_INET or AF_INET6, if only that can be connected to; 0 is both."""

    def __init__(self, address: Any, peers: tuple[Any, ...]) -> None:
        self._address = address
        if address is None:
            return
        check_address(address)
        if not is_numeric(address):
            raise ValueError(f"local_address must have a numeric host, not {address!r}")
        if address[0]:
            self.family, self._address = resolve(address, passive=True)
        for peer in peers:
            check_family(peer, self.family)

    def bind(self, handle: SocketHandle) -> None:
        """Bind a socket that is about to connect, if an address was given."""
        if self._address is None:
            return
        if isinstance(handle, Stream) and not self._address[1]:
            share_local_ports(handle)
        handle.bind(self._address)
