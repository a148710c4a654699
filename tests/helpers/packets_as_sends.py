"""TransmitPackets by other means: what is in memory is sent by WSASend, the rest is noted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyiocp.winapi import TP_ELEMENT_MEMORY, TRANSMIT_PACKETS_ELEMENT, WSABUF, WSASend

if TYPE_CHECKING:
    from faulty_kernel import FaultyKernel

Element = tuple[int, int, int, int]
"""Flags and length of an element; of a file, its handle and offset too."""


def packets_as_sends(kernel: FaultyKernel) -> list[Element]:
    """Stand in for the kernel's TransmitPackets; return the list of all elements given to it."""
    seen: list[Element] = []

    def transmit(
        number: Any, array: Any, count: Any, size: Any, overlapped: Any, flags: Any
    ) -> int:
        assert (size.value, flags.value) == (0, 0)
        buffers = []
        for n in range(count.value):
            element: TRANSMIT_PACKETS_ELEMENT = array._obj[n]
            if element.dwElFlags == TP_ELEMENT_MEMORY:
                buffers.append(WSABUF(element.cLength, element.pBuffer))
                seen.append((element.dwElFlags, element.cLength, 0, 0))
            else:
                place = element.hFile, element.nFileOffset
                seen.append((element.dwElFlags, element.cLength, *place))
        sent = (WSABUF * len(buffers))(*buffers)
        return int(WSASend(number.value, sent, len(sent), None, 0, overlapped, None) == 0)

    def look_up(socket: int) -> Callable[..., int]:
        return transmit

    look_up.__name__ = "TransmitPackets"
    kernel.TransmitPackets = look_up  # type: ignore[method-assign]
    return seen
