"""Whole files, several blocks in flight: the same bytes, and nobody else's completions."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import io
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    CompletionPort,
    HandleClosedError,
    IocpError,
    OperationCancelledError,
    PathNotFoundError,
    PipeClosedError,
    PortClosedError,
    Session,
)
from pyiocp.handles.files.bulk_file import copy_file, hash_file, read_blocks
from pyiocp.handles.files.file import File
from pyiocp.winapi import (
    ERROR_DISK_FULL,
    ERROR_NOT_ENOUGH_QUOTA,
    FILE_FLAG_OVERLAPPED,
    HANDLE,
    INVALID_HANDLE_VALUE,
    PIPE_ACCESS_DUPLEX,
    WAIT_TIMEOUT,
    CreateNamedPipeW,
)

BLOCK = 4096
SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 20 * BLOCK + 7]


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of 20 blocks and a little more, that Python has written."""
    path = tmp_path / "source"
    path.write_bytes(content(SIZES[-1]))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("depth", [1, 3, 64])
def test_copy_is_what_the_source_is(
    port: CompletionPort, tmp_path: Path, depth: int, size: int
) -> None:
    """Of every length around a block, with fewer, as many and more blocks in flight.

    The target was longer before. Hash and blocks agree with what Python reads.
    """
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content(size))
    target.write_bytes(bytes(SIZES[-1] + 100))
    assert copy_file(port, source, target, depth=depth, block_size=BLOCK) == size
    assert target.read_bytes() == source.read_bytes()
    digest = hash_file(port, str(source), depth=depth, block_size=BLOCK)
    with source.open("rb") as file:
        assert digest.digest() == hashlib.file_digest(file, "sha256").digest()
    blocks = [bytes(b) for b in read_blocks(port, source, depth=depth, block_size=BLOCK)]
    assert b"".join(blocks) == content(size)
    assert {len(block) for block in blocks[:-1]} <= {BLOCK}
    assert port.in_flight_by_kind() == {}
    assert port.wait(0) == []


def test_as_many_blocks_are_in_flight_as_the_caller_says(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path, target: Path
) -> None:
    """The most reads and writes that were pending at a time; and no more than the file has."""
    pending = []

    def note(real: Callable[..., int], *arguments: Any) -> int:
        counts = port.in_flight_by_kind()
        pending.append(counts.get("read", 0) + counts.get("write", 0))
        return real(*arguments)

    kernel.wrap("ReadFile", note)
    kernel.wrap("WriteFile", note)
    port = open_port()
    for depth, most in ((1, 1), (5, 5), (500, 21)):
        pending.clear()
        copy_file(port, source, target, depth=depth, block_size=BLOCK)
        assert max(pending) == most
        pending.clear()
        for _ in read_blocks(port, source, depth=depth, block_size=BLOCK):
            pass
        assert max(pending) == most


def test_unbuffered_files_are_copied_to_the_last_byte(
    port: CompletionPort, source: Path, target: Path
) -> None:
    """The tail is written as a whole sector and cut off; blocks must be whole sectors."""
    with (
        port.file(source, unbuffered=True) as readable,
        port.file(target, "w", unbuffered=True) as writable,
    ):
        assert copy_file(port, readable, writable, block_size=BLOCK) == SIZES[-1]
        assert (readable.closed, writable.closed) == (False, False)
        with pytest.raises(ValueError, match="length must be a multiple"):
            copy_file(port, readable, writable, block_size=BLOCK + 1)
        assert port.in_flight_by_kind() == {}
        assert target.read_bytes() == b""
        copy_file(port, readable, writable, block_size=BLOCK)
    assert target.read_bytes() == source.read_bytes()


# Others on the port


