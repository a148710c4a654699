"""Jobs: messages that find their way by their key, and an end that the job itself confirms."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    AccessDeniedError,
    AlreadyAssociatedError,
    Completion,
    CompletionPort,
    HandleClosedError,
    HandleInvalidError,
    IocpError,
    Job,
    JobEvent,
    JobMessage,
    OperationCancelledError,
    ResourceLimitError,
    winapi,
)
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    ERROR_ACCESS_DENIED,
    ERROR_NOT_ENOUGH_MEMORY,
    LPOVERLAPPED,
    JobObjectAssociateCompletionPortInformation,
    JobObjectBasicProcessIdList,
)

Child = subprocess.Popen[bytes]


@pytest.fixture
def start() -> Iterator[Callable[[], Child]]:
    """Start processes that end with the code on the line that they are sent."""
    children: list[Child] = []

    def start() -> Child:
        script = "import sys; sys.exit(int(input()))"
        command = [sys.executable, "-S", "-c", script]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


def end(child: Child, code: int = 0) -> None:
    assert child.stdin is not None
    child.stdin.write(b"%d\n" % code)
    child.stdin.flush()
    child.wait(DEADLINE_S)


def gather(port: CompletionPort, count: int) -> list[Completion]:
    """Wait for so many completions; what comes after them is left for the next time."""
    seen: list[Completion] = []
    until = time.monotonic() + 20
    while len(seen) < count and time.monotonic() < until:
        seen += port.wait(1, limit=count - len(seen))
    assert len(seen) == count
    return seen


def messages(completions: list[Completion]) -> list[tuple[Any, int | None]]:
    return [(c.event, c.pid) for c in completions if isinstance(c, JobMessage)]


def without_messages(kernel: FaultyKernel) -> None:
    """Have jobs lose all their messages: putting one on a port does nothing."""

    def refuse(real: Callable[..., int], job: int, which: int, *rest: Any) -> int:
        if which == JobObjectAssociateCompletionPortInformation:
            return 1
        return real(job, which, *rest)

    kernel.wrap("SetInformationJobObject", refuse)


def test_a_job_tells_of_its_processes(port: CompletionPort, start: Callable[[], Child]) -> None:
    """Two join and end: who it was is in each message, and the port's operations are untouched."""
    job = port.job(key="job")
    children = [start(), start()]
    for child in children:
        job.assign(child)
    assert sorted(job.pids()) == sorted(child.pid for child in children)
    assert (job.active_processes, job.total_processes) == (2, 2)
    for child in children:
        end(child)
    seen = gather(port, 5)
    first, second = (child.pid for child in children)
    assert messages(seen) == [
        (JobEvent.NEW_PROCESS, first),
        (JobEvent.NEW_PROCESS, second),
        (JobEvent.EXIT_PROCESS, first),
        (JobEvent.EXIT_PROCESS, second),
        (JobEvent.ACTIVE_PROCESS_ZERO, None),
    ]
    assert {(c.key, c.operation, c.bytes, c.error) for c in seen} == {("job", None, 0, None)}
    assert repr(seen[0]) == f"<JobMessage NEW_PROCESS: key='job', pid={first}>"
    assert (job.active_processes, job.total_processes, job.pids()) == (0, 2, [])


def test_a_pid_that_equals_an_address_in_flight_takes_nothing(port: CompletionPort) -> None:
    """A message about a process whose number is the address of a pending receive.

    It comes as a message, with that number; the receive stays in flight. Windows' numbers
    are small, but so are addresses, now and then.
    """
    job = port.job(key="job")
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive(bytearray(10))
        address = ctypes.cast(operation.address, LPOVERLAPPED)
        key = port._queue.senders.last_key
        assert winapi.PostQueuedCompletionStatus(port.handle, 7, key, address)
        [message] = gather(port, 1)
        assert messages([message]) == [(JobEvent.EXIT_PROCESS, operation.address)]
        assert port.in_flight_by_kind() == {"receive": 1}
        peer.send(b"hello")
        [completion] = gather(port, 1)
        assert (completion.operation, bytes(completion.data)) == (operation, b"hello")
    job.close()


