"""Process: a process whose end completes an operation."""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any

from ...engine.completion import Completion
from ...errors import IocpError, error_of_code
from ...winapi import DWORD, PROCESS_QUERY_LIMITED_INFORMATION, SYNCHRONIZE, WAIT_OBJECT_0
from .waitable import Waitable, WaitOperation, duplicate

if TYPE_CHECKING:
    from ...engine.kernel import Kernel
    from ...engine.queue import CompletionQueue

#: The access to wait for a process, and to ask for its exit code.
PROCESS_WAIT_ACCESS = SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION


def process_handle(
    kernel: Kernel, process: Any, pid: int | None, handle: int | None, access: int
) -> int:
    """Return a handle of the given process, which the caller has to close.

    process: a ``subprocess.Popen`` or a ``multiprocessing.Process``; or its `pid`, or a
        `handle` of it. `access` is used to open a pid.

    Raises TypeError unless one of the three is given, ValueError for a bad number, an
    `IocpError` (``ERROR_INVALID_PARAMETER`` 87: no process has that pid;
    ``ERROR_ACCESS_DENIED`` 5).

    Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openprocess
    """
    if sum(given is not None for given in (process, pid, handle)) != 1:
        raise TypeError("one of a process, its pid= and its handle= is needed")
    if pid is not None:
        if not 0 < pid <= 0xFFFFFFFF:
            raise ValueError(f"{pid} is not the number of a process")
        opened = kernel.OpenProcess(access, False, pid)
        if opened is None:
            raise error_of_code("OpenProcess", kernel.last_error(), None, f"pid {pid}")
        return opened
    if handle is None:
        handle = getattr(process, "sentinel", None)  # multiprocessing
        if handle is None:
            handle = getattr(process, "_handle", None)  # subprocess
        if handle is None:
            raise TypeError(f"a Popen or a multiprocessing.Process is needed, not {process!r}")
    return duplicate(kernel, int(handle))


class ProcessCompletion(Completion):
    """The end of a process; ``exit_code`` is what it ended with, 0 to 2**32 - 1: a plain value.

    The code is None if the wait was cancelled, if the `Process` was closed in the meantime, or if
    its handle, which was the caller's, is good for waiting only.
    """

    __slots__ = ("exit_code",)

    exit_code: int | None

    def _details(self) -> list[str]:
        return [f"exit_code={self.exit_code}"]


class ProcessWaitOperation(WaitOperation):
    """A wait for the end of a process; its completion has the exit code."""

    __slots__ = ("_process",)

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._process = process

    def finish(self, count: int, status: int) -> ProcessCompletion:
        """Return the completion, with the exit code."""
        super().finish(count, status)
        completion = ProcessCompletion(self, self.key, 0, status)
        completion.exit_code = None
        if completion.error is None:
            with contextlib.suppress(IocpError):  # the handle may only be waited for
                completion.exit_code = self._process.exit_code_or_none()
        return completion


class Process(Waitable):
    """A process, by a handle of its own. Made by ``CompletionPort.process``.

    Thread safety: any thread may call any method.
    """

    kind = "process"

    @classmethod
    def open(
        cls, home: CompletionQueue, process: Any, pid: int | None, handle: int | None, key: Any
    ) -> Process:
        """Return the process that is meant; raises what `process_handle` raises."""
        number = process_handle(home.kernel, process, pid, handle, PROCESS_WAIT_ACCESS)
        return cls.owning(home, number, key)

    def wait(self) -> ProcessWaitOperation:
        """Wait for the end of the process: the `ProcessCompletion` has its ``exit_code``.

        If it has ended already the completion comes at once. Raises and completes like
        `Waitable.wait`.

        Source: https://learn.microsoft.com/windows/win32/procthread/terminating-a-process
        """
        operation = ProcessWaitOperation(self)
        operation.post()
        return operation

    @property
    def pid(self) -> int:
        """The number of the process; another may get it when this one has ended.

        Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocessid
        """
        with self.lock:
            self.check_open("question")
            kernel = self.home.kernel
            pid = kernel.GetProcessId(self.number)
            if pid:
                return pid
            code = kernel.last_error()
        raise error_of_code("GetProcessId", code, None, self)

    @property
    def exit_code(self) -> int | None:
        """What the process has ended with, 0 to 2**32 - 1; None while it runs.

        Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getexitcodeprocess
        """
        self.check_open("question")
        return self.exit_code_or_none()

    def exit_code_or_none(self) -> int | None:
        """Return the exit code; None if the process runs, or if this is closed.

        Source: https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getexitcodeprocess
        """
        with self.lock:
            kernel = self.home.kernel
            # The code alone is not enough: 259, for a running process, is also a valid exit code.
            if self.closed or kernel.WaitForSingleObject(self.number, 0) != WAIT_OBJECT_0:
                return None
            code = DWORD()
            if kernel.GetExitCodeProcess(self.number, ctypes.byref(code)):
                return code.value
            error = kernel.last_error()
        raise error_of_code("GetExitCodeProcess", error, None, self)
