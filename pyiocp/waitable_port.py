"""WaitablePort: a completion queue, and the ways to what is waited for on it.

What belongs here: which kinds of it there are. What a kind does stands with it, in
`handles`; handles that are read and written are in `handle_port`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .engine.queue import CompletionQueue
from .errors import PortClosedError
from .handles.event import Event
from .handles.job import Job
from .handles.process import Process
from .handles.timer import Timer
from .handles.waitable import Waitable

if TYPE_CHECKING:
    import subprocess
    from multiprocessing.process import BaseProcess


class WaitablePort(CompletionQueue):
    """Ring 2: processes, events, timers, jobs; users make a `CompletionPort`."""

    def waitable(self, handle: int, *, key: Any = None) -> Waitable:
        """Return a `Waitable`, to wait on the port for the object of a handle.

        handle: of a process, thread, event, semaphore, timer or whatever else can be waited
            for, with SYNCHRONIZE access; not of a mutex. It stays the caller's: the waitable
            has a handle of its own.
        key: any object; it comes back with every completion.

        Raises TypeError for what is no number, ValueError for a mutex or a number that no
        handle has, `HandleInvalidError` if it is not open, `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/sync/synchronization-objects
        """
        self._check_takes("waitable")
        return Waitable.of_handle(self, handle, key)

    def process(
        self,
        process: subprocess.Popen[Any] | BaseProcess | None = None,
        *,
        pid: int | None = None,
        handle: int | None = None,
        key: Any = None,
    ) -> Process:
        """Return a `Process`, to wait on the port for its end.

        process: a ``subprocess.Popen`` or a ``multiprocessing.Process`` that has been
            started; it goes on as before.
        pid: or the number of a process. When that has ended its number may be another's, so
            this is safe only for a process that is known to run, or is a child of yours
            whose Popen you keep.
        handle: or a handle of it, which stays the caller's.
        key: any object; it comes back with every completion.

        Raises TypeError unless one of the three is given, ValueError for a bad number, an
        `IocpError` (``ERROR_INVALID_PARAMETER`` 87: no process has that pid;
        ``ERROR_ACCESS_DENIED`` 5; ``ERROR_INVALID_HANDLE`` 6), `PortClosedError` on a
        closed port.

        Source: https://learn.microsoft.com/windows/win32/procthread/process-handles-and-identifiers
        """
        self._check_takes("process")
        return Process.open(self, process, pid, handle, key)

    def event(
        self,
        *,
        name: str = "",
        manual_reset: bool = False,
        initially_set: bool = False,
        key: Any = None,
    ) -> Event:
        """Create an `Event` of the system, to be waited for on the port.

        name: to share it with other processes by; if there is one of that name, that is
            opened and the next two are not looked at.
        manual_reset: it stays set until it is reset; otherwise one wait resets it.
        initially_set: begin set.
        key: any object; it comes back with every completion.

        Raises an `IocpError` (``ERROR_INVALID_HANDLE`` 6: the name is another kind of
        object's; ``ERROR_ACCESS_DENIED`` 5), `PortClosedError` on a closed port.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createeventw
        """
        self._check_takes("event")
        return Event.open(self, manual_reset, initially_set, name, key)

    def timer(self, *, key: Any = None) -> Timer:
        """Create a `Timer`, to be set for one time or for a series of ticks.

        It is exact, has a key and completes like any operation; for a function that is to be
        called some time, and to a few milliseconds, there is the cheaper `call_later`.

        key: any object; it comes back with every completion.

        Raises an `IocpError` if the system has no room for one, `PortClosedError` on a
        closed port.

        Source: https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-createwaitabletimerexw
        """
        self._check_takes("timer")
        return Timer.open(self, key)

    def job(
        self,
        handle: int | None = None,
        *,
        name: str = "",
        kill_on_close: bool = False,
        key: Any = None,
    ) -> Job:
        """Create a `Job`, a group of processes, which sends its messages to the port.

        handle: of a job that there is, and that has no port; it stays the caller's. By
            default a job is created.
        name: to share it with other processes by; if there is one of that name that is used.
        kill_on_close: when its last handle is closed, or this process ends in whatever way,
            all its processes are ended.
        key: any object; it comes back with every completion.

        Raises `AlreadyAssociatedError` if the job has a port, another `IocpError` if the
        system refuses (``ERROR_INVALID_HANDLE`` 6: no job), `PortClosedError` on a closed
        port.

        Source: https://learn.microsoft.com/windows/win32/procthread/job-objects
        """
        self._check_takes("job")
        return Job.open(self, handle, name, kill_on_close, key)

    def _check_takes(self, kind: str) -> None:
        if self.closing:
            raise PortClosedError(f"{self!r} is closed: it takes no {kind}")
