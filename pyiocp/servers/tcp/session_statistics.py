"""SessionStatistics: what a session has received and sent."""

from __future__ import annotations

from typing import NamedTuple


class SessionStatistics(NamedTuple):
    """What a session has received and sent so far.

    ``bytes_received`` came in ``messages_received`` calls of ``on_receive`` (a session that
    is closing drops them, and counts them still). ``messages_sent`` calls of ``send`` were
    taken, and ``bytes_sent`` of their bytes have gone to the system; ``send_queue_bytes``
    wait. ``age_s`` is how many seconds ago the connection came about; 0 before that. It is
    a plain value.
    """

    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_sent: int
    send_queue_bytes: int
    age_s: float