def test_completions_of_others_are_kept_for_them(
    port: CompletionPort, source: Path, target: Path
) -> None:
    """Posted before and during the copy: all of them come from wait() afterwards, in order."""
    with port.file(source, key="mine") as file:
        early = file.read(bytearray(10), 3)
        port.post("packet")
        copy_file(port, source, target, block_size=BLOCK)
        for block in read_blocks(port, source, block_size=BLOCK):
            port.post(len(block))
        seen = []
        while len(seen) < 2 + 21:
            completions = port.wait(60)
            assert completions, "a completion never came"
            seen += completions
        assert seen[0].operation is early
        assert bytes(seen[0].data) == content(SIZES[-1])[3:13]
        assert [c.key for c in seen] == ["mine", "packet", *[BLOCK] * 20, 7]
    assert target.read_bytes() == source.read_bytes()


def test_copy_while_other_threads_wait_on_the_port(
    port: CompletionPort, source: Path, target: Path
) -> None:
    """They may be the ones that take its completions; theirs come to them, each once."""
    seen: list[object] = []
    stop = threading.Event()

    def wait() -> None:
        while not stop.is_set():
            seen.extend(c.key for c in port.wait(0.2))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(10):
            port.post(n)
            assert copy_file(port, source, target, block_size=BLOCK) == SIZES[-1]
            digest = hash_file(port, target, block_size=BLOCK)
            assert digest.digest() == hashlib.sha256(content(SIZES[-1])).digest()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    seen += [c.key for c in port.wait(0)]
    assert sorted(seen, key=int) == list(range(10))  # type: ignore[call-overload]


