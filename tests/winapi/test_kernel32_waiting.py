"""Pipes, events, timers, pools, jobs and processes work as declared: round trips, all of them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from ctypes import byref, sizeof

import pytest
from win32_helpers import (
    Handles,
    dequeue,
    location,
    on_windows,
    pipe_pair,
    started,
    write,
)
from wine import WINE

from pyiocp.winapi import *

pytestmark = on_windows

SECOND = 10_000_000  # in units of 100 ns


def event(handles: Handles, *, manual: bool = True, is_set: bool = False) -> int:
    """Return a new event."""
    return handles.keep(CreateEventW(None, manual, is_set, None))


def timer(handles: Handles, flags: int = 0) -> int:
    """Return a new timer."""
    return handles.keep(CreateWaitableTimerExW(None, None, flags, TIMER_ALL_ACCESS))


# --- Pipes ----------------------------------------------------------------------------------------


def test_a_client_completes_the_pending_connect(handles: Handles, iocp: int) -> None:
    """ConnectNamedPipe is pending until CreateFileW opens the other end; then bytes go through."""
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-connect"
    mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED
    server = handles.keep(CreateNamedPipeW(name, mode, 0, 1, 64, 64, 0, None))
    assert CreateIoCompletionPort(server, iocp, 9, 0)
    overlapped, buffer = OVERLAPPED(), ctypes.create_string_buffer(16)
    assert started(ConnectNamedPipe(server, byref(overlapped)))
    access = GENERIC_READ | GENERIC_WRITE
    flags = FILE_FLAG_OVERLAPPED
    client = handles.keep(CreateFileW(name, access, 0, None, OPEN_EXISTING, flags, None))
    packet = dequeue(iocp)
    assert (1, 0, 9, location(overlapped)) == (packet.ok, packet.error, *packet[3:])
    write(client, b"hello")
    overlapped = OVERLAPPED()
    started(ReadFile(server, buffer, 16, None, byref(overlapped)))
    assert (5, b"hello") == (dequeue(iocp).bytes, buffer.value)


def test_a_client_that_was_faster_is_connected_already(handles: Handles) -> None:
    """C21: ConnectNamedPipe then fails with ERROR_PIPE_CONNECTED, which is success."""
    server, client = pipe_pair(handles)
    assert not ConnectNamedPipe(server, byref(OVERLAPPED()))
    assert ERROR_PIPE_CONNECTED == last_error()
    handles.close(client)
    assert DisconnectNamedPipe(server)


def test_a_long_message_comes_in_pieces(handles: Handles) -> None:
    """C22: what a message read leaves is ERROR_MORE_DATA, and the rest comes with the next."""
    server, client = pipe_pair(handles, PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE)
    mode = DWORD(PIPE_READMODE_MESSAGE)
    assert SetNamedPipeHandleState(client, byref(mode), None, None)
    write(server, b"0123456789")
    write(server, b"next")
    buffer, moved, available, left = ctypes.create_string_buffer(4), DWORD(), DWORD(), DWORD()
    assert PeekNamedPipe(client, buffer, 4, byref(moved), byref(available), byref(left))
    assert (b"0123", 4, 6) == (buffer.raw, moved.value, left.value)
    assert available.value >= 10
    pieces = []
    for _ in range(4):
        overlapped = OVERLAPPED()
        ReadFile(client, buffer, 4, None, byref(overlapped))
        ok = GetOverlappedResult(client, byref(overlapped), byref(moved), True)
        pieces.append((buffer.raw[: moved.value], 0 if ok else last_error()))
    more = ERROR_MORE_DATA
    assert [(b"0123", more), (b"4567", more), (b"89", 0), (b"next", 0)] == pieces


def test_a_transaction_writes_and_reads_in_one(handles: Handles) -> None:
    """TransactNamedPipe sends a message and completes with the answer."""
    server, client = pipe_pair(handles, PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE)
    assert SetNamedPipeHandleState(client, byref(DWORD(PIPE_READMODE_MESSAGE)), None, None)
    answer, moved, overlapped = ctypes.create_string_buffer(16), DWORD(), OVERLAPPED()
    transaction = TransactNamedPipe(client, b"2 + 2", 5, answer, 16, None, byref(overlapped))
    if WINE and not transaction and last_error() == ERROR_CALL_NOT_IMPLEMENTED:
        pytest.skip("this Wine has no TransactNamedPipe")
    assert started(transaction)
    question, reading = ctypes.create_string_buffer(16), OVERLAPPED()
    started(ReadFile(server, question, 16, None, byref(reading)))
    assert GetOverlappedResult(server, byref(reading), byref(moved), True)
    assert b"2 + 2" == question.value
    write(server, b"4")
    assert GetOverlappedResult(client, byref(overlapped), byref(moved), True)
    assert (b"4", 1) == (answer.value, moved.value)


def test_a_handle_of_a_pipe_tells_its_kind(handles: Handles) -> None:
    """Which end it is, that the pipe is one of messages, and whether it is read so."""
    server, client = pipe_pair(handles, PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE)
    flags, state = DWORD(), DWORD()
    seen = []
    for end in (server, client):
        assert GetNamedPipeInfo(end, byref(flags), None, None, None)
        assert GetNamedPipeHandleStateW(end, byref(state), None, None, None, None, 0)
        seen.append((flags.value, state.value))
    assert [
        (PIPE_SERVER_END | PIPE_TYPE_MESSAGE, PIPE_READMODE_MESSAGE),
        (PIPE_CLIENT_END | PIPE_TYPE_MESSAGE, PIPE_READMODE_BYTE),
    ] == seen


def test_both_ends_of_a_pipe_name_this_process(handles: Handles) -> None:
    """Each end is asked for the client's and the server's process."""
    process = ULONG()
    for end in pipe_pair(handles):
        assert GetNamedPipeClientProcessId(end, byref(process))
        assert os.getpid() == process.value
        assert GetNamedPipeServerProcessId(end, byref(process))
        assert os.getpid() == process.value


def test_a_pipe_that_is_not_there_is_not_waited_for(handles: Handles) -> None:
    """WaitNamedPipeW fails at once for no pipe, and succeeds for a free instance."""
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-wait"
    assert not WaitNamedPipeW(name, NMPWAIT_WAIT_FOREVER)
    assert ERROR_FILE_NOT_FOUND == last_error()
    handles.keep(CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX, 0, 1, 0, 0, 0, None))
    assert WaitNamedPipeW(name, NMPWAIT_WAIT_FOREVER)


# --- Waiting --------------------------------------------------------------------------------------


def test_an_event_ends_a_wait_once_or_until_reset(handles: Handles) -> None:
    """A manual event stays set; one that resets itself lets one wait through."""
    manual, automatic = event(handles), event(handles, manual=False)
    for each in (manual, automatic):
        assert WAIT_TIMEOUT == WaitForSingleObject(each, 0)
        assert SetEvent(each)
        assert WAIT_OBJECT_0 == WaitForSingleObject(each, 0)
    assert WAIT_OBJECT_0 == WaitForSingleObjectEx(manual, 0, True)
    assert WAIT_TIMEOUT == WaitForSingleObject(automatic, 0)
    assert ResetEvent(manual)
    assert WAIT_TIMEOUT == WaitForSingleObject(manual, 0)


def test_a_wait_for_several_tells_which(handles: Handles) -> None:
    """Of three events the second is set; waiting for all of them goes on."""
    events = (HANDLE * 3)(event(handles), event(handles, is_set=True), event(handles))
    assert WAIT_OBJECT_0 + 1 == WaitForMultipleObjects(3, events, False, 0)
    assert WAIT_OBJECT_0 + 1 == WaitForMultipleObjectsEx(3, events, False, 0, True)
    assert WAIT_TIMEOUT == WaitForMultipleObjects(3, events, True, 0)
    too_many = (HANDLE * (MAXIMUM_WAIT_OBJECTS + 1))()
    assert WAIT_FAILED == WaitForMultipleObjects(len(too_many), too_many, False, 0)
    assert ERROR_INVALID_PARAMETER == last_error()


def test_a_registered_wait_calls_back(handles: Handles) -> None:
    """The pool calls with the context and says that the object, not the time, was why."""
    awaited, done, registration = event(handles), event(handles), HANDLE()
    called: list[tuple[int | None, int]] = []

    @WAITORTIMERCALLBACK
    def callback(context: int | None, timed_out: int) -> None:
        called.append((context, timed_out))
        SetEvent(done)

    assert RegisterWaitForSingleObject(
        byref(registration), awaited, callback, 77, INFINITE, WT_EXECUTEONLYONCE
    )
    assert SetEvent(awaited)
    assert WAIT_OBJECT_0 == WaitForSingleObject(done, 10_000)
    assert UnregisterWaitEx(registration, INVALID_HANDLE_VALUE)
    assert [(77, 0)] == called


def test_a_queued_call_runs_in_an_alertable_wait() -> None:
    """Two APCs of this thread run in one SleepEx, in order, and in no earlier wait."""
    called: list[int] = []
    routine = PAPCFUNC(called.append)
    for number in (1, 2**63 + 5):
        assert QueueUserAPC(routine, GetCurrentThread(), number)
    assert 0 == SleepEx(0, False)
    assert [] == called
    assert WAIT_IO_COMPLETION == SleepEx(10_000, True)
    assert [1, 2**63 + 5] == called


def test_an_apc_ends_an_alertable_wait_on_a_port(iocp: int) -> None:
    """GetQueuedCompletionStatusEx with fAlertable returns WAIT_IO_COMPLETION."""
    routine = PAPCFUNC(lambda _: None)
    assert QueueUserAPC(routine, GetCurrentThread(), 0)
    entries, count = (OVERLAPPED_ENTRY * 1)(), ULONG()
    assert not GetQueuedCompletionStatusEx(iocp, entries, 1, byref(count), 10_000, True)
    assert WAIT_IO_COMPLETION == last_error()


# --- Timers ---------------------------------------------------------------------------------------


def test_a_timer_is_due_when_it_is_due(handles: Handles) -> None:
    """A wait for a timer of 20 ms takes that long; one that is cancelled never ends."""
    clock = timer(handles)
    started_at = time.perf_counter()
    due = LARGE_INTEGER(-SECOND // 50)
    assert SetWaitableTimer(clock, byref(due), 0, None, None, False)
    assert WAIT_OBJECT_0 == WaitForSingleObject(clock, 10_000)
    assert time.perf_counter() - started_at >= 0.015
    assert SetWaitableTimer(clock, byref(LARGE_INTEGER(-SECOND * 3600)), 0, None, None, False)
    assert CancelWaitableTimer(clock)
    assert WAIT_TIMEOUT == WaitForSingleObject(clock, 0)


def test_a_timer_calls_back_in_an_alertable_wait(handles: Handles) -> None:
    """The routine gets its argument and the due time, in this thread."""
    clock, called = timer(handles), []
    routine = PTIMERAPCROUTINE(lambda *given: called.append(given))
    assert SetWaitableTimer(clock, byref(LARGE_INTEGER(-1)), 0, routine, 5, False)
    assert WAIT_IO_COMPLETION == SleepEx(10_000, True)
    ((argument, low, high),) = called
    assert 5 == argument
    if not WINE:  # which passes the time since the machine started
        assert abs((high << 32 | low) / SECOND - 11_644_473_600 - time.time()) < 60


def test_a_timer_may_be_late_by_so_much(handles: Handles) -> None:
    """SetWaitableTimerEx takes a tolerance and no reason to wake the machine."""
    clock = timer(handles, CREATE_WAITABLE_TIMER_MANUAL_RESET)
    assert SetWaitableTimerEx(clock, byref(LARGE_INTEGER(-1)), 0, None, None, None, 5)
    assert WAIT_OBJECT_0 == WaitForSingleObject(clock, 10_000)
    assert WAIT_OBJECT_0 == WaitForSingleObject(clock, 0)


def test_a_high_resolution_timer_is_made_or_refused_by_name(handles: Handles) -> None:
    """An older Windows refuses the flag with ERROR_INVALID_PARAMETER."""
    flags = CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
    handle = CreateWaitableTimerExW(None, None, flags, TIMER_ALL_ACCESS)
    if handle is None:
        assert ERROR_INVALID_PARAMETER == last_error()
    else:
        handles.keep(handle)


# --- The thread pool ------------------------------------------------------------------------------


def test_pool_io_calls_back_with_the_completion(handles: Handles) -> None:
    """CreateThreadpoolIo: context, OVERLAPPED, error and bytes arrive on a pool thread."""
    server, client = pipe_pair(handles)
    done, called = event(handles), []

    @PTP_WIN32_IO_CALLBACK
    def callback(_: object, context: int, overlapped: int, *ended: int) -> None:
        called.append((context, overlapped, *ended))
        SetEvent(done)

    pool_io = CreateThreadpoolIo(server, callback, 55, None)
    assert pool_io is not None, error_name(last_error())
    buffer, overlapped = ctypes.create_string_buffer(16), OVERLAPPED()
    StartThreadpoolIo(pool_io)
    assert started(ReadFile(server, buffer, 16, None, byref(overlapped)))
    write(client, b"pool")
    assert WAIT_OBJECT_0 == WaitForSingleObject(done, 10_000)
    assert [(55, location(overlapped), 0, 4, pool_io)] == called
    StartThreadpoolIo(pool_io)
    CancelThreadpoolIo(pool_io)
    handles.close(server)
    WaitForThreadpoolIoCallbacks(pool_io, False)
    CloseThreadpoolIo(pool_io)


# --- Jobs and processes ---------------------------------------------------------------------------


def test_a_job_posts_the_life_of_its_process(handles: Handles, iocp: int) -> None:
    """A child that waits for its input is put into a job, and ends: three packets say so.

    The job's own account (C30: packets may get lost on Windows) is asked besides.
    """
    job = handles.keep(CreateJobObjectW(None, None))
    link = JOBOBJECT_ASSOCIATE_COMPLETION_PORT(CompletionKey=1234, CompletionPort=iocp)
    which = JobObjectAssociateCompletionPortInformation
    assert SetInformationJobObject(job, which, byref(link), sizeof(link))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    rights = PROCESS_SET_QUOTA | PROCESS_TERMINATE | SYNCHRONIZE
    process = handles.keep(OpenProcess(rights, False, child.pid))
    assert AssignProcessToJobObject(job, process), error_name(last_error())

    members, account = JOBOBJECT_BASIC_PROCESS_ID_LIST(), JOBOBJECT_BASIC_ACCOUNTING_INFORMATION()
    which = JobObjectBasicProcessIdList
    assert QueryInformationJobObject(job, which, byref(members), sizeof(members), None)
    assert (1, 1) == (members.NumberOfAssignedProcesses, members.NumberOfProcessIdsInList)
    assert child.pid == members.ProcessIdList[0]

    child.communicate(b"\n", timeout=30)
    assert WAIT_OBJECT_0 == WaitForSingleObject(process, 10_000)
    messages = [dequeue(iocp) for _ in range(3)]
    assert [
        (JOB_OBJECT_MSG_NEW_PROCESS, 1234, child.pid),
        (JOB_OBJECT_MSG_EXIT_PROCESS, 1234, child.pid),
        (JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO, 1234, 0),
    ] == [packet[2:] for packet in messages]
    which, length = JobObjectBasicAccountingInformation, DWORD()
    assert QueryInformationJobObject(job, which, byref(account), sizeof(account), byref(length))
    assert sizeof(account) == length.value
    assert (1, 0) == (account.TotalProcesses, account.ActiveProcesses)


def test_ending_a_job_ends_its_process(handles: Handles) -> None:
    """The exit code is the one given; before, it is STILL_ACTIVE."""
    job = handles.keep(CreateJobObjectW(None, None))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        rights = PROCESS_SET_QUOTA | PROCESS_TERMINATE | PROCESS_QUERY_INFORMATION | SYNCHRONIZE
        process, code = handles.keep(OpenProcess(rights, False, child.pid)), DWORD()
        assert child.pid == GetProcessId(process)
        assert AssignProcessToJobObject(job, process), error_name(last_error())
        assert GetExitCodeProcess(process, byref(code))
        assert STILL_ACTIVE == code.value
        assert TerminateJobObject(job, 77)
        assert WAIT_OBJECT_0 == WaitForSingleObject(process, 10_000)
        assert GetExitCodeProcess(process, byref(code))
        assert 77 == code.value


def test_a_jobs_limits_are_kept(handles: Handles) -> None:
    """What is set as extended limits is what is read."""
    job = handles.keep(CreateJobObjectW(None, None))
    limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION()
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    which = JobObjectExtendedLimitInformation
    assert SetInformationJobObject(job, which, byref(limits), sizeof(limits))
    read = JOBOBJECT_EXTENDED_LIMIT_INFORMATION()
    assert QueryInformationJobObject(job, which, byref(read), sizeof(read), None)
    if WINE and not read.BasicLimitInformation.LimitFlags:
        pytest.skip("this Wine does not report a job's limits")
    assert JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE == read.BasicLimitInformation.LimitFlags
    assert not SetInformationJobObject(job, which, byref(limits), 1)
    assert ERROR_BAD_LENGTH == last_error()


def test_a_duplicate_is_the_same_object(handles: Handles) -> None:
    """An event set through one handle is signalled through the other."""
    original, duplicate, here = event(handles), HANDLE(), GetCurrentProcess()
    assert DuplicateHandle(here, original, here, byref(duplicate), 0, False, DUPLICATE_SAME_ACCESS)
    handles.keep(duplicate.value)
    assert SetEvent(duplicate)
    assert WAIT_OBJECT_0 == WaitForSingleObject(original, 0)


def test_a_handles_flags_are_set_and_read(handles: Handles) -> None:
    """SECURITY_ATTRIBUTES makes a handle inheritable, SetHandleInformation takes that back."""
    attributes = SECURITY_ATTRIBUTES(sizeof(SECURITY_ATTRIBUTES), None, True)
    inherited, flags = handles.keep(CreateEventW(byref(attributes), True, False, None)), DWORD()
    assert GetHandleInformation(inherited, byref(flags))
    assert HANDLE_FLAG_INHERIT == flags.value
    assert SetHandleInformation(inherited, HANDLE_FLAG_INHERIT, 0)
    assert GetHandleInformation(inherited, byref(flags))
    assert 0 == flags.value


def test_a_process_counts_its_handles(handles: Handles) -> None:
    """Three events more are three handles more."""
    before, after = DWORD(), DWORD()
    assert GetProcessHandleCount(GetCurrentProcess(), byref(before))
    if WINE and not before.value:
        pytest.skip("this Wine counts no handles")
    for _ in range(3):
        event(handles)
    assert GetProcessHandleCount(GetCurrentProcess(), byref(after))
    assert before.value + 3 == after.value


def test_a_process_has_times() -> None:
    """It began in the past, and has computed for at least as long as time.process_time says."""
    began, ended, kernel, user = (FILETIME() for _ in range(4))
    computed_before = time.process_time()
    process = GetCurrentProcess()
    assert GetProcessTimes(process, byref(began), byref(ended), byref(kernel), byref(user))
    assert int(began) / SECOND - 11_644_473_600 < time.time()
    assert (int(kernel) + int(user)) / SECOND >= computed_before


def test_the_counter_is_pythons() -> None:
    """QueryPerformanceCounter, in units of its frequency, lies between two perf_counter()s."""
    count, frequency = LARGE_INTEGER(), LARGE_INTEGER()
    assert QueryPerformanceFrequency(byref(frequency))
    before = time.perf_counter_ns()
    assert QueryPerformanceCounter(byref(count))
    after = time.perf_counter_ns()
    assert before <= count.value * 1_000_000_000 // frequency.value <= after


def test_a_console_handler_is_added_and_taken_out() -> None:
    """Taking it out succeeds once, since it was there once."""
    handler = PHANDLER_ROUTINE(lambda _: False)
    assert SetConsoleCtrlHandler(handler, True)
    assert SetConsoleCtrlHandler(handler, False)
    assert not SetConsoleCtrlHandler(handler, False)
    assert ERROR_INVALID_PARAMETER == last_error()
