"""ModelConnection: the connection of a session under one of the models.

It is the servers' own `Connection`, with its states, water marks and time limits: so a session
runs unchanged under every model, and a measured difference is one of the models. A port takes
operations from any thread; a loop starts them in its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import IocpError, error_of_code
from ..servers.session_state import CLOSED
from ..servers.tcp.connection import Connection
from ..servers.tcp.sending import Sending
from ..servers.tls.upgrade import upgrade
from .channel import FAILED_WITH

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..servers.tcp.gathered_send import GatheredSend
    from ..servers.tcp.session import Session
    from ..servers.transport import Hooks
    from .loop import Loop


class ModelConnection(Connection):
    """The connection of one session, served by a loop."""

    def __init__(
        self, loop: Loop, session: Session, on_end: Callable[[Session], None], hooks: Hooks
    ) -> None:
        super().__init__(loop, session, loop.idle_operations, on_end, upgrade, hooks)
        self.sends = _LoopSending(self, loop)

    def error_of(self, function: str, status: int) -> IocpError:
        """Return the error that an operation ended in; see `FAILED_WITH`."""
        if status & 0xFFFF0000 == FAILED_WITH:
            return error_of_code(function, status & 0xFFFF, None, self.session)
        return super().error_of(function, status)


class _LoopSending(Sending):
    """Sending that is started where the loop wants them."""

    def __init__(self, connection: ModelConnection, loop: Loop) -> None:
        super().__init__(connection)
        self._loop = loop
        self._asked = False

    def _flush(self, send: GatheredSend, piece: int = 0) -> None:
        """Submit what waits, in the loop's thread. Called with the lock."""
        if self._loop.starts_here():
            super()._flush(send, piece)
        elif not self._asked:
            self._asked = True
            self._connection.submit(self._flush_there)

    def _flush_there(self) -> None:
        with self.lock:
            self._asked = False
            send = self._send
            if not (self.sending or send is None or self._connection.state is CLOSED):
                super()._flush(send)
        self._go_on()

    def send_file(self, file: Any, offset: int, count: int | None, close: bool) -> NoReturn:
        """Raise: only a completion port has this; see `Session.send_file`."""
        raise NotImplementedError(
            f"send_file: the model {self._loop.model!r} has none; it takes TransmitFile on a "
            "completion port: CompletionPort.listen(), or the model 'completion-port'"
        )
