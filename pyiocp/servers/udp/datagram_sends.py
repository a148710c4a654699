"""DatagramSends: how datagrams leave one socket.

The system nearly always takes a datagram on the spot, into its own buffer: so it is asked to do
that first, without an operation. What it has no room for is sent by an operation. There may be
many, as many as peers that get the state of a game in one tick; they are reused.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from typing import TYPE_CHECKING, Protocol

from ...engine.operation import Operation
from ...errors import REFUSALS
from ...winapi import DWORD, SOCKET, SOCKET_ERROR, sockaddr
from ..tcp.gathered_send import SendBuffer

if TYPE_CHECKING:
    from ...handles.sockets.datagram import Datagram

logger = logging.getLogger("pyiocp")

_IDLE_MAX = 1024
"""How many idle operations are kept: as many as a large broadcast needs at once."""


class SendOwner(Protocol):
    """The `Peer` that a datagram is sent for, as seen from here."""

    def sent(self, send: PeerSend, status: int) -> None:
        """Count a send that has ended."""

    def go_on(self) -> None:
        """Go on with the end, if it waits for what was being sent."""


class PeerSend:
    """A send of one datagram to one peer. ``operation`` is a plain `Operation`.

    ``size`` is how many bytes it sends for ``owner``; ``waits`` is whether they were not taken
    on the spot. The owner sets that, with its lock.
    """

    __slots__ = ("_address", "_buffer", "_sends", "operation", "owner", "size", "waits")

    def __init__(self, sends: DatagramSends, datagram: Datagram) -> None:
        self._sends = sends
        self.owner: SendOwner | None = None
        self.size = 0
        self.waits = False
        self.operation = Operation(datagram, "send_to")
        self.operation.receiver = self._on_sent
        buffers = (SendBuffer * 1)()
        self._buffer = buffers[0]
        # Lifetime: both the view and the call's arguments keep the memory of the address; it is
        # written to only while the operation is not under way.
        target = type(sockaddr(datagram.family, ("", 0)))()
        self._address = memoryview(target).cast("B")
        self.operation._calls(
            "WSASendTo",
            datagram.port.kernel.WSASendTo,
            SOCKET_ERROR,
            SOCKET(datagram.number),
            ctypes.byref(buffers),
            DWORD(1),
            None,
            DWORD(0),
            ctypes.byref(target),
            ctypes.c_int(ctypes.sizeof(target)),
            ctypes.byref(self.operation.overlapped),
            None,
        )

    def load(self, owner: SendOwner | None, address: bytes, message: bytes) -> None:
        """Make it a send of `message` to the bytes of a socket address."""
        self.owner = owner
        self.size = len(message)
        self.waits = False
        self._address[:] = address
        # Lifetime: the buffer keeps the bytes object until `unload`. Several may share it.
        self._buffer.buf = message
        self._buffer.len = len(message)
        self.operation.buffers = (message,)

    def unload(self) -> None:
        """Drop what was sent."""
        self.owner = None
        self._buffer.buf = b""  # for None, ctypes keeps what it kept before
        self.operation.buffers = ()

    def _on_sent(self, operation: Operation, count: int, status: int) -> None:
        self._sends.ended(self, status)


class DatagramSends:
    """The sends of one socket. Any thread may call any method.

    limit: how many may be under way at a time.
    """

    def __init__(self, datagram: Datagram, limit: int) -> None:
        self.bytes_max = datagram.bytes_max
        self._datagram = datagram
        self._limit = limit
        self._idle: list[PeerSend] = []
        self._made = 0
        #: Held to count operations that are made; reusing one needs no lock.
        self._lock = threading.Lock()

    @property
    def under_way(self) -> int:
        """How many are under way."""
        return self._made - len(self._idle)

    def take(self, address: bytes, message: bytes) -> bool:
        """Have the system take a datagram at once; False if it did not, for any reason.

        address: the bytes of a socket address of the socket's family.
        """
        try:
            return not self._datagram.send_at_once(message, address)
        except REFUSALS:
            return False

    def start(self, owner: SendOwner | None, address: bytes, message: bytes) -> PeerSend | None:
        """Begin to send a datagram; None if that was refused. An owner calls this with its lock.

        owner: whose `Peer.sent` is called when it has ended.
        address: the bytes of a socket address of the socket's family.
        """
        try:
            send = self._idle.pop()
        except IndexError:
            with self._lock:
                if self._made >= self._limit:
                    return None
                self._made += 1
            send = PeerSend(self, self._datagram)
        send.load(owner, address, message)
        try:
            send.operation.post()
        except REFUSALS as error:
            # A datagram that the system has no room for is only counted, like one that is lost on
            # the way. The next one may go out.
            logger.debug("a datagram of %r was dropped: %s", owner or self._datagram, error)
            self._take_back(send)
            return None
        return send

    def ended(self, send: PeerSend, status: int) -> None:
        """Take back an operation whose packet has come."""
        owner = send.owner
        if owner is not None:
            owner.sent(send, status)
        self._take_back(send)
        if owner is not None:
            owner.go_on()

    def _take_back(self, send: PeerSend) -> None:
        send.unload()
        if len(self._idle) < _IDLE_MAX and not send.operation.unwritten:
            self._idle.append(send)
        else:
            with self._lock:
                self._made -= 1
