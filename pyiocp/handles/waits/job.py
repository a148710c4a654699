"""Job: a group of processes that reports to a completion port what happens to them.

A job's messages are packets without an operation: a process has joined the job, has ended, or none
is left. They have the number of a process where others have the address of an OVERLAPPED, so they
are routed by their key (see `late_packets`).

Windows does not guarantee any message. So the event that matters, that no process is left, is an
operation, `Job.wait`, and the job is asked for it: when a message says that a process has ended,
and once a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from typing import TYPE_CHECKING, Any

from ...engine.endless_calls import endless_calls, error_codes
from ...engine.operation import Operation
from ...engine.packet import PENDING
from ...errors import AlreadyAssociatedError, IocpError, PortClosedError, error_of_code
from ...winapi import (
    ERROR_INVALID_PARAMETER,
    ERROR_MORE_DATA,
    JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_ASSOCIATE_COMPLETION_PORT,
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_BASIC_PROCESS_ID_LIST,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    PROCESS_SET_QUOTA,
    PROCESS_TERMINATE,
    STATUS_CANCELLED,
    STATUS_PENDING,
    STATUS_SUCCESS,
    ULONG_PTR,
    JobObjectAssociateCompletionPortInformation,
    JobObjectBasicAccountingInformation,
    JobObjectBasicProcessIdList,
    JobObjectExtendedLimitInformation,
)
from ..handle import Handle
from .job_message import ENDS, JobPacket
from .process import process_handle
from .waitable import duplicate

if TYPE_CHECKING:
    import subprocess
    from multiprocessing.process import BaseProcess

    from ...engine.queue import CompletionQueue

_CHECK_S = 1.0
"""How often a job that is waited for is asked, even without a message."""

_PIDS_FIRST = 64
"""How many processes there is room for at first."""


class Job(Handle):
    """A job object on a completion port. Made by ``CompletionPort.job``.

    Its messages come from the port's ``wait`` as `JobMessage`.

    Thread safety: any thread may call any method.
    """

    kind = "job"

    home: CompletionQueue

    def __init__(self, home: CompletionQueue, number: int, *, key: Any = None) -> None:
        #: Held while a wait is submitted.
        self.posting = threading.Lock()
        #: The waits that are pending; changed with the lock.
        self.waiting: set[JobWaitOperation] = set()
        self._sender_key = 0
        self._checking = False
        super().__init__(home, number, key=key, skip_on_success=False)

    @classmethod
    def open(
        cls,
        home: CompletionQueue,
        handle: int | None,
        name: str,
        kill_on_close: bool,
        key: Any,
    ) -> Job:
        """Create a job, open one by its name, or take the one of a caller's handle.

        Raises an `IocpError` if the system refuses.

        Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-createjobobjectw
        """
        kernel = home.kernel
        number = (
            kernel.CreateJobObjectW(None, name or None)
            if handle is None
            else duplicate(kernel, handle)
        )
        if number is None:
            raise error_of_code("CreateJobObjectW", kernel.last_error(), None, name or None)
        try:
            job = cls(home, number, key=key)
        except BaseException:
            kernel.CloseHandle(number)
            raise
        if kill_on_close:
            try:
                job._kill_on_close()
            except BaseException:
                job.close()
                raise
        return job

    def assign(
        self,
        process: subprocess.Popen[Any] | BaseProcess | None = None,
        *,
        pid: int | None = None,
        handle: int | None = None,
    ) -> None:
        """Put a process into the job for good; the children that it will have are in it too.

        process, pid, handle: as for ``CompletionPort.process``. Children that it has had
            already are not in the job.

        Raises an `IocpError` if the system refuses (``ERROR_ACCESS_DENIED`` 5: not yours to
        control, or in a job that this one cannot be within), `HandleClosedError`.

        Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-assignprocesstojobobject
        """
        kernel = self.home.kernel
        access = PROCESS_SET_QUOTA | PROCESS_TERMINATE
        number = process_handle(kernel, process, pid, handle, access)
        try:
            self._call("AssignProcessToJobObject", number)
        finally:
            kernel.CloseHandle(number)

    def terminate(self, exit_code: int = 1) -> None:
        """End all processes of the job, each with this exit code, 0 to 2**32 - 1.

        Raises ValueError for a code out of range, an `IocpError`, `HandleClosedError`.

        Source: https://learn.microsoft.com/windows/win32/api/jobapi2/nf-jobapi2-terminatejobobject
        """
        if not 0 <= exit_code <= 0xFFFFFFFF:
            raise ValueError(f"an exit code must fit in 32 bits, not {exit_code}")
        self._call("TerminateJobObject", exit_code)

    def wait(self) -> JobWaitOperation:
        """Wait until no process of the job runs; if none runs now it completes at once.

        It completes when the job, being asked, says so: at each message that a process has
        ended, and within a second if that is lost.

        Raises an `IocpError` if the job cannot be asked, `HandleClosedError` or
        `PortClosedError` after a close. Completes with `OperationCancelledError` if it is
        cancelled or the job is closed.

        Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_associate_completion_port
        """
        operation = JobWaitOperation(self)
        operation.post()
        return operation

    @property
    def active_processes(self) -> int:
        """How many processes of the job run."""
        return int(self._account().ActiveProcesses)

    @property
    def total_processes(self) -> int:
        """How many processes have been in the job, those that have ended among them."""
        return int(self._account().TotalProcesses)

    def pids(self) -> list[int]:
        """Return the numbers of the processes of the job that run.

        Raises an `IocpError` if the job cannot be asked, `HandleClosedError`.

        Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_basic_process_id_list
        """
        room = _PIDS_FIRST
        first = JOBOBJECT_BASIC_PROCESS_ID_LIST.ProcessIdList.offset
        while True:
            memory = bytearray(first + room * ctypes.sizeof(ULONG_PTR))
            listed = JOBOBJECT_BASIC_PROCESS_ID_LIST.from_buffer(memory)
            try:
                self._query(JobObjectBasicProcessIdList, listed, len(memory))
            except IocpError as error:
                if error.winerror != ERROR_MORE_DATA:
                    raise
            count = listed.NumberOfProcessIdsInList
            if listed.NumberOfAssignedProcesses <= count:
                return memoryview(memory)[first:].cast("P")[:count].tolist()
            room = listed.NumberOfAssignedProcesses + _PIDS_FIRST

    def watch(self, operation: JobWaitOperation) -> int:
        """Complete the operation when no process runs; return 0, or why the job cannot be asked.

        Called with the lock.
        """
        try:
            active = self._account_locked().ActiveProcesses
        except IocpError as error:
            return error.winerror
        self.waiting.add(operation)
        if not active:
            operation.end(STATUS_SUCCESS)
        elif not self._checking:
            self._checking = True
            self.home.call_later(_CHECK_S, self._check_again)
        return 0

    def _on_packet(self, word: int, count: int) -> None:
        """Hand out a message from the port, and check whether it was of the last process."""
        self.home.enqueue((JobPacket(self, word), count, STATUS_SUCCESS))
        if self.waiting and count in ENDS:
            self._check()

    def _check(self) -> None:
        """Complete the waits if no process runs."""
        with self.lock, contextlib.suppress(IocpError):  # it is asked again in a second
            if self.waiting and not self._account_locked().ActiveProcesses:
                for operation in list(self.waiting):
                    operation.end(STATUS_SUCCESS)

    def _check_again(self) -> None:
        """Check without a message, and again in a second."""
        self._check()
        with self.lock:
            self._checking = bool(self.waiting)
            if self._checking:
                with contextlib.suppress(PortClosedError):
                    self.home.call_later(_CHECK_S, self._check_again)

    def _associate(self) -> None:
        self._sender_key = self.home.senders.add(self._on_packet)
        try:
            self._set_port(self._sender_key, self.home.handle)
        except IocpError as error:
            self.home.senders.remove(self._sender_key)
            if error.winerror != ERROR_INVALID_PARAMETER:
                raise
            raise AlreadyAssociatedError(error.function, error.winerror, None, self) from None

    def _set_port(self, key: int | None, port: int | None) -> None:
        link = JOBOBJECT_ASSOCIATE_COMPLETION_PORT(CompletionKey=key, CompletionPort=port)
        self._set(JobObjectAssociateCompletionPortInformation, link)

    def _leave_port(self) -> bool:
        # Messages that still come are dropped when they are dequeued; Windows 7 cannot take a job
        # off its port.
        self.home.senders.remove(self._sender_key)
        try:
            self._set_port(None, None)
        except IocpError:
            return False
        return True

    def _close_number(self) -> None:
        self._leave_port()
        super()._close_number()

    def _cancel_pending(self) -> None:
        for operation in list(self.waiting):
            operation.end(STATUS_CANCELLED)

    def _kill_on_close(self) -> None:
        limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION()
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        self._set(JobObjectExtendedLimitInformation, limits)

    def _set(self, which: int, information: ctypes.Structure) -> None:
        kernel = self.home.kernel
        size = ctypes.sizeof(information)
        if not kernel.SetInformationJobObject(self.number, which, ctypes.byref(information), size):
            raise error_of_code("SetInformationJobObject", kernel.last_error(), None, self)

    def _query(self, which: int, information: ctypes.Structure, size: int) -> None:
        with self.lock:
            self.check_open("question")
            self._query_locked(which, information, size)

    def _query_locked(self, which: int, information: ctypes.Structure, size: int) -> None:
        kernel = self.home.kernel
        where = ctypes.byref(information)
        if not kernel.QueryInformationJobObject(self.number, which, where, size, None):
            raise error_of_code("QueryInformationJobObject", kernel.last_error(), None, self)

    def _account(self) -> JOBOBJECT_BASIC_ACCOUNTING_INFORMATION:
        with self.lock:
            self.check_open("question")
            return self._account_locked()

    def _account_locked(self) -> JOBOBJECT_BASIC_ACCOUNTING_INFORMATION:
        account = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION()
        self._query_locked(JobObjectBasicAccountingInformation, account, ctypes.sizeof(account))
        return account


class JobWaitOperation(Operation):
    """A wait until no process of a job runs."""

    __slots__ = ("_code", "_job")

    def __init__(self, job: Job) -> None:
        super().__init__(job, "wait")
        self.function_name = "QueryInformationJobObject"
        self._job = job
        self._code = 0
        self._failure = 0
        self._arguments = ()
        # Lifetime: the kernel does not know of this operation, so no packet has this address.
        self.address = job.home.tags.new()

    @property
    def unwritten(self) -> bool:
        """Never: the kernel does not know of it."""
        return False

    def _submit(self, announce: bool) -> bool:
        with self._job.posting:
            self._endless = endless_calls(self._start, (), error_codes(self._code_of_start))
            if self.state is not PENDING:
                self.words[0] = STATUS_SUCCESS
            try:
                return super()._submit(announce)
            finally:
                del self._endless  # which holds the operation itself

    def _start(self) -> int:
        """Begin to watch the job. Called with the handle's lock."""
        self.words[0] = STATUS_PENDING
        self._code = self._job.watch(self)
        return not self._code

    def _code_of_start(self) -> int:
        return self._code

    def end(self, status: int) -> bool:
        """Complete the operation, unless it has completed already."""
        home = self._job.home
        self._job.waiting.discard(self)
        if home.in_flight.pop(self.address, None) is None:
            return False
        self.words[0] = status
        home.enqueue((self, 0, status))
        return True

    def cancel(self) -> bool:
        """Stop waiting; the processes are left alone.

        Returns True if the wait was stopped, False if it had ended already. Either way
        exactly one completion comes.
        """
        with self._job.lock:
            return self.end(STATUS_CANCELLED)
