"""Waiting for objects: one wait, one completion, whoever waits and however it ends.

Each test runs with both ways to wait, that of Windows and that of systems without it; see
`waiting_kernels`.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import Refusal
from waiting_kernels import PacketKernel, PoolKernel, WaitingKernel, wait_until_queued

from pyiocp import (
    AccessDeniedError,
    Completion,
    CompletionPort,
    Event,
    HandleClosedError,
    HandleInvalidError,
    IocpError,
    OperationCancelledError,
    PortClosedError,
    ProcessCompletion,
    ResourceLimitError,
    winapi,
)
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    ERROR_ACCESS_DENIED,
    ERROR_NOT_ENOUGH_MEMORY,
    LPOVERLAPPED,
    STATUS_ACCESS_DENIED,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NOT_IMPLEMENTED,
    WAIT_OBJECT_0,
    WAIT_TIMEOUT,
)

ROUNDS = 300


@pytest.fixture
def kernel(waiting_kernel: WaitingKernel) -> WaitingKernel:
    return waiting_kernel


def is_set(number: int) -> bool:
    """Whether an object is signalled; an event that resets itself is reset by this."""
    return winapi.WaitForSingleObject(number, 0) == WAIT_OBJECT_0


def only(completions: list[Completion]) -> Completion:
    [completion] = completions
    return completion


# --- The ends of a wait ---------------------------------------------------------------------------


def test_a_wait_for_what_is_signalled_already_completes(port: CompletionPort) -> None:
    event = port.event(initially_set=True, key="event")
    operation = event.wait()
    completion = only(port.wait(60))
    assert (completion.operation, completion.key, completion.error) == (operation, "event", None)
    assert (completion.bytes, operation.status) == (0, 0)
    assert not is_set(event.number)
    assert port.wait(0.02) == []


def test_a_wait_completes_when_the_event_is_set(port: CompletionPort) -> None:
    """Nothing comes before; then one completion, and the wait may be posted again."""
    event = port.event()
    operation = event.wait()
    assert port.wait(0.02) == []
    assert port.in_flight_by_kind() == {"wait": 1}
    for _ in range(3):
        event.set()
        assert only(port.wait(60)).operation is operation
        operation.post()
    assert port.wait(0.02) == []


def test_a_wait_is_ended_by_another_thread(port: CompletionPort) -> None:
    event = port.event()
    operation = event.wait()
    thread = threading.Timer(0.05, event.set)
    thread.start()
    assert only(port.wait(60)).operation is operation
    thread.join()


def test_an_event_ends_one_wait_or_all_of_them(port: CompletionPort) -> None:
    """One that resets itself ends one of three waits, one that is reset by hand all of them."""
    event = port.event()
    operations = {event.wait() for _ in range(3)}
    event.set()
    ended = only(port.wait(60)).operation
    assert ended in operations
    assert port.wait(0.02) == []
    manual = port.event(manual_reset=True)
    operations = {manual.wait() for _ in range(3)}
    manual.set()
    seen = set()
    while len(seen) < 3:
        seen |= {completion.operation for completion in port.wait(60)}
    assert seen == operations
    manual.reset()
    assert not is_set(manual.number)


def test_a_refused_wait_raises_and_may_be_posted_again(
    kernel: WaitingKernel, port: CompletionPort
) -> None:
    """C14: nothing is in flight, the way to wait is there for the next time."""
    event = port.event(initially_set=True)
    operation = event.wait()
    assert only(port.wait(60)).operation is operation
    if isinstance(kernel, PacketKernel):
        status = ctypes.c_int32(STATUS_ACCESS_DENIED).value
        kernel.wrap("NtAssociateWaitCompletionPacket", Refusal(0, status, times=1))
    else:

        def refuse(real: Any, *arguments: Any) -> int:
            kernel.RegisterWaitWithQueue = real  # type: ignore[method-assign]
            raise OSError(0, "", None, ERROR_ACCESS_DENIED)

        kernel.wrap("RegisterWaitWithQueue", refuse)
    with pytest.raises(AccessDeniedError, match=r"Wait.* failed with ERROR_ACCESS"):
        operation.post()
    assert port.in_flight_by_kind() == {}
    event.set()
    operation.post()
    assert only(port.wait(60)).operation is operation


def test_no_room_for_a_wait_is_an_error(kernel: WaitingKernel, port: CompletionPort) -> None:
    """Refused before anything is in flight; the same wait works when there is room."""
    if not isinstance(kernel, PacketKernel):
        pytest.skip("the pool makes nothing beforehand")
    event = port.event(initially_set=True)
    status = ctypes.c_int32(STATUS_INSUFFICIENT_RESOURCES).value
    kernel.wrap("NtCreateWaitCompletionPacket", Refusal(0, status, times=1))
    with pytest.raises(ResourceLimitError, match="NtCreateWaitCompletionPacket"):
        event.wait()
    assert port.in_flight_by_kind() == {}
    operation = event.wait()
    assert only(port.wait(60)).operation is operation


def test_a_system_that_has_packets_by_name_only_waits_all_the_same(
    kernel: WaitingKernel, port: CompletionPort
) -> None:
    """The function is there, and says that it is not implemented: the pool waits instead."""
    status = ctypes.c_int32(STATUS_NOT_IMPLEMENTED).value
    if isinstance(kernel, PacketKernel):
        kernel.wrap("NtCreateWaitCompletionPacket", Refusal(0, status))
    event = port.event()
    operation = event.wait()
    assert operation.function_name == "RegisterWaitForSingleObject"
    event.set()
    assert only(port.wait(60)).operation is operation


# --- Cancelling -----------------------------------------------------------------------------------


def test_a_cancelled_wait_completes_and_leaves_the_signal(port: CompletionPort) -> None:
    """The event is set afterwards: it stays set, and the next wait gets it."""
    event = port.event()
    operation = event.wait()
    assert operation.cancel() is True
    completion = only(port.wait(60))
    assert completion.operation is operation
    assert isinstance(completion.error, OperationCancelledError)
    assert operation.cancel() is False
    event.set()
    assert port.wait(0.02) == []
    operation.post()
    assert only(port.wait(60)).error is None


def test_a_signal_that_was_faster_than_the_cancel_is_delivered(port: CompletionPort) -> None:
    """C06: the packet is queued, nobody has dequeued it, then comes cancel()."""
    event = port.event()
    operation = event.wait()
    event.set()
    wait_until_queued(port)
    operation.cancel()
    completion = only(port.wait(60))
    assert (completion.operation, completion.error, operation.status) == (operation, None, 0)
    assert port.wait(0.02) == []


@pytest.mark.parametrize("rounds", [300, pytest.param(30_000, id="long", marks=pytest.mark.soak)])
def test_a_wait_that_is_cancelled_as_it_is_signalled_ends_once(
    port: CompletionPort, rounds: int
) -> None:
    """C06: the system's thread is queuing the packet, or about to."""
    event = port.event()
    operation = event.wait()
    for _ in range(rounds):
        event.set()
        operation.cancel()
        assert only(port.wait(60)).operation is operation
        event.reset()  # if the wait was cancelled before
        operation.post()