def test_a_message_that_is_not_known_keeps_its_number(port: CompletionPort) -> None:
    job = port.job()
    assert winapi.PostQueuedCompletionStatus(port.handle, 99, port._queue.senders.last_key, None)
    [message] = gather(port, 1)
    assert messages([message]) == [(99, None)]
    assert repr(message) == "<JobMessage 99: key=None, pid=None>"
    assert isinstance(message, JobMessage)
    assert message.job is job


def test_messages_that_come_after_the_close_are_dropped(port: CompletionPort) -> None:
    """Those of a closed job; a key that no job of this port has had is somebody else's."""
    job = port.job()
    key = port._queue.senders.last_key
    job.close()
    assert winapi.PostQueuedCompletionStatus(port.handle, 7, key, None)
    assert winapi.PostQueuedCompletionStatus(port.handle, 7, key + 1, None)
    [stray] = gather(port, 1)
    assert (stray.key, stray.operation, isinstance(stray, JobMessage)) == (key + 1, None, False)
    assert port.wait(0.02) == []


# --- The end of a job -----------------------------------------------------------------------------


def test_the_end_of_a_job_completes_its_wait(
    port: CompletionPort, start: Callable[[], Child]
) -> None:
    """C30: with the last process, not with the first; and it may be waited for again."""
    job = port.job(key="job")
    operations = {job.wait(), job.wait()}
    assert {c.operation for c in gather(port, 2)} == operations  # there is none as yet
    children = [start(), start()]
    for child in children:
        job.assign(child)
    operation = operations.pop()
    operation.post()
    end(children[0])
    assert {e for e, _ in messages(gather(port, 3))} == {
        JobEvent.NEW_PROCESS,
        JobEvent.EXIT_PROCESS,
    }
    assert operation.state.value == "pending"
    end(children[1])
    [done] = [c for c in gather(port, 3) if not isinstance(c, JobMessage)]
    assert (done.operation, done.key, done.error) == (operation, "job", None)
    assert (job.active_processes, operation.status) == (0, 0)


def test_the_end_of_a_job_is_noticed_although_its_messages_are_lost(
    kernel: FaultyKernel, port: CompletionPort, start: Callable[[], Child]
) -> None:
    """C30: no message comes, and the wait completes all the same, within about a second.

    The job is asked again and again: the first time, the process still runs.
    """
    without_messages(kernel)
    job = port.job()
    child = start()
    job.assign(child)
    operation = job.wait()
    assert port.wait(1.2) == []
    end(child)
    begun = time.monotonic()
    [completion] = port.wait(60)
    assert (completion.operation, completion.error) == (operation, None)
    assert time.monotonic() - begun < 30  # nothing but the asking would end it


def test_a_message_is_not_believed(port: CompletionPort, start: Callable[[], Child]) -> None:
    """C30: the last process has ended, says a message; the job says that one runs."""
    job = port.job()
    child = start()
    job.assign(child)
    operation = job.wait()
    gather(port, 1)
    key, zero = port._queue.senders.last_key, int(JobEvent.ACTIVE_PROCESS_ZERO)
    assert winapi.PostQueuedCompletionStatus(port.handle, zero, key, None)
    assert messages(gather(port, 1)) == [(JobEvent.ACTIVE_PROCESS_ZERO, None)]
    assert port.wait(0.05) == []
    assert operation.state.value == "pending"
    end(child)
    gather(port, 3)
    assert operation.state.value == "completed"


def test_a_cancelled_wait_leaves_the_processes_alone(
    port: CompletionPort, start: Callable[[], Child]
) -> None:
    job = port.job()
    child = start()
    job.assign(child)
    operation = job.wait()
    with pytest.raises(RuntimeError, match="still pending"):
        operation.post()
    assert operation.cancel() is True
    assert operation.cancel() is False
    [done] = [c for c in gather(port, 2) if not isinstance(c, JobMessage)]
    assert done.operation is operation
    assert isinstance(done.error, OperationCancelledError)
    assert job.active_processes == 1


def test_a_cancel_that_loses_against_the_end_changes_nothing(port: CompletionPort) -> None:
    """C06: the job is empty, the wait's completion is ready, then comes cancel()."""
    operation = port.job().wait()
    assert operation.cancel() is False
    [completion] = gather(port, 1)
    assert (completion.operation, completion.error) == (operation, None)


