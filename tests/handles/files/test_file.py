"""Files: opened as Python opens them, and the same bytes, whichever way a read or write ends."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    AccessDeniedError,
    CompletionPort,
    HandleClosedError,
    IocpError,
    PathExistsError,
    PathNotFoundError,
    PortClosedError,
    ResourceLimitError,
    SharingViolationError,
)
from pyiocp.handles.files.file import File
from pyiocp.winapi import (
    ERROR_HANDLE_EOF,
    ERROR_NOT_ENOUGH_QUOTA,
    FILE_APPEND_DATA,
    FILE_FLAG_NO_BUFFERING,
    FILE_FLAG_OVERLAPPED,
    FILE_FLAG_RANDOM_ACCESS,
    FILE_FLAG_SEQUENTIAL_SCAN,
    FILE_FLAG_WRITE_THROUGH,
    FILE_WRITE_DATA,
    GENERIC_READ,
    GENERIC_WRITE,
    OPEN_EXISTING,
    STATUS_END_OF_FILE,
    CreateFileW,
)

CONTENT = bytes(range(256)) * 64
FSCTL_SET_SPARSE = 0x000900C4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 16 KB that Python has written."""
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def on_the_spot(path: Path) -> Callable[..., int]:
    """Return a ReadFile that ends within the call, as Windows' does when the cache has it."""

    def read(real: Callable[..., int], *arguments: Any) -> int:
        _, address, length, _, reference = arguments
        overlapped = reference._obj
        offset = overlapped.OffsetHigh << 32 | overlapped.Offset
        data = path.read_bytes()[offset:][: length.value]
        if not data and length.value:
            ctypes.set_last_error(ERROR_HANDLE_EOF)
            return 0
        ctypes.memmove(address.value, data, len(data))
        overlapped.Internal, overlapped.InternalHigh = 0, len(data)
        return 1

    return read


# Opening


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("mode", ["r", "r+", "w", "w+", "x", "x+", "a", "a+", "rb", "r+b", "br"])
def test_each_mode_does_what_it_does_in_open(
    port: CompletionPort, tmp_path: Path, mode: str, there: bool
) -> None:
    """Python opens one file, the port a like one: the same error or none, the same bytes then.

    Each then writes five bytes, at the beginning or where appending puts them, and reads.
    """
    ours, pythons = tmp_path / "ours", tmp_path / "pythons"
    if there:
        ours.write_bytes(b"content")
        pythons.write_bytes(b"content")
    binary = mode if "b" in mode else mode + "b"
    refusal: OSError | None = None
    try:
        expected = pythons.open(binary)
    except OSError as error:
        refusal = error
    if refusal is not None:
        with pytest.raises(type(refusal)) as caught:
            port.file(ours, mode)
        assert isinstance(caught.value, IocpError)
        assert (caught.value.errno, caught.value.filename) == (refusal.errno, str(ours))
        return
    with expected, port.file(ours, mode) as file:
        if expected.writable():
            expected.write(b"12345")
            expected.flush()
            if "a" in mode:
                file.append(b"12345")
            else:
                file.write(b"12345", 0)
            [completion] = port.wait(60)
            assert (completion.error, completion.bytes) == (None, 5)
        if expected.readable():
            expected.seek(0)
            file.read(bytearray(100), 0)
            [completion] = port.wait(60)
            assert bytes(completion.data) == expected.read()
    assert ours.read_bytes() == pythons.read_bytes()


def test_open_errors_are_pythons_own_and_name_the_file(port: CompletionPort, path: Path) -> None:
    missing, nowhere = path.parent / "missing", path.parent / "nowhere" / "file"
    with pytest.raises(FileNotFoundError, match="ERROR_FILE_NOT_FOUND") as caught:
        port.file(missing)
    assert isinstance(caught.value, PathNotFoundError)
    assert (caught.value.filename, caught.value.winerror) == (str(missing), 2)
    assert str(missing.name) in str(caught.value)
    with pytest.raises(FileNotFoundError, match="ERROR_PATH_NOT_FOUND"):
        port.file(nowhere, "w")
    with pytest.raises(FileExistsError) as exists:
        port.file(path, "x")
    assert isinstance(exists.value, PathExistsError)
    with pytest.raises(PermissionError) as denied:
        port.file(path.parent)  # a directory
    assert isinstance(denied.value, AccessDeniedError)


