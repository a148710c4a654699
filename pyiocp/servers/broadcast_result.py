"""BroadcastResult: which sessions a broadcast has found behind, or not reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .tcp.session import Session
    from .udp.datagram_session import DatagramSession

_S = TypeVar("_S", bound="Session | DatagramSession")


@dataclass(frozen=True)
class BroadcastResult(Generic[_S]):
    """Which sessions `CompletionPort.broadcast` has found behind, or not reached: a plain value.

    All others had room: it is on its way to them.

    behind: sessions that are open and did not have room. The bytes were taken for a `Session`,
        which now has more than its `high_water` waiting: send it no more before its
        ``on_writable``, or end it. A `DatagramSession` missed this one datagram.
    gone: sessions that are closing or closed, or have sent their end. They got nothing, and
        get nothing any more: do not wait for them.
    connecting: sessions that are not connected yet. They got nothing, and may get the next.
    """

    behind: list[_S]
    gone: list[_S]
    connecting: list[_S]
