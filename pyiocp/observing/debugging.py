"""Debug mode: finds code that touches a buffer while the kernel owns it.

``PYIOCP_DEBUG=1`` in the environment, or ``CompletionPort(debug=True)``, turns it on. While
an operation is in flight its buffers are the kernel's:

- A buffer to receive or read into is filled with a pattern, which code that reads it too early
  sees. When the operation completes with n bytes, the bytes from n on must still be the pattern;
  what was there before is restored.
- A buffer to send or write from must be the same before and after.

A violation of either is logged when it is found, with the operation and where it was posted, and
raised by ``port.close()``. Slices of a `BufferPool` get guard pages besides. Without debug mode,
nothing here is called: see `in_flight`.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from ..engine.packet import IDLE
from ..errors import failed
from ..memory.pages import rounded_up

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Buffer

    from ..engine.packet import Packet

logger = logging.getLogger("pyiocp")

PATTERN = 0xDB
"""What the bytes of a buffer are while it waits to be filled."""

#: The Win32 functions that only fill their buffers, in order.
_FILLING = {"WSARecv", "WSARecvFrom", "WSARecvMsg", "ReadFile", "ReadFileScatter"}

#: Those that only read them.
_SENDING = {
    "WSASend",
    "WSASendTo",
    "WSASendMsg",
    "WriteFile",
    "WriteFileGather",
    "ConnectEx",
    "TransmitFile",
    "TransmitPackets",
}

_PACKAGE = __name__.partition(".")[0]


def debug_mode_wanted() -> bool:
    """Tell whether the environment asks for debug mode: ``PYIOCP_DEBUG`` is set, and not 0."""
    return os.environ.get("PYIOCP_DEBUG", "") not in ("", "0")


class BufferRuleError(RuntimeError):
    """Somebody wrote to buffers while the kernel owned them; ``violations`` says to which."""

    def __init__(self, violations: list[str]) -> None:
        super().__init__("\n".join(violations))
        self.violations = violations


class _Owned(NamedTuple):
    """A buffer that the kernel owns, by its number, and what was in it before."""

    number: int
    view: memoryview
    before: bytes


class BufferWatch:
    """Looks at every buffer on its way to the kernel and back. Any thread may call it."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._owned: dict[int, tuple[list[_Owned], str]] = {}

    def taken(self, packet: Packet) -> None:
        """Fill the buffers with the pattern, or remember what is in them."""
        if packet.function_name in _FILLING:
            fill = True
        elif packet.function_name in _SENDING:
            fill = False
        else:
            return
        owned = []
        for number, view in enumerate(map(_bytes_of, packet.buffers)):
            if view.readonly:  # nothing can write to it
                continue
            owned.append(_Owned(number, view, bytes(view)))
            if fill:
                view[:] = bytes((PATTERN,)) * len(view)
        self._owned[packet.address] = (owned, _place(sys._getframe()))

    def given_back(self, packet: Packet) -> None:
        """Check the buffers, and restore the rest of those that were filled."""
        owned, place = self._owned.pop(packet.address, ([], ""))
        refused = packet.state is IDLE
        if packet.unwritten and not refused:
            return  # the kernel has not written how it ended, and may still write data
        if packet.function_name in _SENDING:
            for number, view, before in owned:
                if view != before:
                    self._report(packet, place, number, _first_difference(view, before))
        elif refused:
            self._check_rest(packet, place, owned, 0, checked=True)
        else:
            # It is not known what an operation has filled that failed without a count.
            count = packet.transferred
            checked = count > 0 or not failed(packet.status)
            self._check_rest(packet, place, owned, count, checked)
        for _, view, _ in owned:
            view.release()

    def _check_rest(
        self, packet: Packet, place: str, owned: list[_Owned], count: int, checked: bool
    ) -> None:
        """Check what follows the `count` bytes that were filled, and restore it."""
        # A device fills whole sectors, even the last one of a file.
        sector_size = getattr(getattr(packet, "handle", None), "sector_size", 1)
        touched = rounded_up(count, sector_size)
        for number, view, before in owned:
            filled, unsure = min(count, len(view)), min(touched, len(view))
            count -= filled
            touched -= unsure
            rest = view[unsure:]
            pattern = bytes((PATTERN,)) * len(rest)
            if checked and rest != pattern:
                self._report(packet, place, number, unsure + _first_difference(rest, pattern))
            view[filled:] = before[filled:]

    def _report(self, packet: Packet, place: str, number: int, at: int) -> None:
        text = (
            f"byte {at} of buffer {number} of {packet!r} was changed while the kernel owned it;"
            f" posted at {place}"
        )
        self.violations.append(text)
        logger.error("%s", text)

    def cancel_asked(self, packet: Packet) -> None:
        """Do nothing: it has no effect on buffers."""

    def raise_violations(self) -> None:
        """Raise a `BufferRuleError` if there have been any since this was called last."""
        violations, self.violations = self.violations, []
        if violations:
            raise BufferRuleError(violations)


def _bytes_of(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    return view if view.ndim == 1 and view.format == "B" else view.cast("B")


def _first_difference(view: memoryview, wanted: bytes) -> int:
    return next(
        at for at, (found, byte) in enumerate(zip(view, wanted, strict=True)) if found != byte
    )


def _place(frame: FrameType | None) -> str:
    """Return the file and line where pyiocp was called: of the innermost frame outside it."""
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package != _PACKAGE:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "an unknown place"
