"""JobMessage: what a job object reports to its completion port, without an operation."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ...engine.completion import Completion
from ...engine.packet import PostedPacket
from ...winapi import (
    JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS,
    JOB_OBJECT_MSG_ACTIVE_PROCESS_LIMIT,
    JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO,
    JOB_OBJECT_MSG_END_OF_JOB_TIME,
    JOB_OBJECT_MSG_END_OF_PROCESS_TIME,
    JOB_OBJECT_MSG_EXIT_PROCESS,
    JOB_OBJECT_MSG_JOB_CYCLE_TIME_LIMIT,
    JOB_OBJECT_MSG_JOB_MEMORY_LIMIT,
    JOB_OBJECT_MSG_NEW_PROCESS,
    JOB_OBJECT_MSG_NOTIFICATION_LIMIT,
    JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT,
    JOB_OBJECT_MSG_SILO_TERMINATED,
    STATUS_SUCCESS,
)

if TYPE_CHECKING:
    from .job import Job


class JobEvent(enum.IntEnum):
    """What a job's message tells, under Windows' names and with its numbers."""

    END_OF_JOB_TIME = JOB_OBJECT_MSG_END_OF_JOB_TIME
    END_OF_PROCESS_TIME = JOB_OBJECT_MSG_END_OF_PROCESS_TIME
    ACTIVE_PROCESS_LIMIT = JOB_OBJECT_MSG_ACTIVE_PROCESS_LIMIT
    ACTIVE_PROCESS_ZERO = JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO
    NEW_PROCESS = JOB_OBJECT_MSG_NEW_PROCESS
    EXIT_PROCESS = JOB_OBJECT_MSG_EXIT_PROCESS
    ABNORMAL_EXIT_PROCESS = JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS
    PROCESS_MEMORY_LIMIT = JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT
    JOB_MEMORY_LIMIT = JOB_OBJECT_MSG_JOB_MEMORY_LIMIT
    NOTIFICATION_LIMIT = JOB_OBJECT_MSG_NOTIFICATION_LIMIT
    JOB_CYCLE_TIME_LIMIT = JOB_OBJECT_MSG_JOB_CYCLE_TIME_LIMIT
    SILO_TERMINATED = JOB_OBJECT_MSG_SILO_TERMINATED


#: The messages after which there may be no process left.
ENDS = {
    JobEvent.ACTIVE_PROCESS_ZERO,
    JobEvent.EXIT_PROCESS,
    JobEvent.ABNORMAL_EXIT_PROCESS,
}


class JobMessage(Completion):
    """A message of a job, a plain value: a completion without an operation.

    ``event`` is what it tells, a `JobEvent` (or the bare number of one that is not known
    here), ``pid`` the number of the process, or None if it is not about one, ``job`` the
    `Job`. That a message does not come means nothing: Windows may lose it.
    """

    __slots__ = ("event", "job", "pid")

    job: Job
    event: JobEvent | int
    pid: int | None

    def __repr__(self) -> str:
        event = self.event.name if isinstance(self.event, JobEvent) else self.event
        return f"<JobMessage {event}: key={self.key!r}, pid={self.pid}>"


class JobPacket(PostedPacket):
    """A message on its way from the job to a thread that waits on the port."""

    __slots__ = ("_job", "_pid")

    function_name = "SetInformationJobObject"

    def __init__(self, job: Job, pid: int) -> None:
        super().__init__(job.key)
        self.kind = "job message"
        self._job = job
        self._pid = pid

    def finish(self, count: int, status: int) -> JobMessage:
        """Return the message; `count` is its number, as in the packet."""
        message = JobMessage(None, self._job.key, 0, STATUS_SUCCESS)
        message.job = self._job
        message.event = JobEvent(count) if count in JobEvent.__members__.values() else count
        message.pid = self._pid or None
        return message
