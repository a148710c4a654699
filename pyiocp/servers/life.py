"""Life: how a session of either kind runs, is broken off, and ends with one ``on_close``."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..engine.inbox import Inbox
from ..errors import PortClosedError, error_of_code
from ..winapi.errorcodes import WSAECONNABORTED, WSAETIMEDOUT
from .idle_watch import IdleWatch
from .session_state import CLOSED, CONNECTING, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..errors import IocpError
    from .admission import Slot
    from .tcp.session import Session
    from .udp.datagram_session import DatagramSession

logger = logging.getLogger("pyiocp")

_S = TypeVar("_S", bound="Session | DatagramSession")


class Life(Generic[_S]):
    """What the connection of a `Session` and the peer of a `DatagramSession` have in common.

    Only methods that are called rarely: a hot method that two classes share loses its inline
    caches. Hooks of one session never overlap: they are called within the inbox.

    on_end: called with the session after its ``on_close``.
    """

    name: ClassVar[str]
    """The session's class as users know it, for errors."""

    # There are many, most of them idle: slots, here and in the parts of a connection, save
    # 200 bytes each.
    __slots__ = (
        "_begun_at",
        "_ended",
        "_error",
        "_home",
        "_over",
        "inbox",
        "local_address",
        "on_end",
        "peer_address",
        "session",
        "slot",
        "state",
        "watch",
    )

    def __init__(self, home: Home, session: _S, on_end: Callable[[_S], None]) -> None:
        self.state = CONNECTING
        self.session = session
        self.on_end = on_end
        self.peer_address: Any = None
        self.local_address: Any = None
        self.inbox = Inbox(home.ready, self._on_failure)
        self.slot: Slot | None = None
        """What it takes of the limits of its server."""
        self.watch: IdleWatch | None = None
        self._home = home
        self._begun_at: float | None = None
        self._error: OSError | None = None
        #: Whether ``on_close`` has been called, and whether all that follows has been done.
        self._ended = False
        self._over = False

    @property
    def error(self) -> OSError | None:
        """The error that ended it, if one did."""
        return self._error

    @property
    def age_s(self) -> float:
        """How many seconds ago it began; 0 before that."""
        begun_at = self._begun_at
        return 0.0 if begun_at is None else self._home.kernel.monotonic() - begun_at

    # From any thread

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a worker call `function`, which runs within the inbox, in its turn."""
        with contextlib.suppress(PortClosedError):
            self._home.call_soon(self.inbox.deliver, function, *arguments)

    def abort(self) -> None:
        """End it at once; see `Session.abort`."""
        self.submit(self.break_off, self._error_in("abort", WSAECONNABORTED), True)

    # Within the inbox

    def _watch_for_idleness(self, *limits: tuple[float, Callable[[], None]]) -> None:
        """Watch for idleness, as the session's settings say.

        limits: more limits: seconds of silence, and what to call then.
        """
        seconds = self.session.idle_timeout
        if seconds is not None:
            if not seconds > 0:
                raise ValueError(f"idle_timeout must be None or more than 0 seconds, not {seconds}")
            limits = (*limits, (seconds, self._on_idle))
        self.watch = IdleWatch(self._home, self.inbox.deliver, limits)

    def _on_idle(self) -> None:
        if self.state is OPEN:
            self.break_off(self._error_in("idle_timeout", WSAETIMEDOUT), reset=True)

    def _on_failure(self, error: BaseException) -> None:
        """End the session, because a hook has raised something.

        An Exception is logged. Any other, such as that of ``sys.exit``, goes on to who runs the
        port, and there is shown.
        """
        if isinstance(error, Exception):
            logger.error("%r is aborted: a hook failed", self.session, exc_info=error)
        if self.state is CLOSED:
            self._close(reset=False)  # go on with it: it may have been interrupted
        else:
            self.break_off(error, reset=True)

    def break_off(self, error: BaseException, reset: bool = False) -> None:
        """End it because of `error`; with `reset` a connected peer gets an RST."""
        if self.state is not CLOSED:
            self._error = as_os_error(error)
            self._close(reset)

    def _close(self, reset: bool) -> None:
        """Become `CLOSED`, and end once nothing is under way."""
        raise NotImplementedError

    def _say_goodbye(self, on_close: Callable[[OSError | None], None]) -> None:
        """Call ``on_close``, once, and give up everything, whatever it raises.

        Called again, this goes on with what was interrupted.
        """
        if self._over:
            return
        try:
            if not self._ended:
                if self.watch is not None:
                    self.watch.stop()
                self._ended = True
                on_close(self._error)
        except Exception:
            logger.exception("on_close of %r failed", self.session)
        finally:
            if self._ended:
                self.on_end(self.session)
                self._over = True
                self._free()

    def _free(self) -> None:
        """Free what is large: life and session refer to each other until a collection."""

    def _error_in(self, function: str, code: int) -> IocpError:
        """Return an error that this side has caused."""
        return error_of_code(f"{self.name}.{function}", code, None, self.session)


def as_os_error(error: BaseException) -> OSError:
    """Return `error`, or an OSError that wraps it, for ``on_close``."""
    if isinstance(error, OSError):
        return error
    wrapped = ConnectionAbortedError(f"the session was ended by {error!r}")
    wrapped.__cause__ = error
    return wrapped
