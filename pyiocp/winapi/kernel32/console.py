"""The console's control events: Ctrl-C and the end of the session."""

from __future__ import annotations

from ..binding import Callback
from ..types import BOOL, DWORD
from .library import kernel32


class PHANDLER_ROUTINE(Callback):
    """A function that is called on a new thread when a control event comes.

    CtrlType: CTRL_C_EVENT, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT or
        CTRL_SHUTDOWN_EVENT. After the last three the process ends when it returns, or
        after a few seconds.

    Returns nonzero if that was all; 0 to have the handler before it called.

    Lifetime: the instance must be kept until it has been taken out of the list.

    Source: https://learn.microsoft.com/windows/console/handlerroutine
    """

    @staticmethod
    def signature(CtrlType: DWORD) -> BOOL: ...


@kernel32(since="Windows NT 3.1")
def SetConsoleCtrlHandler(HandlerRoutine: PHANDLER_ROUTINE, Add: BOOL) -> BOOL:
    """Add a function to the list that control events go through, or take it out.

    HandlerRoutine: the function; None stands for ignoring Ctrl-C, which children inherit.
    Add: nonzero to add it, at the head of the list; 0 to take it out.

    Returns 0 on failure: ask last_error(). ERROR_INVALID_PARAMETER (87): it was not there.

    Source: https://learn.microsoft.com/windows/console/setconsolectrlhandler
    """
