"""Kept memory: what the kernel may still write to although pyiocp is done with the operation.

There are two kinds: operations that were still in flight when a port had to close, and operations
whose packet came before the kernel had written how they ended.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

from ..errors import failed
from ..winapi import STATUS_CANCELLED, STATUS_PENDING

if TYPE_CHECKING:
    from ..engine.packet import Packet

#: What was still in flight when a port had to close: the kernel may still write there.
kept_for_ever: list[dict[int, Packet]] = []


def keep_for_ever(in_flight: dict[int, Packet]) -> None:
    """Keep packets and everything they hold, even when the interpreter is finalized."""
    kept_for_ever.append(in_flight)
    # Lifetime: at its end the interpreter clears every module, including the list. A reference
    # that is never given back outlives that.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(in_flight))


#: Memory that the kernel has queued a packet for, and may still write to.
_unwritten: list[tuple[Any, ...]] = []
#: Reentrant: a finalizer may close a port while its thread holds it.
_unwritten_lock = threading.RLock()


def keep_unwritten(packet: Packet, status: int) -> tuple[int, int]:
    """Keep the memory of a packet that still says pending; return how it ended instead.

    Windows writes the status before it queues the packet. If the thread that submitted is just
    ending, Wine 8 writes it later, or never, and loses what was received: then it is not a
    success, and is reported as Windows would, as an aborted operation.
    """
    # Lifetime: no longer in the in-flight table, but the kernel's until the status is written.
    # Only the memory is kept: the packet would keep its handle and the whole port.
    with _unwritten_lock:
        _unwritten[:] = [memory for memory in _unwritten if memory[0][0] == STATUS_PENDING]
        _unwritten.append(packet.memory)
    return 0, status if failed(status) else STATUS_CANCELLED
