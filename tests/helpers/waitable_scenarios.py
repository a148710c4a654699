"""What is waited for, as scenarios: objects, processes, jobs, times, and a directory's changes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

from completions import one
from scenario import (
    CANCELLED,
    FAILURE,
    ON_THE_SPOT,
    PENDING,
    REFUSED,
    TOO_LATE,
    Cell,
    Elsewhere,
    Outcome,
    Scenario,
)
from waiting_kernels import wait_until_queued

from pyiocp import (
    Change,
    ChangeAction,
    Directory,
    Event,
    IocpError,
    Job,
    JobMessage,
    NotifyFilter,
    OperationCancelledError,
    Timer,
    Waitable,
)
from pyiocp.winapi import STATUS_PENDING, CloseHandle, CreateEventW, ResetEvent, SetEvent

A_MINUTE = 60.0
A_MOMENT = 0.02

WAIT_REFUSED = Elsewhere(
    "handles/waits/test_waitable.py", "test_a_refused_wait_raises_and_may_be_posted_again"
)


class Wait(Scenario):
    """For an object of which somebody else has the handle."""

    method = "Waitable.wait"
    within_call = False
    cancel_is_told = False
    leaks = (ON_THE_SPOT, CANCELLED)
    cells: ClassVar[dict[Outcome, Cell]] = {FAILURE: WAIT_REFUSED, REFUSED: WAIT_REFUSED}

    def set_up(self) -> None:
        number = CreateEventW(None, False, False, None)
        assert number is not None
        self.number = number
        self.stack.callback(CloseHandle, number)
        self.handle: Waitable = self.owns(self.port.waitable(number))

    def post(self) -> Any:
        return self.handle.wait()

    def complete(self, operation: Any) -> None:
        assert SetEvent(self.number)

    def wait_until_ended(self, operation: Any) -> None:
        wait_until_queued(self.port)

    def post_ready(self) -> Any:
        assert SetEvent(self.number)
        return self.post()

    def check(self, completion: Any) -> None:
        assert completion.bytes == 0
        assert ResetEvent(self.number)


class WaitForEvent(Wait):
    method = "Event.wait"

    def set_up(self) -> None:
        self.handle: Event = self.owns(self.port.event())

    def complete(self, operation: Any) -> None:
        self.handle.set()

    def post_ready(self) -> Any:
        self.handle.set()
        return self.post()

    def check(self, completion: Any) -> None:
        assert completion.bytes == 0


def child() -> subprocess.Popen[bytes]:
    """Return a process that lasts until its standard input ends, and ends with 7."""
    script = "import sys; sys.stdin.read(); sys.exit(7)"
    return subprocess.Popen([sys.executable, "-S", "-c", script], stdin=subprocess.PIPE)


class OfAChild(Wait):
    """With a process of its own; one cannot end twice, so that the leak tests do not end it."""

    leaks = (CANCELLED,)
    renewable = False

    def set_up(self) -> None:
        self.child = child()
        self.stack.callback(self.end_child)

    def end_child(self) -> None:
        """End the process, if it has not ended."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        assert self.child.wait(20) == 7

    def complete(self, operation: Any) -> None:
        self.end_child()

    def post_ready(self) -> Any:
        self.end_child()
        return self.post()


class WaitForProcess(OfAChild):
    method = "Process.wait"

    def set_up(self) -> None:
        super().set_up()
        self.handle = self.owns(self.port.process(self.child))

    def check(self, completion: Any) -> None:
        assert completion.exit_code == 7


class WaitForJob(OfAChild):
    """For the end of all processes of a job; the job's messages are left aside."""

    method = "Job.wait"
    function = "QueryInformationJobObject"
    leaks = (CANCELLED, REFUSED)
    failure = IocpError
    cells: ClassVar[dict[Outcome, Cell]] = {
        FAILURE: Elsewhere(
            "handles/waits/test_job.py", "test_a_job_that_cannot_be_asked_is_not_waited_for"
        ),
        TOO_LATE: Elsewhere(
            "handles/waits/test_job.py", "test_a_cancel_that_loses_against_the_end_changes_nothing"
        ),
    }

    def set_up(self) -> None:
        super().set_up()
        self.handle: Job = self.owns(self.port.job())
        self.handle.assign(self.child)
        assert isinstance(one(self.port), JobMessage)

    def take(self) -> Any:
        """Return the wait's completion, without the messages about the process."""
        seen: list[Any] = []
        while not any(completion.operation for completion in seen):
            completions = self.port.wait(60)
            assert completions, f"only {seen} came"
            seen += completions
        [completion] = [completion for completion in seen if completion.operation]
        return completion

    def post_ready(self) -> Any:
        """A job without a process has none that runs."""
        self.handle = self.owns(self.port.job())
        return self.post()

    def check(self, completion: Any) -> None:
        assert self.handle.active_processes == 0


