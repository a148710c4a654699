"""Owner: what receiving and sending ask of the connection that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.inbox import Inbox
    from ...errors import IocpError
    from ...handles.sockets.stream import Stream
    from ..idle_watch import IdleWatch
    from ..session_state import SessionState
    from ..transport import Hooks
    from .idle_operations import IdleOperations
    from .session import Session


class SendLock(Protocol):
    """A connection's `Sending`, as seen by its `Receiving`."""

    lock: Any


class Owner(Protocol):
    """A `Connection`, as seen from below."""

    inbox: Inbox
    session: Session
    hooks: Hooks
    idle_operations: IdleOperations
    stream: Stream | None
    state: SessionState
    watch: IdleWatch | None

    @property
    def sends(self) -> SendLock:
        """What it sends with."""

    @property
    def open_stream(self) -> Stream:
        """The stream, once there is one."""

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a worker call a function within the inbox."""

    def call_later(self, seconds: float, function: Callable[..., None]) -> None:
        """Have a worker call a function within the inbox, after some time."""

    def error_of(self, function: str, status: int) -> IocpError:
        """Return the error that an operation ended in."""

    def break_off(self, error: BaseException, reset: bool = False) -> None:
        """End the session because of an error."""

    def go_on_closing(self) -> None:
        """Take the next step of closing in order, if it is time for one."""

    def pause_for(self, reason: int) -> None:
        """Receive nothing, because too much waits to be sent. Called with the lock of the sends."""

    def resume_for(self, reason: int) -> None:
        """End such a pause. Called with the lock of the sends."""

    def writable(self) -> None:
        """There is room again for what is to be sent."""

    def end(self) -> None:
        """End the session, once nothing is in flight."""
