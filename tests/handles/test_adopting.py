"""Adopting: handles from elsewhere, each taken for what it is, or refused for what it is.

And giving them back: `detach` on every kind of handle.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deadline import DEADLINE_S
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    AlreadyAssociatedError,
    Completion,
    CompletionPort,
    Datagram,
    Event,
    HandleClosedError,
    HandleInvalidError,
    Job,
    NotOverlappedError,
    Pipe,
    PortClosedError,
    Process,
    ProcessCompletion,
    ResourceLimitError,
    Stream,
    Waitable,
    winapi,
)
from pyiocp.handles.files.file import File
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    ERROR_NOT_ENOUGH_MEMORY,
    FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_NO_BUFFERING,
    FILE_FLAG_OVERLAPPED,
    GENERIC_READ,
    GENERIC_WRITE,
    INVALID_HANDLE_VALUE,
    OPEN_ALWAYS,
    OPEN_EXISTING,
    SO_PROTOCOL_INFOW,
    STATUS_SUCCESS,
    TIMER_ALL_ACCESS,
    FileReplaceCompletionInformation,
)


@pytest.fixture
def numbers() -> Iterator[list[int]]:
    """Handles to be closed at the end: those that no port has taken."""
    numbers: list[int] = []
    yield numbers
    for number in numbers:
        assert winapi.CloseHandle(number)


def only(completions: list[Completion]) -> Completion:
    [completion] = completions
    return completion


def opened(path: Path | str, flags: int, disposition: int = OPEN_ALWAYS) -> int:
    """Open a file with Win32's own function."""
    access = GENERIC_READ | (GENERIC_WRITE if disposition == OPEN_ALWAYS else 0)
    number = winapi.CreateFileW(str(path), access, 7, None, disposition, flags, None)
    assert number not in (None, INVALID_HANDLE_VALUE)
    return number


# --- What is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize("by_number", [False, True])
def test_sockets_are_adopted_by_object_or_number(port: CompletionPort, by_number: bool) -> None:
    """A stream of IPv4 and a datagram socket of IPv6; a Python socket is detached."""
    ours, peer = socket.socketpair()
    source: Any = ours.detach() if by_number else ours
    with peer:
        stream = port.adopt(source, key="stream")
        assert ours.fileno() == -1
        assert isinstance(stream, Stream)
        assert (stream.family, stream.key) == (socket.AF_INET, "stream")
        stream.receive(bytearray(10))
        peer.send(b"hello")
        assert bytes(only(port.wait(60)).data) == b"hello"
    other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagram = port.adopt(other.detach() if by_number else other)
    assert isinstance(datagram, Datagram)
    assert datagram.family == socket.AF_INET6


def test_a_file_is_adopted_by_its_number(port: CompletionPort, tmp_path: Path) -> None:
    """How it was opened is known as well: without the system's cache."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    number = opened(path, FILE_FLAG_OVERLAPPED)
    file = port.adopt(number, key="file")
    assert isinstance(file, File)
    assert (file.number, file.key, file.unbuffered) == (number, "file", False)
    file.read(bytearray(4), 3)
    assert bytes(only(port.wait(60)).data) == b"3456"
    unbuffered = port.adopt(opened(path, FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING))
    assert isinstance(unbuffered, File)
    assert unbuffered.unbuffered is True


def test_pipes_of_multiprocessing_are_adopted(port: CompletionPort) -> None:
    """Both ends, which are read message by message; each keeps its handle, which is closed.

    The port's are duplicates: the bytes go through although the others are closed.
    """
    here, there = multiprocessing.Pipe()
    ends = [port.adopt(connection, key=connection) for connection in (here, there)]
    here.close()
    there.close()
    first, second = ends
    assert isinstance(first, Pipe)
    assert isinstance(second, Pipe)
    assert {first.server, second.server} == {True, False}
    assert (first.message, second.message) == (True, True)
    reading = first.read(bytearray(10))
    second.write(b"hello")
    seen = []
    while len(seen) < 2:
        seen += port.wait(60)
    [read] = [completion for completion in seen if completion.operation is reading]
    assert (bytes(read.data), read.key) == (b"hello", here)


def test_processes_are_adopted(port: CompletionPort) -> None:
    """A Popen keeps its handle; a number belongs to the port."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(5)"])
    process = port.adopt(child)
    assert isinstance(process, Process)
    assert process.number != int(child._handle)  # type: ignore[attr-defined]
    process.wait()
    completion = only(port.wait(DEADLINE_S))
    assert isinstance(completion, ProcessCompletion)
    assert completion.exit_code == 5
    assert child.wait() == 5
    number = winapi.OpenProcess(0x00100400, False, os.getpid())
    assert number is not None
    myself = port.adopt(number)
    assert isinstance(myself, Process)
    assert (myself.number, myself.pid) == (number, os.getpid())