def test_a_cancel_of_the_time_before_does_not_end_the_next_wait(port: CompletionPort) -> None:
    """Its completion is taken, and the wait posted again, before anything else is dequeued."""
    event = port.event()
    operation = event.wait()
    event.set()
    wait_until_queued(port)
    operation.cancel()
    assert only(port.wait(5, limit=1)).error is None
    operation.post()
    assert port.wait(0.02) == []
    event.set()
    completion = only(port.wait(60))
    assert (completion.operation, completion.error) == (operation, None)


def test_a_packet_that_is_late_is_dropped(port: CompletionPort) -> None:
    """A tag that has been settled finds nothing; a number that is no tag is somebody else's."""
    event = port.event()
    operation = event.wait()
    late, unknown = operation.address, operation.address + 1000
    assert (late % 2, unknown % 2) == (1, 1)
    operation.cancel()
    assert only(port.wait(60)).operation is operation
    for tag in (late, unknown):
        packet = ctypes.cast(tag, LPOVERLAPPED)
        assert winapi.PostQueuedCompletionStatus(port.handle, 7, 0, packet)
    completion = only(port.wait(60))
    assert (completion.operation, completion.bytes) == (None, 7)
    assert port.wait(0.02) == []


def test_cancelling_and_signalling_race_to_one_completion(port: CompletionPort) -> None:
    """C06: one thread sets, one cancels, two take completions: each wait ends exactly once.

    A signal that a cancelled wait has not taken is still there.
    """
    event = port.event()
    seen: list[Completion] = []
    stop = threading.Event()

    def take() -> None:
        while not stop.is_set():
            seen.extend(port.wait(0.05))

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    posted = []
    barrier = threading.Barrier(2)

    def signal() -> None:
        for _ in range(100):
            barrier.wait(60)
            event.set()
            barrier.wait(60)

    signaller = threading.Thread(target=signal)
    signaller.start()
    for n in range(100):
        event.reset()
        operation = event.wait()
        posted.append(operation)
        barrier.wait(60)
        operation.cancel()
        barrier.wait(60)
        ended = threading.Event()
        until = threading.Timer(10, ended.set)
        until.start()
        while len(seen) <= n and not ended.wait(0.0005):
            pass
        until.cancel()
        until.join()
    signaller.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert [completion.operation for completion in seen] == posted
    errors = {type(completion.error) for completion in seen}
    assert errors <= {type(None), OperationCancelledError}


