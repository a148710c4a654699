"""Watching a directory, against the real file system: what is told, and that nothing is lost."""

from __future__ import annotations

import ctypes
import logging
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal, entries_of

from pyiocp import (
    AccessDeniedError,
    Change,
    ChangeAction,
    CompletionPort,
    Directory,
    DirectoryCompletion,
    HandleClosedError,
    IocpError,
    NotifyFilter,
    Operation,
    OperationCancelledError,
    Overflow,
    PathNotFoundError,
    PortClosedError,
    ResourceLimitError,
)
from pyiocp.winapi import (
    ERROR_ACCESS_DENIED,
    ERROR_INVALID_PARAMETER,
    ERROR_NOT_ENOUGH_MEMORY,
    FILE_ACTION_RENAMED_OLD_NAME,
    STATUS_DELETE_PENDING,
    STATUS_NOTIFY_CLEANUP,
    STATUS_NOTIFY_ENUM_DIR,
    STATUS_SUCCESS,
)

ADDED, REMOVED = ChangeAction.ADDED, ChangeAction.REMOVED
MODIFIED, RENAMED = ChangeAction.MODIFIED, ChangeAction.RENAMED
NAMES = NotifyFilter.FILE_NAME | NotifyFilter.DIRECTORY_NAME


class Watched:
    """A directory on a port, and what it tells."""

    def __init__(self, port: CompletionPort, path: Path, **settings: Any) -> None:
        self.port = port
        self.path = path
        self.directory = port.directory(path, key="watched", **settings)
        self.events: list[Change | Overflow] = []
        self.errors: list[OSError] = []

    def take(self, completions: list[Any]) -> None:
        for completion in completions:
            assert isinstance(completion, DirectoryCompletion)
            assert completion.key == "watched"
            assert self.errors == [], "something came after the last completion"
            self.events += completion.changes
            if completion.error is not None:
                self.errors.append(completion.error)

    def until(self, told: Callable[[], bool]) -> None:
        """Wait until what has come is enough; fail if nothing comes for a minute."""
        while not told():
            completions = self.port.wait(60)
            assert completions, f"only {self.events} {self.errors} came"
            self.take(completions)

    def end(self) -> OSError:
        """Cancel the watch and return how it ended."""
        self.directory.cancel()
        self.until(lambda: bool(self.errors))
        return self.errors.pop()


@pytest.fixture
def watched(port: CompletionPort, tmp_path: Path) -> Watched:
    """Names only: how often a write is told is the file system's business."""
    watched = Watched(port, tmp_path, notify=NAMES)
    watched.directory.watch()
    return watched


# --- What is told ---------------------------------------------------------------------------------


def test_files_made_renamed_and_deleted_are_told_in_order(watched: Watched) -> None:
    """The rename has both names, in one event."""
    (watched.path / "a").touch()
    (watched.path / "a").rename(watched.path / "b")
    (watched.path / "b").unlink()
    watched.until(lambda: len(watched.events) >= 3)
    assert watched.events == [
        Change(ADDED, "a"),
        Change(RENAMED, "b", "a"),
        Change(REMOVED, "b"),
    ]
    assert watched.port.in_flight_by_kind() == {"watch": 1}


def test_names_of_any_characters_are_told(watched: Watched) -> None:
    names = ["ordinary", "Grüße", "пример", "例え", "emoji \N{SLICE OF PIZZA}", "x" * 200]
    for name in names:
        (watched.path / name).touch()
    watched.until(lambda: len(watched.events) >= len(names))
    assert watched.events == [Change(ADDED, name) for name in names]