def test_what_can_be_waited_for_is_adopted(port: CompletionPort) -> None:
    """An event is an `Event`, a job a `Job`, the others are waited for."""
    event = port.adopt(winapi.CreateEventW(None, False, False, None))
    assert isinstance(event, Event)
    operation = event.wait()
    event.set()
    assert only(port.wait(60)).operation is operation
    job = port.adopt(winapi.CreateJobObjectW(None, None))
    assert isinstance(job, Job)
    assert job.active_processes == 0
    timer = port.adopt(winapi.CreateWaitableTimerExW(None, None, 0, TIMER_ALL_ACCESS))
    assert type(timer) is Waitable


# --- What is refused ------------------------------------------------------------------------------


def test_what_was_not_opened_for_overlapped_operations_is_refused(
    port: CompletionPort, tmp_path: Path, numbers: list[int]
) -> None:
    """Python's own files, the pipes of a Popen, a number; all of them stay the caller's."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    number = opened(path, 0)
    numbers.append(number)
    with pytest.raises(NotOverlappedError, match="not opened for overlapped"):
        port.adopt(number)
    with path.open("rb") as file:
        with pytest.raises(NotOverlappedError):
            port.adopt(file)
        assert file.read() == b"data"
    with subprocess.Popen([sys.executable, "-S", "-c", "1"], stdout=subprocess.PIPE) as child:
        with pytest.raises(NotOverlappedError):
            port.adopt(child.stdout)
        assert child.communicate()[0] == b""


def test_a_socket_that_is_not_overlapped_is_refused_by_its_own_kind(port: CompletionPort) -> None:
    """By WSASocketW without WSA_FLAG_OVERLAPPED; where that makes a difference."""
    number = winapi.WSASocketW(socket.AF_INET, socket.SOCK_STREAM, 0, None, 0, 0)
    try:
        with pytest.raises(NotOverlappedError) as caught:
            port.stream(number)
        assert isinstance(caught.value, ValueError)
        assert caught.value.winerror == 87
    finally:
        winapi.closesocket(number)


def test_what_is_on_a_port_already_is_refused(port: CompletionPort, tmp_path: Path) -> None:
    """This port or another, by whatever way; it goes on where it is."""
    ours, peer = socket.socketpair()
    file_number = opened(tmp_path / "file", FILE_FLAG_OVERLAPPED)
    with peer, CompletionPort() as other:
        stream = port.stream(ours)
        file = port.adopt(file_number)
        for second in (port, other):
            with pytest.raises(AlreadyAssociatedError, match="on a completion port already"):
                second.adopt(stream.number)
            with pytest.raises(AlreadyAssociatedError):
                second.adopt(file.number)
        with pytest.raises(ValueError, match="already"):
            other.stream(stream.number)
        stream.receive(bytearray(10))
        peer.send(b"hello")
        assert bytes(only(port.wait(60)).data) == b"hello"


def test_what_is_no_handle_is_refused(port: CompletionPort) -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match="not the number of a handle"):
            port.adopt(number)
    with pytest.raises(HandleInvalidError, match="0x7ffffff0"):
        port.adopt(0x7FFF_FFF0)
    for wrong in ("file.txt", True, None, 1.5):
        with pytest.raises(TypeError, match="number of a handle is needed"):
            port.adopt(wrong)
    closed = socket.socket()
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        port.adopt(closed)


def test_what_no_port_can_take_is_refused_by_name(
    port: CompletionPort, tmp_path: Path, numbers: list[int]
) -> None:
    """A directory, a device, a mutex, a port: the message says what it is."""
    create_mutex = ctypes.WinDLL("kernel32").CreateMutexW
    create_mutex.restype = ctypes.c_void_p
    flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OVERLAPPED
    named = {
        "of a directory": opened(tmp_path, flags, OPEN_EXISTING),
        "character device": opened("NUL", FILE_FLAG_OVERLAPPED, OPEN_EXISTING),
        "Mutant": create_mutex(None, False, None),
        "IoCompletion": winapi.CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, 0),
    }
    numbers.extend(number for number in named.values() if number is not None)
    for name, number in named.items():
        with pytest.raises(ValueError, match=name):
            port.adopt(number)


def test_a_closed_port_adopts_nothing() -> None:
    port = CompletionPort()
    port.close()
    with socket.socket() as sock:
        with pytest.raises(PortClosedError):
            port.adopt(sock)
        assert sock.fileno() > 0


# --- Giving back ----------------------------------------------------------------------------------


def test_detach_is_refused_while_operations_are_in_flight(port: CompletionPort) -> None:
    """It names them; after their completions the handle is given back, and is nobody's here."""
    ours, peer = socket.socketpair()
    with peer:
        stream = port.stream(ours)
        operation = stream.receive(bytearray(10))
        with pytest.raises(RuntimeError, match="in flight on it are receive"):
            stream.detach()
        peer.send(b"hello")
        assert only(port.wait(60)).operation is operation
        number = stream.detach()
        with pytest.raises(HandleClosedError):
            stream.detach()
        with pytest.raises(HandleClosedError):
            stream.receive(bytearray(10))
        stream.close()
        assert stream not in port.handles
        with socket.socket(fileno=number) as again:
            peer.send(b"again")
            again.settimeout(60)
            assert again.recv(10) == b"again"


