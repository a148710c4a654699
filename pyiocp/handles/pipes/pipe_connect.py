"""PipeConnect: opens a client's end of a pipe as soon as its server is not busy.

WaitNamedPipeW, the system's way to wait, blocks its thread, and another client may be faster once
it returns. So opening is tried again and again, with the port's timers, at growing intervals;
asyncio does the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine.completion import Completion
from ...engine.packet import PENDING, Packet
from ...errors import PipeBusyError, PortClosedError, error_of_code
from ...winapi.errorcodes import (
    ERROR_OPERATION_ABORTED,
    STATUS_CANCELLED,
    STATUS_PIPE_NOT_AVAILABLE,
    STATUS_SUCCESS,
)
from .pipe import Pipe

if TYPE_CHECKING:
    from ...engine.queue import CompletionQueue
    from ...engine.timers import ScheduledCall

_INTERVAL_S = 0.001
_INTERVAL_MAX_S = 0.05


class PipeConnect(Packet):
    """A client's wait for a pipe: ``pipe`` is its end once its completion says success.

    It counts as one of the port's operations in flight, although the kernel does not know of it
    between two attempts.

    Thread safety: any thread may call any method.
    """

    __slots__ = (
        "_deadline",
        "_error",
        "_home",
        "_interval",
        "_key",
        "_open_pipe",
        "_timer",
        "pipe",
    )

    buffers = ()
    function_name = "CreateFileW"

    def __init__(
        self,
        home: CompletionQueue,
        name: str,
        *,
        message: bool,
        mode: str,
        key: Any,
        timeout: float | None,
    ) -> None:
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout}")
        super().__init__("connect")
        self._home = home
        self._key = key
        self._open_pipe = partial(Pipe.open, home, name, mode=mode, message=message, key=key)
        self._deadline = None if timeout is None else home.kernel.monotonic() + timeout
        self._interval = _INTERVAL_S
        self._timer: ScheduledCall | None = None
        self._error: OSError | None = None
        self.pipe: Pipe | None = None

    @property
    def key(self) -> Any:
        """The key of the pipe to be."""
        return self._key

    def start(self) -> None:
        """Open the pipe, or begin to wait; raise what is no matter of waiting."""
        self.state = PENDING
        # What takes it out of the table completes it: an attempt, or cancel().
        self._home.in_flight[self.address] = self
        try:
            self._attempt()
        except BaseException:
            self._home.in_flight.pop(self.address, None)
            raise

    def cancel(self) -> bool:
        """Give up. Returns True if it was waiting, False if it had ended already.

        Either way exactly one completion comes. Any thread may call it.
        """
        timer = self._timer
        if timer is not None:
            timer.cancel()
        return self._end(self._cancelled(), STATUS_CANCELLED)

    def finish(self, count: int, status: int) -> Completion:
        """Return the completion, with the error of the last attempt if it failed."""
        return Completion(self, self.key, 0, status, self._error)

    def _cancelled(self) -> OSError:
        return error_of_code(self.function_name, ERROR_OPERATION_ABORTED, None, self)

    def _attempt(self) -> None:
        try:
            self._home.check_open("takes no pipe", closing=True)
            pipe = self._open_pipe()
        except PipeBusyError as error:
            left = self._time_left()
            if left > 0:
                self._try_again_in(min(self._interval, left))
            else:
                self._end(error, STATUS_PIPE_NOT_AVAILABLE)
            return
        self.pipe = pipe
        if not self._end(None, STATUS_SUCCESS):
            pipe.close()  # cancelled meanwhile

    def _time_left(self) -> float:
        if self._deadline is None:
            return _INTERVAL_MAX_S
        return self._deadline - self._home.kernel.monotonic()

    def _try_again_in(self, seconds: float) -> None:
        self._interval = min(self._interval * 2, _INTERVAL_MAX_S)
        self._timer = self._home.call_later(seconds, self._try_again)

    def _try_again(self) -> None:
        if self.address not in self._home.in_flight:
            return  # cancelled meanwhile
        try:
            self._attempt()
        except PortClosedError:
            self._end(self._cancelled(), STATUS_CANCELLED)
        except OSError as error:
            self._end(error, STATUS_PIPE_NOT_AVAILABLE)

    def _end(self, error: OSError | None, status: int) -> bool:
        """Complete the wait, once; return whether it was this call that did."""
        if self._home.in_flight.pop(self.address, None) is None:
            return False
        self._error = error
        self.words[0] = status
        self._home.enqueue((self, 0, status))
        return True