# --- Closing, owning, leaking ---------------------------------------------------------------------


def test_closing_a_waitable_ends_its_waits(port: CompletionPort) -> None:
    event = port.event()
    operations = {event.wait(), event.wait()}
    event.close()
    seen = []
    while len(seen) < 2:
        seen += port.wait(60)
    assert {completion.operation for completion in seen} == operations
    assert {type(completion.error) for completion in seen} == {OperationCancelledError}
    with pytest.raises(HandleClosedError):
        event.wait()
    with pytest.raises(HandleClosedError):
        event.set()


def test_closing_with_the_packet_queued_still_delivers_it(port: CompletionPort) -> None:
    """C06: what waited may be given back only when its packet has been dequeued."""
    event = port.event()
    operation = event.wait()
    event.set()
    wait_until_queued(port)
    event.close()
    completion = only(port.wait(60))
    assert (completion.operation, completion.error) == (operation, None)


def test_closing_the_port_cancels_what_waits(kernel: WaitingKernel) -> None:
    port = CompletionPort(kernel=kernel)
    event = port.event()
    operation = event.wait()
    completion = only(port.close())
    assert completion.operation is operation
    assert isinstance(completion.error, OperationCancelledError)
    with pytest.raises(PortClosedError):
        port.event()
    with pytest.raises((PortClosedError, HandleClosedError)):
        operation.post()


def test_a_dropped_wait_lives_until_its_completion(port: CompletionPort) -> None:
    """C13: nobody but the port has the wait and the event; setting the event ends it."""
    with CompletionPort() as other:
        setter = other.event(name="pyiocp test dropped")
        address = port.event(name="pyiocp test dropped").wait().address
        gc.collect()
        assert address in port.in_flight
        setter.set()
        assert only(port.wait(60)).error is None


def test_a_waitable_has_a_handle_of_its_own(port: CompletionPort) -> None:
    """The caller's is closed while the wait is pending; or it is open when the waitable is not."""
    number = winapi.CreateEventW(None, False, False, None)
    assert number is not None
    waitable = port.waitable(number, key=1)
    assert waitable.number != number
    operation = waitable.wait()
    assert winapi.SetEvent(number)
    assert winapi.CloseHandle(number)
    assert only(port.wait(60)).operation is operation
    waitable.close()
    event = port.event()
    port.waitable(event.number).close()
    event.set()
    assert is_set(event.number)


