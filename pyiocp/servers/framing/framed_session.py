"""FramedSession: a session that is handed frames instead of bytes.

They come one at a time: none while the session is paused, and none after it was closed. When many
came at once, they are handed over in turns, so that no peer takes all the time of a worker.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..session_state import OPEN
from ..tcp.session import Session
from ..turn import TurnLayer, turn
from .frame_parser import FramingError
from .framing import Framing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from ..transport import Hooks
    from .frame_parser import FrameParser


class FramedSession(Session):
    """A session that receives and sends frames.

    ::

        from pyiocp import FramedSession, LengthPrefixed

        class Game(FramedSession):
            framing = LengthPrefixed(2, maximum=1200)

            def on_frame(self, frame):
                self.send_frame(frame)

    Everything of `Session` is there, but ``on_receive`` is not called. What is no frame ends
    the session: ``on_close`` gets a `FramingError`, of which there are `FrameTooLongError`
    and, if the peer's end comes in the middle of a frame, `FrameTruncatedError`.

    Hooks run on the port's workers, one at a time for each session.
    """

    framing: Framing
    """How frames are marked. It may be changed at any time, also in ``on_frame``: the bytes
    after that frame are then looked at in the new way."""

    def on_frame(self, frame: memoryview) -> None:
        """A frame came; each in its turn, however the bytes came.

        frame: without what marks it; it may be empty. A view of the session's own buffer,
            valid during this call only: take ``bytes(frame)`` of what you want to keep.

        After `close` or `abort` there is no further one, and after `pause_receiving` none
        before `resume_receiving`: those that have come wait.
        """

    def send_frame(self, frame: Buffer) -> bool:
        """Send a frame, and what marks it; otherwise like `Session.send`.

        frame: any buffer; it is copied. To send one to many sessions, have
            ``framing.wrap(frame)`` made once, and `send` that: it is not copied.

        Raises ValueError for what the framing does not allow, such as a frame that is too
        long; RuntimeError before ``on_connect``, TypeError for anything but a buffer.
        """
        return super().send(self.framing.wrap(frame))


class Framer(TurnLayer):
    """The layer that makes frames of what is received."""

    session: FramedSession

    def __init__(self, session: FramedSession, hooks: Hooks) -> None:
        super().__init__(session, hooks)
        self._framing: Framing | None = None
        self._parser = self._new_parser()
        self._eof = False
        self._finished = False

    def _new_parser(self) -> FrameParser:
        """Return a parser for the framing that the session has now."""
        framing = getattr(self.session, "framing", None)
        if not isinstance(framing, Framing):
            raise TypeError(
                f"{type(self.session).__name__}.framing must be a Framing, "
                f"such as LengthPrefixed(2), not {framing!r}"
            )
        self._framing = framing
        return framing.parser()

    def on_receive(self, data: memoryview) -> None:
        """Hand over the frames that are complete now."""
        if self._keeps_back():
            self._parser.feed(data)
            self._parser.keep()
        else:
            self._hand_over(data)

    def _feed(self, data: Buffer) -> Iterator[memoryview]:
        """Feed the parser, or a new one if the framing has been changed."""
        frames = self._parser.feed(data)
        if self.session.framing is not self._framing:
            # Bytes of the parser's own are fed as they are, without a copy.
            rest = self._parser.take_rest()
            self._parser = self._new_parser()
            frames = self._parser.feed(rest)
        return frames

    def _hand_over(self, data: Buffer) -> None:
        """Hand over what is complete, for one turn; the rest comes in the next."""
        steps = turn(self.connection)
        try:
            frames = self._feed(data)
            for step in steps:
                if not self._hand_over_some(frames, step):
                    self._parser.keep()
                    return
                frames = self._feed(b"")
        except FramingError as error:
            if error is not self._parser.error:
                raise  # a hook did that
            self._end_with(error)
            return
        finally:
            steps.close()
        self._parser.keep()
        self._end_turn()

    def _hand_over_some(self, frames: Iterator[memoryview], count: int) -> bool:
        """Hand over so many frames, or a few more; return whether others may follow now."""
        session = self.session
        below = self.below
        while count:
            for frame in islice(frames, count):
                session.on_frame(frame)
                if self._paused or below.state is not OPEN or session.framing is not self._framing:
                    break
            if below.state is not OPEN:
                self._parser.take_rest()
                return False
            if self._paused or not self._parser.unparsed_bytes:
                return False
            if session.framing is self._framing:
                break
            frames = self._feed(b"")
            count -= 1
        return True

    def _go_on(self) -> None:
        """Go on after a pause, or with the next turn. Within the inbox."""
        self._due = False
        if not self._may_go_on():
            return
        self._hand_over(b"")
        if self._due or not self._may_go_on():
            return
        if self._eof:
            self._finish()
        else:
            self.below.resume()

    @property
    def unread_bytes(self) -> int:
        """How many bytes have come and were not handed over."""
        return self._parser.waiting_bytes + self.below.unread_bytes

    def drop_unread(self) -> int:
        """Drop what has come and was not handed over, and hand over no more of it."""
        return len(self._parser.take_rest())

    def on_eof(self) -> None:
        """Check that the stream does not end within a frame; frames that wait come first."""
        self._eof = True
        if not ((self._paused or self._due) and self._parser.waiting_bytes):
            self._finish()

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        try:
            self._parser.finish()
        except FramingError as error:
            self._end_with(error)
        else:
            self.hooks.on_eof()

    def _end_with(self, error: FramingError) -> None:
        # Without its traceback, whose frames hold views of the receive buffer.
        self.end(error.with_traceback(None))

    def on_close(self, error: OSError | None) -> None:
        """Tell the session; see `Session.on_close`."""
        self._parser.take_rest()  # session and layers wait for a garbage collection
        super().on_close(error)