def test_cancelling_and_ending_race_to_one_completion(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """C06: one thread cancels while messages have another look: each wait ends exactly once."""
    active = [1]

    def account(real: Callable[..., int], job: int, which: int, where: Any, *rest: Any) -> int:
        result = real(job, which, where, *rest)
        where._obj.ActiveProcesses = active[0]
        return result

    kernel.wrap("QueryInformationJobObject", account)
    job = port.job()
    key, zero = port._queue.senders.last_key, int(JobEvent.ACTIVE_PROCESS_ZERO)
    posted, seen = [], []
    for _ in range(60):
        active[0] = 1
        posted.append(job.wait())
        active[0] = 0
        assert winapi.PostQueuedCompletionStatus(port.handle, zero, key, None)
        canceller = threading.Thread(target=posted[-1].cancel)
        canceller.start()
        seen += [c for c in gather(port, 2) if not isinstance(c, JobMessage)]
        canceller.join()
    assert [completion.operation for completion in seen] == posted
    assert port.wait(0.02) == []


def test_closing_a_job_or_its_port_ends_its_waits(
    kernel: FaultyKernel, start: Callable[[], Child]
) -> None:
    """And leaves the processes alone."""
    child = start()
    with CompletionPort(kernel=kernel) as port:
        for close in (lambda job: job.close(), lambda job: None):
            job = port.job(name="pyiocp test closing")
            if not job.total_processes:
                job.assign(child)
                gather(port, 1)
            operation = job.wait()
            keeps = winapi.CreateJobObjectW(None, "pyiocp test closing")
            close(job)
            completions = port.wait(60) if job.closed else port.close()
            assert [c.operation for c in completions] == [operation]
            assert isinstance(completions[0].error, OperationCancelledError)
            with pytest.raises(HandleClosedError):
                assert job.active_processes
            winapi.CloseHandle(keeps)
            if not port.closed:
                with pytest.raises(HandleClosedError):
                    job.wait()
                break
    assert child.poll() is None


def test_a_job_that_cannot_be_asked_is_not_waited_for(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """C14: nothing is in flight after the refusal."""
    job = port.job()
    kernel.wrap("QueryInformationJobObject", Refusal(ERROR_ACCESS_DENIED, 0, times=2))
    with pytest.raises(AccessDeniedError, match="QueryInformationJobObject"):
        job.wait()
    with pytest.raises(AccessDeniedError):
        job.pids()
    assert port.in_flight_by_kind() == {}
    assert job.wait().state.value == "pending"
    gather(port, 1)


# --- Making, ending, giving back ------------------------------------------------------------------


def test_terminate_ends_all_processes_with_a_code(
    port: CompletionPort, start: Callable[[], Child]
) -> None:
    job = port.job()
    children = [start(), start()]
    for child in children:
        job.assign(handle=int(child._handle))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="32 bits"):
        job.terminate(-1)
    operation = job.wait()
    job.terminate(77)
    assert [child.wait(DEADLINE_S) for child in children] == [77, 77]
    seen: list[Any] = []
    while operation not in seen:  # Wine 8 sends no message for a process that is ended
        seen += [completion.operation for completion in gather(port, 1)]
    assert job.active_processes == 0


def test_kill_on_close_ends_the_processes(port: CompletionPort, start: Callable[[], Child]) -> None:
    """When the last handle goes: closing the job closes its own."""
    job = port.job(kill_on_close=True)
    child = start()
    job.assign(pid=child.pid)
    assert child.poll() is None
    job.close()
    child.wait(DEADLINE_S)


def test_limits_that_are_refused_leave_no_job(kernel: FaultyKernel, port: CompletionPort) -> None:
    def refuse(real: Callable[..., int], job: int, which: int, *rest: Any) -> int:
        if which == JobObjectAssociateCompletionPortInformation:
            return real(job, which, *rest)
        return refusal(real)

    refusal = Refusal(ERROR_ACCESS_DENIED, 0)
    kernel.wrap("SetInformationJobObject", refuse)
    before = handle_count()
    with pytest.raises(AccessDeniedError, match="SetInformationJobObject"):
        port.job(kill_on_close=True)
    assert handle_count() <= before
    kernel.wrap("CreateJobObjectW", Refusal(ERROR_NOT_ENOUGH_MEMORY, None))
    with pytest.raises(ResourceLimitError, match="CreateJobObjectW"):
        port.job()


def test_a_process_that_is_not_yours_is_not_assigned(
    kernel: FaultyKernel, port: CompletionPort, start: Callable[[], Child]
) -> None:
    """C14: refused when it is opened, and when it is assigned: its handle is closed."""
    job = port.job()
    child = start()
    before = handle_count()
    for function, result in (("OpenProcess", None), ("AssignProcessToJobObject", 0)):
        kernel.wrap(function, Refusal(ERROR_ACCESS_DENIED, result, times=1))
        with pytest.raises(AccessDeniedError, match=function):
            job.assign(pid=child.pid)
    assert handle_count() <= before
    assert job.pids() == []


def test_a_job_has_one_port_only(port: CompletionPort) -> None:
    """The handle given stays the caller's, whether the job was taken or not."""
    number = winapi.CreateJobObjectW(None, None)
    assert number is not None
    job = port.job(number)
    before = handle_count()
    with pytest.raises(AlreadyAssociatedError, match="on a completion port already"):
        port.job(number)
    assert handle_count() <= before
    job.close()
    assert winapi.CloseHandle(number)
    with pytest.raises(HandleInvalidError):
        port.job(number)
    event = port.event()
    with pytest.raises(IocpError, match="SetInformationJobObject"):
        port.job(event.number)


def test_detach_gives_a_jobs_handle_back(port: CompletionPort, start: Callable[[], Child]) -> None:
    """Where Windows takes it off its port it may join another; Wine 8 does not."""
    job = port.job()
    child = start()
    job.assign(child)
    gather(port, 1)
    operation = job.wait()
    with pytest.raises(RuntimeError, match="in flight on it are wait"):
        job.detach()
    operation.cancel()
    gather(port, 1)
    number = job.detach()
    try:
        if job.associated:
            with pytest.raises(AlreadyAssociatedError):
                port.job(number)
        else:
            port.job(number)
            end(child)
            assert (JobEvent.EXIT_PROCESS, child.pid) in messages(gather(port, 2))
    finally:
        assert winapi.CloseHandle(number)


def test_many_processes_are_all_named(kernel: FaultyKernel, port: CompletionPort) -> None:
    """1,000 of them, more than there is room for at first; by a kernel that says so."""
    pids = range(4, 4004, 4)

    def listed(real: Callable[..., int], job: int, which: int, where: Any, *rest: Any) -> int:
        if which != JobObjectBasicProcessIdList:
            return real(job, which, where, *rest)
        first = type(where._obj).ProcessIdList.offset
        room = min(len(pids), (rest[0] - first) // 8)
        where._obj.NumberOfAssignedProcesses = len(pids)
        where._obj.NumberOfProcessIdsInList = room
        numbers = (ctypes.c_uint64 * room).from_address(ctypes.addressof(where._obj) + first)
        numbers[:] = pids[:room]
        ctypes.set_last_error(234)
        return int(room == len(pids))

    kernel.wrap("QueryInformationJobObject", listed)
    assert port.job().pids() == list(pids)


def rounds_of_every_end(port: CompletionPort, rounds: int) -> None:
    for n in range(rounds):
        job: Job = port.job()
        operation = job.wait()
        [completion] = gather(port, 1)
        assert completion.operation is operation
        if n % 2:
            job.close()
        else:
            winapi.CloseHandle(job.detach())


def test_jobs_leave_no_handle(port: CompletionPort) -> None:
    rounds_of_every_end(port, 20)
    before = handle_count()
    rounds_of_every_end(port, 300)
    assert handle_count() <= before


@pytest.mark.soak
def test_soak_ten_thousand_jobs_leave_no_handle(port: CompletionPort) -> None:
    rounds_of_every_end(port, 20)
    before = handle_count()
    rounds_of_every_end(port, 10_000)
    assert handle_count() <= before
