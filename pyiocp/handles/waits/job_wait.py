"""JobWaitOperation: a wait until no process of a job runs.

What belongs here: that operation. When it ends is decided by the `job`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engine.endless_calls import endless_calls, error_codes
from ...engine.operation import Operation
from ...engine.packet import PENDING
from ...winapi import STATUS_CANCELLED, STATUS_PENDING, STATUS_SUCCESS

if TYPE_CHECKING:
    from .job import Job


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
        # Lifetime: no packet has it, the kernel knows nothing of this operation.
        self.address = job.home.tags.new()

    @property
    def unwritten(self) -> bool:
        """Never: the kernel knows nothing of it."""
        return False

    def _submit(self, announce: bool) -> bool:
        with self._job.posting:
            self._attempts = endless_calls(self._start, (), error_codes(self._code_of_start))
            if self.state is not PENDING:
                self.words[0] = STATUS_SUCCESS
            try:
                return super()._submit(announce)
            finally:
                del self._attempts  # which holds the operation itself

    def _start(self) -> int:
        """Begin to watch the job. Called with the handle's lock."""
        self.words[0] = STATUS_PENDING
        self._code = self._job.watch(self)
        return not self._code

    def _code_of_start(self) -> int:
        return self._code

    def end(self, status: int) -> bool:
        """Complete the operation, if it has not been completed."""
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