def test_writes_are_told(port: CompletionPort, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    watched = Watched(port, tmp_path)
    watched.directory.watch()
    file.write_text("a line")
    watched.until(lambda: bool(watched.events))
    assert set(watched.events) == {Change(MODIFIED, "log")}


@pytest.mark.parametrize("recursive", [True, False])
def test_what_is_below_is_told_only_if_asked_for(
    port: CompletionPort, tmp_path: Path, recursive: bool
) -> None:
    """The sign that ends the test is made after the file below."""
    watched = Watched(port, tmp_path, recursive=recursive, notify=NAMES)
    watched.directory.watch()
    (tmp_path / "folder").mkdir()
    watched.until(lambda: Change(ADDED, "folder") in watched.events)
    (tmp_path / "folder" / "below").touch()
    (tmp_path / "sign").touch()
    watched.until(lambda: Change(ADDED, "sign") in watched.events)
    below = [Change(ADDED, "folder\\below")] if recursive else []
    assert watched.events == [Change(ADDED, "folder"), *below, Change(ADDED, "sign")]


def test_only_what_is_asked_for_is_told(port: CompletionPort, tmp_path: Path) -> None:
    """Directories' names, and not files': the file comes first, and is not told."""
    watched = Watched(port, tmp_path, notify=NotifyFilter.DIRECTORY_NAME)
    watched.directory.watch()
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    watched.until(lambda: bool(watched.events))
    assert watched.events == [Change(ADDED, "folder")]


# --- Nothing is lost ------------------------------------------------------------------------------


def test_nothing_is_lost_between_two_completions(watched: Watched) -> None:
    """A thousand files, made by another thread while this one takes what comes."""
    names = [f"file {n}" for n in range(1000)]

    def make() -> None:
        for name in names:
            (watched.path / name).touch()

    thread = threading.Thread(target=make)
    thread.start()
    watched.until(lambda: len(watched.events) >= len(names))
    thread.join()
    assert watched.events == [Change(ADDED, name) for name in names]


def test_what_happens_while_nobody_waits_is_told_later(watched: Watched) -> None:
    """The pending request takes the first, the kernel keeps the others."""
    for n in range(10):
        (watched.path / str(n)).touch()
    watched.until(lambda: len(watched.events) >= 10)
    assert watched.events == [Change(ADDED, str(n)) for n in range(10)]


def test_next_request_is_posted_before_anything_is_handed_over(
    port: CompletionPort, tmp_path: Path
) -> None:
    """When a completion is in the caller's hands, the next request is pending already."""
    watched = Watched(port, tmp_path, notify=NAMES)
    watched.directory.watch()
    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
        [completion] = port.wait(60)
        assert isinstance(completion, DirectoryCompletion)
        assert completion.changes == [Change(ADDED, name)]
        assert port.in_flight_by_kind() == {"watch": 1}


def test_rename_whose_names_come_in_two_buffers_is_one_event(tmp_path: Path) -> None:
    """The kernel completes the request with the old name alone, as NTFS does.

    The seam takes the packet with both and makes two of it: the old name now, the new name
    as the next request's answer.
    """
    kernel = FaultyKernel()
    buffers: dict[int, Any] = {}
    kept: list[bytes] = []

    def read(real: Any, *arguments: Any) -> int:
        address = ctypes.addressof(arguments[6]._obj)
        buffers[address] = (ctypes.c_char * arguments[2].value).from_address(
            ctypes.addressof(arguments[1]._obj)
        )
        return int(real(*arguments))

    def dequeue(real: Any, *arguments: Any) -> int:
        result = int(real(*arguments))
        for entry in entries_of(arguments) if result else ():
            address = ctypes.cast(entry.lpOverlapped, ctypes.c_void_p).value
            if address not in buffers:
                continue
            buffer = buffers[address]
            size = entry.dwNumberOfBytesTransferred
            following, action = struct.unpack_from("<II", buffer)
            if action == FILE_ACTION_RENAMED_OLD_NAME and following:
                kept.append(buffer.raw[following:size])
                struct.pack_into("<I", buffer, 0, 0)
                arguments[1]._obj[0].dwNumberOfBytesTransferred = following
            elif kept:
                new = kept.pop()
                pad = -len(new) % 4
                rest = buffer.raw[:size]
                both = struct.pack("<I", len(new) + pad) + new[4:] + bytes(pad) + rest
                buffer[: len(both)] = both
                entry.dwNumberOfBytesTransferred = len(both)
        return result

    kernel.wrap("ReadDirectoryChangesW", read)
    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)
    (tmp_path / "before").touch()
    with CompletionPort(kernel=kernel, batch=1) as port:
        watched = Watched(port, tmp_path, notify=NAMES)
        watched.directory.watch()
        (tmp_path / "before").rename(tmp_path / "after")
        watched.take(port.wait(60))
        assert (watched.events, len(kept)) == ([], 1)
        (tmp_path / "sign").touch()
        watched.until(lambda: len(watched.events) >= 2)
        assert watched.events == [Change(RENAMED, "after", "before"), Change(ADDED, "sign")]