def test_a_detached_handle_may_join_another_port_where_windows_lets_it(
    port: CompletionPort, tmp_path: Path
) -> None:
    """`associated` tells: either it can join, or it cannot and is said to be on its port."""
    file = port.adopt(opened(tmp_path / "file", FILE_FLAG_OVERLAPPED))
    assert file.associated is True
    number = file.detach()
    with CompletionPort() as other:
        if file.associated:
            with pytest.raises(AlreadyAssociatedError):
                other.adopt(number)
            assert winapi.CloseHandle(number)
        else:
            again = other.adopt(number)
            assert isinstance(again, File)
            again.write(b"data", 0)
            assert only(other.wait(60)).bytes == 4


@pytest.mark.parametrize("answer", [STATUS_SUCCESS, -0x3FFFFFFD])
def test_detach_takes_a_handle_off_its_port_by_name(answer: int, tmp_path: Path) -> None:
    """Windows is asked to replace the port by none; what it answers is what is told."""
    asked = []

    class Kernel(FaultyKernel):
        def __init__(self) -> None:
            super().__init__()
            self.NtSetInformationFile = self.replace  # type: ignore[assignment]

        def replace(self, number: int, outcome: Any, where: Any, size: int, which: int) -> int:
            asked.append((number, where._obj.Port, where._obj.Key, size, which))
            return answer

    with CompletionPort(kernel=Kernel()) as port:
        file = port.adopt(opened(tmp_path / "file", FILE_FLAG_OVERLAPPED))
        number = file.detach()
        assert asked == [
            (
                number,
                None,
                None,
                2 * ctypes.sizeof(ctypes.c_void_p),
                FileReplaceCompletionInformation,
            )
        ]
        assert file.associated is (answer != STATUS_SUCCESS)
        assert winapi.CloseHandle(number)


def rounds_of_adopting(port: CompletionPort, path: Path, rounds: int) -> None:
    for _ in range(rounds):
        file = port.adopt(opened(path, FILE_FLAG_OVERLAPPED))
        assert isinstance(file, File)
        file.read(bytearray(4), 0)
        assert len(port.wait(60)) == 1
        assert winapi.CloseHandle(file.detach())
        number = opened(path, 0)
        with pytest.raises(NotOverlappedError):
            port.adopt(number)
        assert winapi.CloseHandle(number)
        with path.open("rb") as python_file, pytest.raises(NotOverlappedError):
            port.adopt(python_file)


def test_adopting_leaves_no_handle(port: CompletionPort, tmp_path: Path) -> None:
    rounds_of_adopting(port, tmp_path / "file", 20)
    before = handle_count()
    rounds_of_adopting(port, tmp_path / "file", 200)
    assert handle_count() <= before


@pytest.mark.soak
def test_soak_ten_thousand_adoptions_leave_no_handle(port: CompletionPort, tmp_path: Path) -> None:
    rounds_of_adopting(port, tmp_path / "file", 20)
    before = handle_count()
    rounds_of_adopting(port, tmp_path / "file", 10_000)
    assert handle_count() <= before


def test_mode_that_skips_packets_already_is_noticed(port: CompletionPort) -> None:
    """C08: on a datagram socket, where pyiocp would not set it; and nothing can unset it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        skip = winapi.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
        assert winapi.SetFileCompletionNotificationModes(made.fileno(), skip)
        datagram = port.adopt(made)
        assert isinstance(datagram, Datagram)
        assert datagram.skips_on_success
        for n in range(3):
            datagram.send_to(b"%d" % n, other.getsockname())
            [completion] = port.wait(60)
            assert (completion.error, completion.bytes) == (None, 1)
        assert port.wait(0.05) == []


def test_a_socket_of_no_known_kind_is_refused_and_stays_the_callers(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """A raw socket takes an administrator: the kernel says of a stream that it were one."""

    def raw(real: Any, *arguments: Any) -> Any:
        result = real(*arguments)
        if arguments[2] == SO_PROTOCOL_INFOW:
            arguments[3]._obj.iSocketType = socket.SOCK_RAW
        return result

    kernel.wrap("getsockopt", raw)
    with socket.socket() as sock:
        with pytest.raises(ValueError, match="neither a stream nor a datagram socket"):
            port.adopt(sock)
        sock.bind(("127.0.0.1", 0))


def test_a_pipe_that_says_nothing_of_itself_is_refused(
    kernel: FaultyKernel, port: CompletionPort
) -> None:
    """The number stays the caller's."""
    ours, theirs = multiprocessing.Pipe()
    kernel.wrap("GetNamedPipeInfo", Refusal(ERROR_NOT_ENOUGH_MEMORY, 0, times=1))
    with ours, theirs:
        with pytest.raises(ResourceLimitError, match="GetNamedPipeInfo failed"):
            port.adopt(ours)
        theirs.send("hello")
        assert ours.recv() == "hello"