def test_detach_gives_a_waitables_handle_back(port: CompletionPort) -> None:
    event = port.event(initially_set=True)
    operation = event.wait()
    with pytest.raises(RuntimeError, match="in flight on it are wait"):
        event.detach()
    assert only(port.wait(60)).operation is operation
    number = event.detach()
    assert event.associated is False
    assert winapi.SetEvent(number)
    assert winapi.CloseHandle(number)
    with pytest.raises(HandleClosedError):
        event.wait()


def rounds_of_every_end(port: CompletionPort, rounds: int) -> None:
    for _ in range(rounds):
        event = port.event()
        operation = event.wait()
        event.set()
        assert only(port.wait(60)).operation is operation
        operation.post()
        operation.cancel()
        assert only(port.wait(60)).operation is operation
        event.close()


def test_waits_leave_no_handle(port: CompletionPort) -> None:
    rounds_of_every_end(port, 20)
    before = handle_count()
    rounds_of_every_end(port, ROUNDS)
    assert handle_count() <= before


@pytest.mark.soak
def test_soak_ten_thousand_waits_leave_no_handle(port: CompletionPort) -> None:
    rounds_of_every_end(port, 20)
    before = handle_count()
    rounds_of_every_end(port, 10_000)
    assert handle_count() <= before


def test_a_packet_is_queued_while_this_thread_keeps_the_interpreter() -> None:
    """No Python code runs in the pool: the packet comes although nobody else can run any."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("threads do not exclude each other here")
    kernel32 = ctypes.PyDLL("kernel32")  # whose calls do not let other threads run
    before = sys.getswitchinterval()
    kernel = PoolKernel()
    with CompletionPort(kernel=kernel) as port:
        event = port.event()
        operation = event.wait()
        sys.setswitchinterval(60)
        try:
            kernel32.SetEvent(ctypes.c_void_p(event.number))
            kernel32.Sleep(300)
            depth = _depth(port)
        finally:
            sys.setswitchinterval(before)
        assert depth == 1
        assert only(port.wait(60)).operation is operation


def _depth(port: CompletionPort) -> int:
    """How many packets are queued, asked without letting another thread run."""
    depth = ctypes.c_int32()
    status = ctypes.PyDLL("ntdll").NtQueryIoCompletion(
        ctypes.c_void_p(port.handle), 0, ctypes.byref(depth), 4, None
    )
    assert status == 0
    return depth.value


# --- What can be waited for -----------------------------------------------------------------------


def test_what_is_no_waitable_handle_is_refused(port: CompletionPort) -> None:
    with pytest.raises(TypeError, match="number of a handle"):
        port.waitable("event")  # type: ignore[arg-type]
    for number in (0, -1):
        with pytest.raises(ValueError, match="not the number of a handle"):
            port.waitable(number)
    with pytest.raises(HandleInvalidError):
        port.waitable(0x7FFF_FFF0)
    assert port.handles - {h for h in port.handles if h.internal} == set()


def test_a_mutex_is_refused(port: CompletionPort) -> None:
    """It would belong to a thread of the system's."""
    create = ctypes.WinDLL("kernel32").CreateMutexW
    create.restype = ctypes.c_void_p
    number = create(None, False, None)
    try:
        with pytest.raises(ValueError, match="mutex"):
            port.waitable(number)
    finally:
        winapi.CloseHandle(number)


def test_an_event_is_shared_by_its_name(port: CompletionPort) -> None:
    first = port.event(name="pyiocp test shared")
    second = port.event(name="pyiocp test shared")
    operation = first.wait()
    second.set()
    assert only(port.wait(60)).operation is operation
    job = winapi.CreateJobObjectW(None, "pyiocp test job name")
    with pytest.raises(HandleInvalidError, match="pyiocp test job name"):
        port.event(name="pyiocp test job name")
    winapi.CloseHandle(job)


# --- Processes ------------------------------------------------------------------------------------