def test_several_threads_copy_at_once(port: CompletionPort, source: Path, tmp_path: Path) -> None:
    """Four on one port, each waiting for its own; each takes the completions of all."""
    results: list[int] = []

    def copy(n: int) -> None:
        results.extend(
            copy_file(port, source, tmp_path / f"{n}", depth=4, block_size=BLOCK) for _ in range(3)
        )

    threads = [threading.Thread(target=copy, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [SIZES[-1]] * 12
    assert {(tmp_path / f"{n}").read_bytes() for n in range(4)} == {source.read_bytes()}


def test_sessions_are_served_while_files_are_read(
    port: CompletionPort, source: Path, target: Path
) -> None:
    """An echo server and its client, on the port that reads: their hooks run in between."""
    echoed = []

    class Echo(Session):
        def on_receive(self, data: memoryview) -> None:
            self.send(data)

    class Client(Session):
        def on_connect(self) -> None:
            self.send(b"hello")

        def on_receive(self, data: memoryview) -> None:
            echoed.append(bytes(data))

    listener = port.listen(("127.0.0.1", 0), Echo)
    port.connect(listener.address, Client)
    until = time.monotonic() + 60
    while not echoed and time.monotonic() < until:
        hash_file(port, source, block_size=BLOCK)
    assert echoed == [b"hello"]
    copy_file(port, source, target, block_size=BLOCK)
    assert target.read_bytes() == source.read_bytes()


# A file that changes meanwhile


def _changes_size(kernel: FaultyKernel, path: Path, at_call: int, size: int) -> None:
    """Have somebody give the file another size just before a certain read."""
    calls = []

    def read(real: Callable[..., int], *arguments: Any) -> int:
        calls.append(1)
        if len(calls) == at_call:
            with path.open("r+b") as file:
                file.truncate(size)
        return real(*arguments)

    kernel.wrap("ReadFile", read)


@pytest.mark.parametrize("size", [0, 100, BLOCK, 6 * BLOCK, 6 * BLOCK + 9])
@pytest.mark.parametrize("depth", [1, 4])
def test_source_that_shrinks_is_copied_as_far_as_it_goes(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    source: Path,
    target: Path,
    size: int,
    depth: int,
) -> None:
    """Cut before the ninth read: no hole, no zeros, no error; the copy ends at some end.

    It is the beginning of what the source was, and no shorter than what it is now.
    """
    _changes_size(kernel, source, 9, size)
    port = open_port()
    length = copy_file(port, source, target, depth=depth, block_size=BLOCK)
    assert size <= length <= 9 * BLOCK
    assert target.read_bytes() == content(SIZES[-1])[:length]


def test_blocks_of_a_shrinking_file_end_where_it_does(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path
) -> None:
    _changes_size(kernel, source, 9, 6 * BLOCK + 9)
    port = open_port()
    read = b"".join(bytes(b) for b in read_blocks(port, source, depth=4, block_size=BLOCK))
    assert read == content(SIZES[-1])[: len(read)]
    assert 6 * BLOCK + 9 <= len(read) <= 9 * BLOCK
    assert port.in_flight_by_kind() == {}


def test_source_that_grows_is_copied_to_its_new_end(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path, target: Path
) -> None:
    _changes_size(kernel, source, 5, 33 * BLOCK + 1)
    port = open_port()
    assert copy_file(port, source, target, depth=4, block_size=BLOCK) == 33 * BLOCK + 1
    assert target.read_bytes() == source.read_bytes()


# Ends before the end


def test_leaving_the_loop_calls_off_the_reads(
    port: CompletionPort, source: Path, tmp_path: Path
) -> None:
    for block in read_blocks(port, source, block_size=BLOCK):
        assert bytes(block) == content(SIZES[-1])[:BLOCK]
        break
    gc.collect()
    assert port.in_flight_by_kind() == {}
    assert port.wait(0) == []
    source.replace(tmp_path / "free")  # nothing has it open any more


def test_reads_that_would_never_end_are_cancelled(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path
) -> None:
    """From the third on they go to a pipe that nobody writes to; leaving the loop ends them.

    What is asked to be cancelled on the file is cancelled on the pipe in its place.
    """
    calls, cancelled = [], []

    def read(real: Callable[..., int], number: Any, *arguments: Any) -> int:
        calls.append(1)
        return real(number if len(calls) < 3 else HANDLE(pipe.number), *arguments)

    def cancel(real: Callable[..., int], number: int, reference: Any) -> int:
        cancelled.append(reference)
        return real(pipe.number if reference is not None else number, reference)

    kernel.wrap("ReadFile", read)
    kernel.wrap("CancelIoEx", cancel)
    port = open_port()
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-bulk"
    mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED
    server = CreateNamedPipeW(name, mode, 0, 1, 4096, 4096, 0, None)
    assert server != INVALID_HANDLE_VALUE
    with File(port._queue, server), port.file(name, "r+", share="") as pipe:
        for block in read_blocks(port, source, depth=4, block_size=BLOCK):
            assert len(block) == BLOCK
            assert port.in_flight_by_kind()["read"] >= 2
            break
        gc.collect()
        assert port.in_flight_by_kind() == {}
    assert len([reference for reference in cancelled if reference is not None]) >= 2


def test_a_block_is_valid_until_the_next_one(port: CompletionPort, source: Path) -> None:
    """Kept by mistake, it refuses to be looked at, instead of showing other bytes."""
    blocks = read_blocks(port, source, block_size=BLOCK)
    first = next(blocks)
    assert len(bytes(first)) == BLOCK
    next(blocks)
    with pytest.raises(ValueError, match="released memoryview"):
        bytes(first)


@pytest.mark.parametrize("name", ["ReadFile", "WriteFile"])
def test_error_is_raised_with_the_name_and_leaves_nothing(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    source: Path,
    target: Path,
    name: str,
) -> None:
    """C14: the sixth call is refused while others are in flight: called off, and given back."""
    from pyiocp.observing.handle_count import handle_count

    calls = []

    def refuse(real: Callable[..., int], *arguments: Any) -> int:
        calls.append(1)
        if len(calls) % 10 == 6:
            return Refusal(ERROR_NOT_ENOUGH_QUOTA, 0)(real, *arguments)
        return real(*arguments)

    kernel.wrap(name, refuse)
    port = open_port()
    port.wait(0)
    handles = handle_count()
    for _ in range(20):
        calls.clear()
        with pytest.raises(IocpError, match=f"{name} failed with ERROR_NOT_ENOUGH") as caught:
            copy_file(port, source, target, block_size=BLOCK)
        assert caught.value.filename == str(source if name == "ReadFile" else target)
        assert target.read_bytes() == b""
        assert port.in_flight_by_kind() == {}
        del caught
    gc.collect()
    assert handle_count() <= handles


def test_errors_of_opening_and_making_room_name_the_file(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path, target: Path
) -> None:
    """A source that is not there empties no target; a full disk is said before reading."""
    target.write_bytes(b"still here")
    port = open_port()
    missing = source.with_name("missing")
    with pytest.raises(PathNotFoundError) as caught:
        copy_file(port, missing, target)
    assert caught.value.filename == str(missing)
    assert target.read_bytes() == b"still here"
    with pytest.raises(FileNotFoundError):
        hash_file(port, missing)
    kernel.wrap("SetFileInformationByHandle", Refusal(ERROR_DISK_FULL, 0, times=1))
    with pytest.raises(IocpError, match="ERROR_DISK_FULL") as full:
        copy_file(port, source, target)
    assert full.value.filename == str(target)


def test_short_write_is_an_error(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path, target: Path
) -> None:
    """A system that says success and has taken less than it was given is not believed."""

    def write(real: Callable[..., int], *arguments: Any) -> int:
        overlapped = arguments[4]._obj
        overlapped.Internal, overlapped.InternalHigh = 0, 5
        return 1

    kernel.wrap("WriteFile", write)
    port = open_port()
    with pytest.raises(IocpError, match="ERROR_WRITE_FAULT") as caught:
        copy_file(port, source, target, block_size=BLOCK)
    assert caught.value.filename == str(target)


def test_failure_by_packet_is_raised_with_the_name(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path, target: Path
) -> None:
    """The third read goes to a pipe, and is pending when the pipe's other end goes away."""
    calls = []

    def read(real: Callable[..., int], number: Any, *arguments: Any) -> int:
        calls.append(1)
        if len(calls) != 3:
            return real(number, *arguments)
        port.call_later(0.05, pipe.close)
        return real(HANDLE(server.number), *arguments)

    kernel.wrap("ReadFile", read)
    port = open_port()
    name = rf"\\.\pipe\pyiocp-{os.getpid()}-bulk"
    mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED
    with (
        File(port._queue, CreateNamedPipeW(name, mode, 0, 1, 4096, 4096, 0, None)) as server,
        port.file(name, "r+", share="") as pipe,
    ):
        with pytest.raises(PipeClosedError, match="ReadFile failed") as caught:
            copy_file(port, source, target, depth=4, block_size=BLOCK)
        assert caught.value.filename == str(source)
        assert port.in_flight_by_kind() == {}
    assert target.read_bytes() == b""


def test_closing_the_target_ends_the_copy(port: CompletionPort, source: Path, target: Path) -> None:
    """By a call on the port, in the midst of it."""
    with port.file(source) as readable, port.file(target, "w") as writable:
        port.call_soon(writable.close)
        with pytest.raises((ValueError, OSError), match=r"closed|CANCELLED"):
            copy_file(port, readable, writable, depth=2, block_size=64)
    assert port.in_flight_by_kind() == {}


def test_ctrl_c_ends_a_copy_and_loses_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], source: Path, target: Path
) -> None:
    """C20: pressed inside the seventh read; nothing is in flight then, and the port goes on."""
    calls = []

    def read(real: Callable[..., int], *arguments: Any) -> int:
        calls.append(1)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    kernel.wrap("ReadFile", read)
    port = open_port()
    port.post("before")
    with pytest.raises(KeyboardInterrupt):
        copy_file(port, source, target, depth=2, block_size=BLOCK)
    assert port.in_flight_by_kind() == {}
    assert target.read_bytes() == b""
    assert [c.key for c in port.wait(60)] == ["before"]
    assert copy_file(port, source, target, block_size=BLOCK) == SIZES[-1]


