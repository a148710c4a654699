"""Kept memory: what the kernel may yet write to although its operation is over for pyiocp.

There are two kinds: what was still in flight when a port had to close, and what a packet
came for before the kernel had written how the operation ended.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

from ..errors import failed
from ..winapi import STATUS_CANCELLED, STATUS_PENDING

if TYPE_CHECKING:
    from ..engine.packet import Packet

#: What was still in flight when a port had to close: the kernel may yet write there.
kept_for_ever: list[dict[int, Packet]] = []


def keep_for_ever(in_flight: dict[int, Packet]) -> None:
    """Keep packets and all they hold, also when the interpreter takes itself apart."""
    kept_for_ever.append(in_flight)
    # Lifetime: at its end the interpreter clears every module, and the list with it. One
    # reference that nobody gives back outlives that.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(in_flight))


#: What the kernel has sent a packet for, and may yet write to.
_unwritten: list[tuple[Any, ...]] = []
#: Reentrant: a finalizer may close a port while its thread is in here.
_unwritten_lock = threading.RLock()


def keep_unwritten(packet: Packet, status: int) -> tuple[int, int]:
    """Keep the memory of a packet that still says pending; return how it ended instead.

    Windows writes the status before it queues the packet. Wine 8 writes it later, or
    never, and loses what was received, if the thread that submitted is just ending: then
    success is none, and is reported as what Windows means by it, an operation aborted.
    """
    # Lifetime: out of the in-flight table, but the kernel's until the status is there. Only
    # what it may write to: the packet itself would keep its handle and the whole port.
    with _unwritten_lock:
        _unwritten[:] = [memory for memory in _unwritten if memory[0][0] == STATUS_PENDING]
        _unwritten.append(packet.memory)
    return 0, status if failed(status) else STATUS_CANCELLED
