"""SessionState: where a session is in its life.

The states::

    CONNECTING ──▶ OPEN ──close()──▶ CLOSING ──peer's end, or deadline──▶ CLOSED
                    └──────────── abort(), error ───────────────────────────▲

``CLOSED`` means that the socket is closed. The session ends, with ``on_close``, when the
last of its operations has been dequeued after that.
"""

from __future__ import annotations

import enum


class SessionState(enum.Enum):
    """Where a session is in its life; see the drawing above."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


CONNECTING, OPEN, CLOSING, CLOSED = SessionState