def test_ctrl_c_ends_hashing_although_all_blocks_are_there(
    port: CompletionPort, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C20: pressed while the first block is hashed; there is nothing more to wait for."""
    updates = []

    class Hash:
        def update(self, block: memoryview) -> None:
            updates.append(len(block))
            if len(updates) == 3:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(hashlib, "new", lambda name: Hash())
    with pytest.raises(KeyboardInterrupt):
        hash_file(port, source, depth=64, block_size=BLOCK)
    assert updates == [BLOCK] * 3
    assert port.in_flight_by_kind() == {}


def test_closing_the_port_ends_the_reading(source: Path) -> None:
    """By a call on the port, in the midst of it: an exception, no hang, nothing in flight."""
    port = CompletionPort()
    blocks = read_blocks(port, source, depth=4, block_size=64)
    for _ in range(20):
        next(blocks)
    port.close()
    with pytest.raises((PortClosedError, HandleClosedError, OperationCancelledError)):
        list(blocks)
    assert port.in_flight == {}


def test_bad_arguments_are_refused_before_anything_is_opened(
    port: CompletionPort, source: Path, target: Path
) -> None:
    target.write_bytes(b"still here")
    for depth in (0, -1, 1025):
        with pytest.raises(ValueError, match="depth must be between"):
            copy_file(port, source, target, depth=depth)
    for size in (0, 2**30 + 1):
        with pytest.raises(ValueError, match="block_size must be between"):
            read_blocks(port, source, block_size=size)
    with pytest.raises(ValueError, match="unsupported hash"):
        hash_file(port, source, "no such hash")
    with pytest.raises(ValueError, match="are the same file"):
        copy_file(port, source, os.fspath(source.parent / "." / source.name))
    with port.file(source) as file, pytest.raises(ValueError, match="are the same file"):
        copy_file(port, file, source)
    with (
        CompletionPort() as other,
        other.file(source) as file,
        pytest.raises(ValueError, match="is on another port"),
    ):
        copy_file(port, file, target)
    with port.file(source) as file, pytest.raises(io.UnsupportedOperation):
        copy_file(port, source.with_name("target"), file)
    assert source.read_bytes() == content(SIZES[-1])


@pytest.mark.parametrize(
    "rounds", [50, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_rounds_of_copies_leave_nothing(
    port: CompletionPort, source: Path, target: Path, rounds: int
) -> None:
    from pyiocp.observing.handle_count import handle_count

    port.wait(0)
    handles = handle_count()
    for _ in range(rounds):
        assert copy_file(port, source, target, block_size=4 * BLOCK) == SIZES[-1]
        hash_file(port, source, block_size=4 * BLOCK)
    assert handle_count() <= handles
    assert port.in_flight_by_kind() == {}


def test_collected_generator_of_blocks_may_find_the_lock_of_the_file_held(tmp_path: Path) -> None:
    """A collection comes anywhere, also within a submission on the same file, on this thread.

    The reads ahead are still in flight then: one packet is dequeued before it, and no more.
    """
    kernel = FaultyKernel()
    dequeued: list[int] = []
    collecting = threading.Event()

    def dequeue(real: Callable[..., int], *arguments: Any) -> int:
        if dequeued and not collecting.is_set():
            ctypes.set_last_error(WAIT_TIMEOUT)
            return 0
        result = real(*arguments)
        if result:
            dequeued.append(result)
        return result

    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    path = tmp_path / "source"
    path.write_bytes(bytes(8 * BLOCK))
    done = threading.Event()

    def collect() -> None:
        with CompletionPort(kernel=kernel, batch=1) as port, port.file(path) as file:
            blocks = read_blocks(port, file, depth=4, block_size=BLOCK)
            next(blocks)
            assert port.in_flight_by_kind() == {"read": 3}
            with file.lock:
                collecting.set()
                del blocks
            assert port.in_flight_by_kind() == {}
        done.set()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    assert done.wait(60)
    thread.join(60)
