"""Newcomers: the peers that may have sent one datagram only, the oldest first.

Sending one datagram from a forged address costs nothing. So when a server is full, the oldest peer
of that kind is ended for the next one: a flood of single datagrams keeps nobody out, and ends no
peer that has sent more. It is no defence against a flood of two datagrams from each forged address,
which fills the server: only `AddressValidation` is.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..admission import network_of

if TYPE_CHECKING:
    from .peer import Peer


class Newcomers:
    """Peers in the order in which they came. Any thread may call any method.

    A second datagram is not reported here: that would cost something for each datagram. A peer that
    has sent more is removed when it is found in front, which happens to each peer once.

    by_network: whether `oldest` is asked for the peers of one address.
    """

    def __init__(self, *, by_network: bool) -> None:
        self._by_network = by_network
        self._lock = threading.Lock()
        #: All of them under None, and those of each network.
        self._peers: dict[Any, dict[bytes, Peer]] = {None: {}}

    def add(self, peer: Peer) -> None:
        """Add one that has sent its first datagram."""
        with self._lock:
            for network in self._networks_of(peer):
                self._peers.setdefault(network, {})[peer.key] = peer

    def discard(self, peer: Peer) -> None:
        """Forget one that has ended."""
        with self._lock:
            self._discard(peer)

    def oldest(self, address: Any = None) -> Peer | None:
        """Remove and return the oldest that has sent one datagram only; None if there is none.

        address: only of those that count as this peer address for `Limits`.
        """
        network = None if address is None else network_of(address)
        with self._lock:
            while peers := self._peers.get(network):
                peer = next(iter(peers.values()))
                self._discard(peer)
                if peer.is_new:
                    return peer
        return None

    def _networks_of(self, peer: Peer) -> list[Any]:
        return [None, network_of(peer.peer_address)] if self._by_network else [None]

    def _discard(self, peer: Peer) -> None:
        for network in self._networks_of(peer):
            peers = self._peers.get(network, {})
            if peers.get(peer.key) is peer:
                del peers[peer.key]
                if not peers and network is not None:
                    del self._peers[network]