# --- Overflow -------------------------------------------------------------------------------------


def test_too_many_changes_are_one_event_that_means_rescan(
    port: CompletionPort, tmp_path: Path
) -> None:
    """C24: 500 files and room for some dozen: told, then one Overflow, and the watch goes on."""
    watched = Watched(port, tmp_path, notify=NAMES, buffer_size=1024)
    watched.directory.watch()
    for n in range(500):
        (tmp_path / f"file number {n}").touch()
    watched.until(lambda: Overflow() in watched.events)
    assert watched.events.count(Overflow()) == 1
    assert len(watched.events) < 500
    watched.events.clear()
    (tmp_path / "sign").touch()
    watched.until(lambda: Change(ADDED, "sign") in watched.events)
    assert watched.end().winerror == 995  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("count", "status"),
    [(0, STATUS_SUCCESS), (0, STATUS_NOTIFY_ENUM_DIR), (12, STATUS_NOTIFY_ENUM_DIR)],
)
def test_either_way_of_saying_overflow_is_one(tmp_path: Path, count: int, status: int) -> None:
    """C24: success with 0 bytes, or STATUS_NOTIFY_ENUM_DIR, for a request that is cancelled.

    An old name that came before it, whose new name is lost, is a removal; the watch goes on.
    """
    kernel = FaultyKernel()
    with_status(kernel, status, count)
    with CompletionPort(kernel=kernel) as port:
        watched = Watched(port, tmp_path, notify=NAMES)
        watched.directory.watch()
        watched.directory._renames.changes([(FILE_ACTION_RENAMED_OLD_NAME, "old")])
        request = next(p for p in port.in_flight.values() if p.kind == "watch")
        assert isinstance(request, Operation)
        assert request.cancel() is True
        watched.until(lambda: bool(watched.events))
        assert watched.events == [Change(REMOVED, "old"), Overflow()]
        assert watched.errors == []
        assert port.in_flight_by_kind() == {"watch": 1}


