"""IdleOperations: the operations that no session of a port needs at the moment.

Sessions that end, and those that are idle in zero-byte mode, leave their operations to others:
making one takes 20 µs, reusing one less than 1 µs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gathered_send import GatheredSend
from .session_receive import BufferedReceive

if TYPE_CHECKING:
    from ...engine.operation import Operation
    from ...engine.packet import Receiver
    from ...handles.sockets.stream import Stream

_IDLE_MAX = 64
"""How many of each are kept: as many as one batch has packets."""

_IDLE_BYTES_MAX = 1 << 21
"""Bytes of buffers of one size that are kept."""

_SIZES_MAX = 8
"""How many different sizes of buffers are kept."""


def _nobodys(_operation: Operation, _count: int, _status: int) -> None:
    """Receive for an idle operation, of which no packet comes.

    Not None: an operation may become idle while its last receiver is at work, and what that raises
    must not be taken for the end of an operation that a `wait` would return.
    """


class IdleOperations:
    """The idle operations of one port. Any thread may call any method."""

    def __init__(self) -> None:
        self._sends: list[GatheredSend] = []
        self._receives: dict[int, list[BufferedReceive]] = {}

    def take_send(self, stream: Stream, receiver: Receiver) -> GatheredSend:
        """Return a send for this stream."""
        try:
            send = self._sends.pop()
        except IndexError:
            send = GatheredSend(stream)
        send.aim(stream, receiver)
        return send

    def give_send(self, send: GatheredSend) -> None:
        """Take back a send that is not under way, and has nothing queued."""
        if send.operation.unwritten or len(self._sends) >= _IDLE_MAX:
            return
        send.unload()
        operation = send.operation
        del operation.handle  # it must keep nothing alive
        operation.receiver = _nobodys
        self._sends.append(send)

    def take_receive(self, stream: Stream, size: int, receiver: Receiver) -> BufferedReceive:
        """Return a receive of up to `size` bytes for this stream."""
        try:
            receive = self._receives[size].pop()
        except (KeyError, IndexError):
            receive = BufferedReceive(stream, size)
        receive.aim(stream, receiver)
        return receive

    def give_receive(self, receive: BufferedReceive) -> None:
        """Take back a receive that is not under way, unless the user keeps a view of it."""
        size = len(receive.buffer)
        idle = self._receives.get(size)
        if idle is None:
            if len(self._receives) >= _SIZES_MAX:
                return
            idle = self._receives.setdefault(size, [])
        if receive.kept or receive.operation.unwritten:
            return
        if len(idle) < _IDLE_MAX and (len(idle) + 1) * size <= _IDLE_BYTES_MAX:
            operation = receive.operation
            del operation.handle
            operation.receiver = _nobodys
            idle.append(receive)
