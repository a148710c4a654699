"""What datagram sessions, and servers, have received, sent and dropped."""

from __future__ import annotations

from typing import NamedTuple


class DatagramSessionStatistics(NamedTuple):
    """What a datagram session has received and sent so far: a plain value.

    The first six are those of `SessionStatistics`, a message being a datagram here.
    ``truncated`` of the messages received were longer than the buffer. Not among them are
    ``receives_dropped``, which came while too many waited for a hook, or after the session had
    begun to close; ``sends_dropped`` are those for which `send` said False, and those that the
    system could not send after all.
    """

    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_sent: int
    send_queue_bytes: int
    age_s: float
    truncated: int
    receives_dropped: int
    sends_dropped: int


class DatagramServerStatistics(NamedTuple):
    """What a datagram server has received and sent so far: a plain value.

    ``sessions`` there are now; ``accepted`` there were in all. ``receives_pending`` is 1, or 0
    while receiving is paused or the system refuses it; ``sends_pending`` datagrams the system
    has not taken at once and has now.

    ``bytes_received`` to ``sends_dropped`` are the sums over all sessions, present and past,
    as in `DatagramSessionStatistics`.

    Datagrams of addresses without a session: ``not_admitted`` were kept out by ``admit``,
    ``refused`` by a limit or because the server was shutting down, ``truncated_first`` were
    longer than the buffer, and for ``failed`` no session could be made. ``evicted`` sessions
    of peers that had sent one datagram only were ended for new ones, when there was no room.

    ``unreachable`` counts how often a peer's host has answered that the port is not in use, if
    that is to be reported; ``receive_errors`` are receives that ended in any other error.
    """

    sessions: int
    accepted: int
    receives_pending: int
    sends_pending: int
    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_sent: int
    truncated: int
    receives_dropped: int
    sends_dropped: int
    not_admitted: int
    refused: int
    evicted: int
    truncated_first: int
    failed: int
    unreachable: int
    receive_errors: int
