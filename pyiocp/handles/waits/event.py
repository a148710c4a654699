"""Event: an event of the system on a completion port.

With it, code that does not know the port, perhaps in another process or in C, can notify the
port. Within the process ``port.post`` is simpler, and each post comes as a packet of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import error_of_code
from .waitable import Waitable

if TYPE_CHECKING:
    from ...engine.queue import CompletionQueue


class Event(Waitable):
    """An event, to be set, reset and waited for. Made by ``CompletionPort.event``.

    ``number`` is its handle, to be given to other code as long as this is open.

    Thread safety: any thread may call any method.
    """

    kind = "event"

    @classmethod
    def open(
        cls, home: CompletionQueue, manual_reset: bool, initially_set: bool, name: str, key: Any
    ) -> Event:
        """Create an event, or open the one of that name; an `IocpError` if there is none to be had.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createeventw
        """
        kernel = home.kernel
        number = kernel.CreateEventW(None, manual_reset, initially_set, name or None)
        if number is None:
            raise error_of_code("CreateEventW", kernel.last_error(), None, name or None)
        return cls.owning(home, number, key)

    def set(self) -> None:
        """Set the event: a wait for it ends, or all of them if it is reset by hand.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setevent
        """
        self._call("SetEvent")

    def reset(self) -> None:
        """Reset the event: waits for it last until it is set again.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-resetevent
        """
        self._call("ResetEvent")