ENDS_WITH_INPUT = "import sys; sys.exit(int(input()))"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the code on the line that it is sent."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ENDS_WITH_INPUT], stdin=subprocess.PIPE)
    yield child
    if child.poll() is None:
        child.kill()
    child.communicate()


def end(child: subprocess.Popen[bytes], code: int) -> None:
    assert child.stdin is not None
    child.stdin.write(b"%d\n" % code)
    child.stdin.flush()


def test_a_process_completes_with_its_exit_code(
    port: CompletionPort, child: subprocess.Popen[bytes]
) -> None:
    """By its Popen, its number, a handle and what has a sentinel; each by a handle of its own.

    The code is also there afterwards, and for a wait that comes too late to be a wait.
    """

    class Sentinel:  # as multiprocessing.Process has one
        sentinel = int(child._handle)  # type: ignore[attr-defined]

    processes = [
        port.process(child, key="popen"),
        port.process(pid=child.pid, key="pid"),
        port.process(handle=Sentinel.sentinel, key="handle"),
        port.process(Sentinel(), key="sentinel"),  # type: ignore[arg-type]
    ]
    for process in processes:
        process.wait()
    assert {process.pid for process in processes} == {child.pid}
    assert {process.exit_code for process in processes} == {None}
    end(child, 77)
    seen: dict[str, Any] = {}
    while len(seen) < 4:
        for completion in port.wait(DEADLINE_S):
            assert isinstance(completion, ProcessCompletion)
            seen[completion.key] = completion.exit_code
    assert seen == dict.fromkeys(("popen", "pid", "handle", "sentinel"), 77)
    assert child.wait() == 77
    processes[0].wait()
    completion = only(port.wait(60))
    assert isinstance(completion, ProcessCompletion)
    assert (completion.exit_code, processes[0].exit_code) == (77, 77)


def test_a_process_that_ends_with_259_has_ended(
    port: CompletionPort, child: subprocess.Popen[bytes]
) -> None:
    """259 is what Windows gives as the code of a process that runs."""
    process = port.process(child)
    process.wait()
    assert process.exit_code is None
    end(child, 259)
    completion = only(port.wait(DEADLINE_S))
    assert isinstance(completion, ProcessCompletion)
    assert (completion.exit_code, process.exit_code) == (259, 259)


def test_a_cancelled_wait_for_a_process_has_no_exit_code(
    port: CompletionPort, child: subprocess.Popen[bytes]
) -> None:
    operation = port.process(child).wait()
    assert operation.cancel() is True
    completion = only(port.wait(60))
    assert isinstance(completion, ProcessCompletion)
    assert isinstance(completion.error, OperationCancelledError)
    assert completion.exit_code is None


def test_a_process_closed_before_its_completion_has_no_exit_code(
    port: CompletionPort, child: subprocess.Popen[bytes]
) -> None:
    process = port.process(child)
    process.wait()
    end(child, 5)
    wait_until_queued(port)
    process.close()
    completion = only(port.wait(DEADLINE_S))
    assert isinstance(completion, ProcessCompletion)
    assert (completion.error, completion.exit_code) == (None, None)
    with pytest.raises(HandleClosedError):
        assert process.exit_code


def test_what_is_no_process_is_refused(kernel: WaitingKernel, port: CompletionPort) -> None:
    for wrong in ({}, {"pid": 1, "handle": 2}):
        with pytest.raises(TypeError, match="one of a process"):
            port.process(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Popen"):
        port.process("python.exe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not the number of a process"):
        port.process(pid=0)
    with pytest.raises(IocpError, match=r"OpenProcess.*pid 4294967292"):
        port.process(pid=0xFFFFFFFC)
    kernel.wrap("DuplicateHandle", Refusal(ERROR_NOT_ENOUGH_MEMORY, 0, times=1))
    event = port.event()
    with pytest.raises(ResourceLimitError, match="DuplicateHandle"):
        port.process(handle=event.number)
    assert isinstance(event, Event)
    assert winapi.WaitForSingleObject(event.number, 0) == WAIT_TIMEOUT