def test_failed_opens_leave_no_handle(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """C14: 200 opens that the port refuses to take, 200 that the system refuses."""
    from pyiocp.observing.handle_count import handle_count

    port = open_port()
    with pytest.raises(FileNotFoundError):
        port.file(path.parent / "missing")
    refusal = Refusal(8, None)
    kernel.wrap("CreateIoCompletionPort", refusal)
    handles = handle_count()
    for _ in range(200):
        with pytest.raises(ResourceLimitError):
            port.file(path)
        with pytest.raises(FileNotFoundError):
            port.file(path.parent / "missing")
    assert refusal.refused == 200
    assert handle_count() <= handles
    assert port.handles == set()


def test_sharing_is_as_the_letters_say(port: CompletionPort, path: Path) -> None:
    """By default as with open(); without letters nobody else gets at the file."""
    with port.file(path, "r+"), path.open("r+b") as other:
        assert other.read() == CONTENT
    with port.file(path, share=""):
        with pytest.raises(PermissionError), path.open("rb"):
            pass
        with pytest.raises(SharingViolationError, match="does not share it"):
            port.file(path)
    with port.file(path, share="rd"):
        path.rename(path.with_name("renamed"))


def test_flags_reach_the_system(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """Each word is one flag of CreateFileW, beside FILE_FLAG_OVERLAPPED."""
    flags = []

    def create(real: Callable[..., Any], *arguments: Any) -> Any:
        flags.append(arguments[5])
        return real(*arguments)

    kernel.wrap("CreateFileW", create)
    port = open_port()
    for words in ({}, {"sequential": True}, {"random": True}, {"write_through": True}):
        port.file(path, **words).close()
    port.file(path, unbuffered=True, write_through=True).close()
    assert flags == [
        FILE_FLAG_OVERLAPPED,
        FILE_FLAG_OVERLAPPED | FILE_FLAG_SEQUENTIAL_SCAN,
        FILE_FLAG_OVERLAPPED | FILE_FLAG_RANDOM_ACCESS,
        FILE_FLAG_OVERLAPPED | FILE_FLAG_WRITE_THROUGH,
        FILE_FLAG_OVERLAPPED | FILE_FLAG_WRITE_THROUGH | FILE_FLAG_NO_BUFFERING,
    ]


def test_appending_has_no_right_to_write_anywhere_else(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """What CreateFileW is asked for with "a": FILE_APPEND_DATA, and no FILE_WRITE_DATA."""
    rights = []

    def create(real: Callable[..., Any], *arguments: Any) -> Any:
        rights.append(arguments[1])
        return real(*arguments)

    kernel.wrap("CreateFileW", create)
    port = open_port()
    for mode in ("a", "a+"):
        port.file(path, mode).close()
    asked = FILE_APPEND_DATA | FILE_WRITE_DATA | GENERIC_WRITE | GENERIC_READ
    assert [right & asked for right in rights] == [
        FILE_APPEND_DATA,
        FILE_APPEND_DATA | GENERIC_READ,
    ]


@pytest.mark.parametrize("mode", ["", "b", "rw", "rt", "r++", "rr", "U", "ra", "+", "rbb"])
def test_bad_mode_is_refused_with_words(port: CompletionPort, path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        port.file(path, mode)


def test_words_that_exclude_each_other_are_refused(port: CompletionPort, path: Path) -> None:
    with pytest.raises(ValueError, match="sequential and random"):
        port.file(path, sequential=True, random=True)
    with pytest.raises(ValueError, match="not opened for appending"):
        port.file(path, "a", unbuffered=True)
    for share in ("x", "rr", "read"):
        with pytest.raises(ValueError, match="share must be letters"):
            port.file(path, share=share)
    with pytest.raises(ValueError, match="null character"):
        port.file("name\0hidden")
    with pytest.raises(TypeError):
        port.file(3)  # type: ignore[arg-type]
    assert path.read_bytes() == CONTENT


def test_closed_port_opens_no_file(path: Path) -> None:
    port = CompletionPort()
    port.close()
    with pytest.raises(PortClosedError, match="takes no file"):
        port.file(path, "w")
    assert path.read_bytes() == CONTENT


def test_a_number_becomes_a_file(port: CompletionPort, path: Path) -> None:
    """A handle opened elsewhere, with FILE_FLAG_OVERLAPPED, belongs to the file then."""
    number = CreateFileW(
        str(path), GENERIC_READ, 3, None, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, None
    )
    assert number
    with File(port._queue, number, key="adopted", name="content", mode="r") as file:
        file.read(bytearray(3), 1)
        [completion] = port.wait(60)
        assert (completion.key, bytes(completion.data)) == ("adopted", CONTENT[1:4])
        assert file.mode == "r"
        assert "content" in repr(file)


# Reading and writing


def test_several_reads_in_flight_each_bring_their_own_bytes(
    port: CompletionPort, path: Path
) -> None:
    """Sixteen, posted from the last place to the first, beside what Python reads."""
    expected = path.read_bytes()
    with port.file(path, key="file") as file:
        posted = {file.read(bytearray(1000), offset): offset for offset in range(15000, -1, -1000)}
        seen = []
        while len(seen) < len(posted):
            completions = port.wait(60)
            assert completions, "a completion never came"
            seen += completions
        assert {c.operation for c in seen} == set(posted)
        for completion in seen:
            offset = posted[completion.operation]
            assert (completion.error, completion.key) == (None, "file")
            assert bytes(completion.data) == expected[offset : offset + 1000]
        assert port.wait(0.05) == []


def test_bytes_written_at_offsets_are_where_python_finds_them(
    port: CompletionPort, tmp_path: Path
) -> None:
    """Three writes in flight, one behind the end of the others: the gap is zeros."""
    path = tmp_path / "new"
    with port.file(path, "x") as file:
        file.write(b"first", 0)
        file.write(bytearray(b"second"), 5)
        file.write(memoryview(b"-third-")[1:-1], 100)
        seen = []
        while len(seen) < 3:
            seen += port.wait(60)
        assert sorted(c.bytes for c in seen) == [5, 5, 6]
        assert [c.error for c in seen] == [None] * 3
        assert file.size() == 105
    assert path.read_bytes() == b"firstsecond" + bytes(89) + b"third"


def test_read_across_the_end_is_short(port: CompletionPort, path: Path) -> None:
    with port.file(path) as file:
        file.read(bytearray(100), len(CONTENT) - 7)
        [completion] = port.wait(60)
        assert (bytes(completion.data), completion.error) == (CONTENT[-7:], None)


@pytest.mark.parametrize("offset", [len(CONTENT), len(CONTENT) + 1, 2**32, 2**63 - 11])
@pytest.mark.parametrize("way", ["packet", "call", "call, no skip"])
def test_end_of_file_is_zero_bytes_and_no_error(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    path: Path,
    way: str,
    offset: int,
) -> None:
    """By packet (STATUS_END_OF_FILE) and from the call (ERROR_HANDLE_EOF): one completion.

    Wine reports it by packet, Windows mostly from the call, without a packet; that is made
    here by a ReadFile that ends within the call, with packets skipped on success and not.
    """
    if "call" in way:
        kernel.wrap("ReadFile", on_the_spot(path))
    if "no skip" in way:
        kernel.wrap("SetFileCompletionNotificationModes", Refusal(87, 0))
    port = open_port()
    with port.file(path, key="file") as file:
        assert file.skips_on_success is ("no skip" not in way)
        operation = file.read(bytearray(10), offset)
        [completion] = port.wait(60)
        assert (completion.operation, completion.key) == (operation, "file")
        assert (completion.bytes, completion.error, bytes(completion.data)) == (0, None, b"")
        assert completion.status == STATUS_END_OF_FILE
        assert operation.state.value == "completed"
        assert port.in_flight_by_kind() == {}
        assert port.wait(0.05) == []
        operation.post()
        assert len(port.wait(60)) == 1


def test_read_done_on_the_spot_completes_once(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """Within the call, without a packet, as Windows does for what its cache has."""
    kernel.wrap("ReadFile", on_the_spot(path))
    port = open_port()
    with port.file(path) as file:
        operation = file.read(bytearray(10), 3)
        assert port.in_flight_by_kind() == {}
        [completion] = port.wait(60)
        assert (completion.operation, bytes(completion.data)) == (operation, CONTENT[3:13])
        assert port.wait(0.05) == []
        ended = file.read_operation(bytearray(10), len(CONTENT))
        assert ended.start() is True
        assert (ended.transferred, ended.state.value) == (0, "completed")
        assert port.wait(0.05) == []


@pytest.mark.parametrize("offset", [0, 5, len(CONTENT), 2**40])
def test_zero_length_read_completes_with_nothing(
    port: CompletionPort, path: Path, offset: int
) -> None:
    with port.file(path) as file:
        operation = file.read(bytearray(), offset)
        [completion] = port.wait(60)
        assert (completion.operation, completion.bytes) == (operation, 0)
        assert completion.error is None
        assert port.wait(0.05) == []


def test_offsets_beyond_four_gigabytes(port: CompletionPort, tmp_path: Path) -> None:
    """Written and read just around 2**32, in a sparse file; Python finds the same bytes."""
    path = tmp_path / "large"
    with port.file(path, "x+") as file:
        file.control(FSCTL_SET_SPARSE)
        assert [c.error for c in port.wait(60)] == [None]
        operation = file.write(b"around the edge", 2**32 - 6)
        assert operation.offset == 2**32 - 6
        assert [c.bytes for c in port.wait(60)] == [15]
        assert file.size() == 2**32 + 9
        file.read(bytearray(100), 2**32)
        [completion] = port.wait(60)
        assert bytes(completion.data) == b" the edge"
        with path.open("rb") as python:
            python.seek(2**32 - 6)
            assert python.read() == b"around the edge"


@pytest.mark.parametrize("mode", ["a", "r+"])
def test_appends_in_flight_do_not_overwrite_each_other(
    port: CompletionPort, tmp_path: Path, mode: str
) -> None:
    """Fifty, on two handles of one file: all of them are there, behind what was before."""
    path = tmp_path / "log"
    path.write_bytes(b"start\n")
    lines = [f"line {n:03}\n".encode() for n in range(50)]
    with port.file(path, mode) as first, port.file(path, mode) as second:
        for n, line in enumerate(lines):
            operation = (first, second)[n % 2].append(line)
        assert "at the end of" in repr(operation)
        seen = []
        while len(seen) < len(lines):
            seen += port.wait(60)
        assert {(c.bytes, c.error) for c in seen} == {(9, None)}
    written = path.read_bytes().splitlines(keepends=True)
    assert written[0] == b"start\n"
    assert sorted(written[1:]) == lines


def test_operation_is_posted_again_at_another_place(port: CompletionPort, path: Path) -> None:
    """The same buffer and OVERLAPPED walk through the file, as a reader in a loop does."""
    with port.file(path) as file:
        operation = file.read_operation(bytearray(4096), 0)
        seen = b""
        for offset in range(0, len(CONTENT) + 1, 4096):
            operation.offset = offset
            operation.post()
            with pytest.raises(RuntimeError, match="still pending"):
                operation.offset = 0
            [completion] = port.wait(60)
            seen += bytes(completion.data)
        assert seen == CONTENT
        assert operation.offset == len(CONTENT)
        with pytest.raises(ValueError, match="offset must be between"):
            operation.offset = 2**63 - 4095
    with port.file(path, "r+") as file:
        append = file.append(b"x")
        port.wait(60)
        with pytest.raises(ValueError, match="has no offset"):
            append.offset = 0


def test_what_the_mode_excludes_never_reaches_the_kernel(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """As Python's own files do: io.UnsupportedOperation. No system call is made."""
    asked = Refusal(5, 0)
    for name in ("ReadFile", "WriteFile", "SetFileInformationByHandle", "FlushFileBuffers"):
        kernel.wrap(name, asked)
    port = open_port()
    with port.file(path, "r") as file:
        for refused in (
            lambda: file.write(b"x", 0),
            lambda: file.append(b"x"),
            lambda: file.truncate(0),
            file.flush,
        ):
            with pytest.raises(io.UnsupportedOperation, match="not to be written"):
                refused()
    with (
        port.file(path, "a") as file,
        pytest.raises(io.UnsupportedOperation, match="not to be read"),
    ):
        file.read(bytearray(1), 0)
    with port.file(path, "a") as file:
        for refused in (lambda: file.write(b"x", 0), lambda: file.truncate(0)):
            with pytest.raises(io.UnsupportedOperation, match=r"use append\(\)"):
                refused()
    assert asked.calls == 0
    assert path.read_bytes() == CONTENT


def test_bad_arguments_never_reach_the_kernel(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    asked = Refusal(87, 0)
    for name in ("ReadFile", "WriteFile", "DeviceIoControl", "SetFileInformationByHandle"):
        kernel.wrap(name, asked)
    port = open_port()
    with port.file(path, "r+") as file:
        for offset in (-1, 2**63, 2**63 - 1, 2**64 - 1):
            with pytest.raises(ValueError, match="offset must be between"):
                file.read(bytearray(2), offset)
            with pytest.raises(ValueError, match="offset must be between"):
                file.write(b"ab", offset)
        for bad in (b"bytes", memoryview(b"abc")):
            with pytest.raises(TypeError, match="buffer that can be written to"):
                file.read(bad, 0)
        for bad in ("text", None, 3):
            with pytest.raises(TypeError):
                file.read(bad, 0)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                file.write(bad, 0)  # type: ignore[arg-type]
        with pytest.raises(BufferError):
            file.write(memoryview(bytearray(10))[::2], 0)
        with pytest.raises(ValueError, match="size must be between"):
            file.truncate(-1)
        with pytest.raises(ValueError, match="32 bits"):
            file.control(2**32)
        with pytest.raises(TypeError, match="buffer that can be written to"):
            file.control(0, b"", b"answer")
    assert asked.calls == 0
    assert port.in_flight == {}


def test_buffer_is_held_until_its_completion(port: CompletionPort, path: Path) -> None:
    """C32: neither buffer can be resized while it is the kernel's, although it is done."""
    with port.file(path, "r+") as file:
        incoming, outgoing = bytearray(10), bytearray(10)
        file.read(incoming, 0)
        file.write(outgoing, 100)
        for buffer in (incoming, outgoing):
            with pytest.raises(BufferError):
                buffer.append(0)
        seen = []
        while len(seen) < 2:
            seen += port.wait(60)
        del seen
        incoming.append(0)
        outgoing.append(0)


def test_refused_reads_and_writes_leave_nothing(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """C14: 300 of each, refused because too many pages are locked: buffers are free again."""
    from pyiocp.observing.handle_count import handle_count

    refusal = Refusal(ERROR_NOT_ENOUGH_QUOTA, 0)
    kernel.wrap("ReadFile", refusal)
    kernel.wrap("WriteFile", refusal)
    port = open_port()
    buffer = bytearray(10)
    with port.file(path, "r+") as file:
        handles = handle_count()
        for _ in range(300):
            with pytest.raises(ResourceLimitError, match="ReadFile failed with ERROR_NOT_ENOUGH"):
                file.read(buffer, 0)
            with pytest.raises(ResourceLimitError, match="WriteFile failed with ERROR_NOT_ENOUGH"):
                file.write(buffer, 0)
        assert handle_count() <= handles
    assert refusal.refused == 600
    assert port.in_flight == {}
    buffer.append(0)
    assert port.wait(0) == []


# The file itself


def test_size_truncate_and_flush_are_what_python_sees(port: CompletionPort, path: Path) -> None:
    with port.file(path, "r+") as file:
        assert file.size() == len(CONTENT)
        file.truncate(10)
        assert (file.size(), path.read_bytes()) == (10, CONTENT[:10])
        file.truncate(20)
        file.flush()
        assert path.read_bytes() == CONTENT[:10] + bytes(10)


def test_flush_does_not_hold_up_the_file(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """While the disk takes its time, a read is posted and completes; then the flush returns."""
    read = []

    def flush(real: Callable[..., int], number: Any) -> int:
        file.read(bytearray(5), 0)
        read.extend(bytes(c.data) for c in port.wait(60))
        return real(number)

    kernel.wrap("FlushFileBuffers", flush)
    port = open_port()
    with port.file(path, "r+") as file:
        file.flush()
    assert read == [CONTENT[:5]]


def test_failed_flush_is_raised_and_leaves_no_handle(
    kernel: FaultyKernel, open_port: Callable[[], CompletionPort], path: Path
) -> None:
    """C14: the disk is gone, or there is no handle to be had, a hundred times each."""
    from pyiocp.observing.handle_count import handle_count

    kernel.wrap("FlushFileBuffers", Refusal(1117, 0, times=100))
    no_handle = Refusal(8, 0, times=100)
    port = open_port()
    with port.file(path, "r+") as file:
        handles = handle_count()
        for _ in range(100):
            with pytest.raises(IocpError, match="FlushFileBuffers failed with ERROR_IO_DEVICE"):
                file.flush()
        kernel.wrap("DuplicateHandle", no_handle)
        for _ in range(100):
            with pytest.raises(ResourceLimitError, match="DuplicateHandle failed"):
                file.flush()
        file.flush()
        assert handle_count() <= handles


def test_control_code_reaches_the_file_system(port: CompletionPort, path: Path) -> None:
    """FSCTL_SET_SPARSE is taken; a code that no file system knows is an error, either way."""
    with port.file(path, "r+") as file:
        operation = file.control(FSCTL_SET_SPARSE)
        [completion] = port.wait(60)
        assert (completion.operation, completion.error) == (operation, None)
        assert port.wait(0.05) == []
        try:
            file.control(0x0009FFFC, b"question", bytearray(10))
        except IocpError as refused:
            error: Any = refused
        else:
            [completion] = port.wait(60)
            error = completion.error
        assert error.function == "DeviceIoControl"
        assert error.winerror in (1, 50, 87)
        assert port.in_flight_by_kind() == {}


def test_closed_file_takes_nothing(port: CompletionPort, path: Path) -> None:
    with port.file(path, "r+") as file:
        assert file.closed is False
    assert file.closed is True
    for refused in (
        lambda: file.read(bytearray(1), 0),
        lambda: file.write(b"x", 0),
        lambda: file.append(b"x"),
        lambda: file.lock_range(),
        lambda: file.control(FSCTL_SET_SPARSE),
        lambda: file.truncate(0),
        file.unlock_range,
        file.size,
        file.flush,
    ):
        with pytest.raises(HandleClosedError):
            refused()
    path.replace(path.with_name("free"))  # nothing has it open any more


def test_more_bytes_than_a_call_takes_are_refused(port: CompletionPort, path: Path) -> None:
    """4 GiB that nobody has: the words come before anything looks at the memory."""
    byte = ctypes.c_char()
    there = (ctypes.c_char * 2**32).from_address(ctypes.addressof(byte))
    with port.file(path, "w+") as file:
        for start in (file.read, file.write):
            with pytest.raises(ValueError, match="4,294,967,295 bytes at a time"):
                start(there, 0)
    assert port.in_flight == {}