def test_unreadable_buffer_is_an_overflow_and_is_logged(
    port: CompletionPort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows what has changed then: that is what Overflow says."""
    watched = Watched(port, tmp_path)
    watched.directory.watch()
    request = next(p for p in port.in_flight.values() if p.kind == "watch")
    (tmp_path / "something").touch()
    port.wait(60)
    request.buffers[0][:12] = struct.pack("<III", 0, 1, 3)
    with caplog.at_level(logging.ERROR, logger="pyiocp"):
        assert watched.directory._changes(request, 12, STATUS_SUCCESS) == [Overflow()]
    assert "cannot be read" in caplog.text


# --- The end --------------------------------------------------------------------------------------


def test_cancelled_watch_ends_once_and_may_begin_again(watched: Watched) -> None:
    """What has changed in between is told by the second watch: the kernel has kept it."""
    assert isinstance(watched.end(), OperationCancelledError)
    assert watched.port.in_flight_by_kind() == {}
    assert watched.port.wait(0.05) == []
    (watched.path / "meanwhile").touch()
    watched.directory.watch()
    watched.until(lambda: bool(watched.events))
    assert watched.events == [Change(ADDED, "meanwhile")]


def test_cancel_that_comes_too_late_delivers_and_ends(watched: Watched) -> None:
    """C06: a change is told, nobody has dequeued it, then comes cancel(): both are handed over."""
    (watched.path / "just in time").touch()
    request = next(p for p in watched.port.in_flight.values() if p.kind == "watch")
    for _ in range(10000):
        if not request.unwritten:
            break
        threading.Event().wait(0.001)  # for the kernel to write it; bounded
    assert isinstance(watched.end(), OperationCancelledError)
    assert watched.events == [Change(ADDED, "just in time")]
    assert watched.port.in_flight_by_kind() == {}


def test_closing_the_directory_ends_the_watch(watched: Watched) -> None:
    watched.directory.close()
    watched.until(lambda: bool(watched.errors))
    assert isinstance(watched.errors[0], OperationCancelledError)
    assert watched.port.wait(0.05) == []
    with pytest.raises(HandleClosedError, match="takes no watch"):
        watched.directory.watch()


def test_closing_it_with_a_change_in_the_queue_delivers_and_ends(watched: Watched) -> None:
    """The next request cannot be posted any more: the end is told all the same."""
    (watched.path / "last").touch()
    request = next(p for p in watched.port.in_flight.values() if p.kind == "watch")
    for _ in range(10000):
        if not request.unwritten:
            break
        threading.Event().wait(0.001)  # for the kernel to write it; bounded
    watched.directory.close()
    watched.until(lambda: bool(watched.errors))
    assert isinstance(watched.errors[0], OperationCancelledError)
    assert watched.events == [Change(ADDED, "last")]


def test_closing_the_port_ends_the_watch(tmp_path: Path) -> None:
    with CompletionPort() as port:
        directory = port.directory(tmp_path)
        directory.watch()
        [completion] = port.close()
    assert isinstance(completion.error, OperationCancelledError)
    with pytest.raises(PortClosedError):
        port.directory(tmp_path)
    with pytest.raises(HandleClosedError):
        directory.watch()


def with_status(kernel: FaultyKernel, wanted: int, count: int = 0) -> None:
    """Have requests that are cancelled end in another status, as if something else had come."""
    directories: set[int] = set()

    def read(real: Any, *arguments: Any) -> int:
        directories.add(ctypes.addressof(arguments[6]._obj))
        return int(real(*arguments))

    def dequeue(real: Any, *arguments: Any) -> int:
        result = int(real(*arguments))
        for entry in entries_of(arguments) if result else ():
            address = ctypes.cast(entry.lpOverlapped, ctypes.c_void_p).value
            if address in directories and entry.Internal & 0x80000000:
                entry.Internal = wanted
                entry.dwNumberOfBytesTransferred = count
        return result

    kernel.wrap("ReadDirectoryChangesW", read)
    kernel.wrap("GetQueuedCompletionStatusEx", dequeue)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (STATUS_DELETE_PENDING, PathNotFoundError),
        (STATUS_NOTIFY_CLEANUP, OperationCancelledError),
    ],
)
def test_other_ends_of_a_watch(tmp_path: Path, status: int, kind: type[IocpError]) -> None:
    """What Windows says besides: that the directory is deleted, or the last handle closed.

    The latter is a success without bytes, and no overflow.
    """
    kernel = FaultyKernel()
    with_status(kernel, status)
    with CompletionPort(kernel=kernel) as port:
        watched = Watched(port, tmp_path)
        watched.directory.watch()
        assert isinstance(watched.end(), kind)
        assert watched.events == []


def test_watch_that_cannot_go_on_says_so(tmp_path: Path) -> None:
    """The next request is refused: what was told is told, then the error, and the watch is over."""
    kernel = FaultyKernel()
    refusal = Refusal(ERROR_ACCESS_DENIED, 0)
    refusal.enabled = False
    kernel.wrap("ReadDirectoryChangesW", refusal)
    with CompletionPort(kernel=kernel) as port:
        watched = Watched(port, tmp_path, notify=NAMES)
        watched.directory.watch()
        refusal.enabled = True
        (tmp_path / "last").touch()
        watched.until(lambda: bool(watched.errors))
        assert watched.events == [Change(ADDED, "last")]
        assert isinstance(watched.errors.pop(), AccessDeniedError)
        assert port.in_flight_by_kind() == {}
        refusal.enabled = False
        watched.directory.watch()
        (tmp_path / "again").touch()
        watched.until(lambda: Change(ADDED, "again") in watched.events)


# --- With a receiver ------------------------------------------------------------------------------


class Listening:
    """A receiver: notes what comes and on which threads, and stops the port at the end."""

    def __init__(self, port: CompletionPort, until: str) -> None:
        self._port = port
        self._until = until
        self._inside = threading.Lock()
        self.names: list[str] = []
        self.errors: list[OSError] = []

    def __call__(self, completion: DirectoryCompletion) -> None:
        assert self._inside.acquire(blocking=False), "two calls at once"
        try:
            for change in completion.changes:
                assert isinstance(change, Change)
                self.names.append(change.name)
                if change.name == self._until:
                    self._port.stop()
            if completion.error is not None:
                self.errors.append(completion.error)
                self._port.stop()
        finally:
            self._inside.release()


@pytest.mark.parametrize("threads", [1, 3])
def test_receiver_is_called_in_order_and_never_twice_at_once(
    port: CompletionPort, tmp_path: Path, threads: int
) -> None:
    """300 files are made while one thread, or three, run the port."""
    names = [f"file {n}" for n in range(300)]
    directory = port.directory(tmp_path, notify=NotifyFilter.FILE_NAME)
    listening = Listening(port, until=names[-1])
    directory.watch(listening)

    def make() -> None:
        for name in names:
            (tmp_path / name).touch()

    thread = threading.Thread(target=make)
    thread.start()
    port.run(threads=threads)
    thread.join()
    assert listening.names == names
    directory.cancel()
    port.run(threads=threads)
    assert [type(error) for error in listening.errors] == [OperationCancelledError]
    assert port.wait(0) == []


def test_receiver_that_raises_is_called_again(
    port: CompletionPort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged, with the directory; the next change comes."""
    directory = port.directory(tmp_path, notify=NAMES)
    calls: list[str] = []

    def receive(completion: DirectoryCompletion) -> None:
        calls.extend(c.name for c in completion.changes if isinstance(c, Change))
        if "sign" in calls:
            port.stop()
        raise LookupError("not mine")

    directory.watch(receive)
    (tmp_path / "first").touch()
    with caplog.at_level(logging.ERROR, logger="pyiocp"):
        while calls != ["first"]:
            assert port.wait(0.05) == []
        (tmp_path / "sign").touch()
        port.run(threads=1)
    assert calls == ["first", "sign"]
    assert "the receiver of <Directory" in caplog.text
    caplog.clear()
    directory.close()
    port.wait(0.1)


def test_receiver_may_close_its_directory(port: CompletionPort, tmp_path: Path) -> None:
    """In the middle of a call: it is called once more, with the error."""
    directory = port.directory(tmp_path, notify=NAMES)
    told: list[Any] = []

    def receive(completion: DirectoryCompletion) -> None:
        told.append(completion.error or completion.changes)
        directory.close()
        if completion.error:
            port.stop()

    directory.watch(receive)
    (tmp_path / "first").touch()
    port.run(threads=1)
    assert told[0] == [Change(ADDED, "first")]
    assert isinstance(told[1], OperationCancelledError)
    assert len(told) == 2


# --- What is wrong --------------------------------------------------------------------------------


def test_wrong_arguments_are_refused_before_the_system_sees_them(
    port: CompletionPort, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match="is none"):
        port.directory(file)
    with pytest.raises(PathNotFoundError):
        port.directory(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="notify must be"):
        port.directory(tmp_path, notify=0)
    with pytest.raises(ValueError, match="notify must be"):
        port.directory(tmp_path, notify=0x8000)
    for size in (0, 100, 1 << 25):
        with pytest.raises(ValueError, match="buffer_size must be"):
            port.directory(tmp_path, buffer_size=size)
    with pytest.raises(TypeError):
        port.directory(b"bytes")  # type: ignore[arg-type]
    assert [h for h in port.handles if isinstance(h, Directory)] == []


def test_a_directory_is_watched_once_at_a_time(watched: Watched) -> None:
    with pytest.raises(RuntimeError, match="watched already"):
        watched.directory.watch()


def test_refused_watch_leaves_nothing(tmp_path: Path) -> None:
    """C14: too large a buffer for a network, or no memory: 200 times; then it works."""
    for code, kind in (
        (ERROR_INVALID_PARAMETER, IocpError),
        (ERROR_NOT_ENOUGH_MEMORY, ResourceLimitError),
    ):
        kernel = FaultyKernel()
        kernel.wrap("ReadDirectoryChangesW", Refusal(code, 0, times=200))
        with CompletionPort(kernel=kernel) as port:
            watched = Watched(port, tmp_path)
            for _ in range(200):
                with pytest.raises(kind, match="ReadDirectoryChangesW failed"):
                    watched.directory.watch()
            assert port.in_flight_by_kind() == {}
            watched.directory.watch()
            assert isinstance(watched.end(), OperationCancelledError)


def test_packets_are_never_skipped(watched: Watched) -> None:
    """C08: the call says the same whether it has completed or is pending."""
    assert watched.directory.skips_on_success is False