class After(Scenario):
    method = "Timer.after"
    function = "SetWaitableTimer"
    within_call = False
    cancel_is_told = False
    failure = IocpError
    leaks = (ON_THE_SPOT, CANCELLED, REFUSED)
    cells: ClassVar[dict[Outcome, Cell]] = {
        FAILURE: Elsewhere(
            "handles/waits/test_timer_handle.py", "test_a_timer_that_cannot_be_set_raises"
        )
    }

    def set_up(self) -> None:
        self.handle: Timer = self.owns(self.port.timer())

    def post(self) -> Any:
        return self.handle.after(A_MOMENT)

    def post_stuck(self) -> Any:
        return self.handle.after(A_MINUTE)

    def complete(self, operation: Any) -> None:
        """Time does."""

    def wait_until_ended(self, operation: Any) -> None:
        wait_until_queued(self.port)

    def post_ready(self) -> Any:
        return self.handle.after(0)

    def check(self, completion: Any) -> None:
        assert completion.late >= 0


class Every(After):
    method = "Timer.every"
    cells: ClassVar[dict[Outcome, Cell]] = {
        **After.cells,
        TOO_LATE: Elsewhere(
            "handles/waits/test_timer_handle.py",
            "test_a_cancel_that_loses_against_a_tick_ends_the_series",
        ),
    }

    def post(self) -> Any:
        return self.handle.every(A_MINUTE, first=A_MOMENT)

    def post_stuck(self) -> Any:
        return self.handle.every(A_MINUTE)

    def post_ready(self) -> Any:
        return self.handle.every(A_MINUTE, first=0)

    def check(self, completion: Any) -> None:
        """The series goes on; it is ended."""
        super().check(completion)
        assert completion.operation.cancel() is True
        assert isinstance(one(self.port).error, OperationCancelledError)


class Watch(Scenario):
    """A directory's changes; the watch goes on until it is cancelled."""

    method = "Directory.watch"
    function = "ReadDirectoryChangesW"
    spoiled = frozenset({PENDING})
    within_call = False
    cells: ClassVar[dict[Outcome, Cell]] = {
        FAILURE: Elsewhere("handles/directories/test_directory.py", "test_other_ends_of_a_watch")
    }

    def set_up(self) -> None:
        self.path = self.folder / "watched"
        self.path.mkdir(exist_ok=True)
        for file in self.path.iterdir():
            file.unlink()
        self.handle: Directory = self.owns(
            self.port.directory(self.path, notify=NotifyFilter.FILE_NAME, buffer_size=4096)
        )
        self.files = 0

    def post(self) -> Any:
        self.handle.watch()
        [operation] = [p for p in self.port.in_flight.values() if not p.internal]
        return operation

    def complete(self, operation: Any) -> None:
        self.files += 1
        (self.path / str(self.files)).touch()

    def post_ready(self) -> Any:
        """What has changed since the last watch is told."""
        self.cancel(self.post())
        assert isinstance(one(self.port).error, OperationCancelledError)
        self.complete(None)
        return self.post()

    def cancel(self, operation: Any) -> bool:
        was_pending = bool(operation.status == STATUS_PENDING)
        self.handle.cancel()
        return was_pending

    def check(self, completion: Any) -> None:
        assert completion.changes == [Change(ChangeAction.ADDED, str(self.files))]
        self.handle.cancel()
        assert isinstance(one(self.port).error, OperationCancelledError)


SCENARIOS: list[type[Scenario]] = [
    Wait,
    WaitForEvent,
    WaitForProcess,
    WaitForJob,
    After,
    Every,
    Watch,
]
