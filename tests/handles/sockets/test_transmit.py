"""Sending files: what arrives, one completion, and what happens at the limits."""

from __future__ import annotations

import ctypes
import gc
import io
import msvcrt
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from completions import one
from faulty_kernel import FaultyKernel, Refusal
from packets_as_sends import Element, packets_as_sends
from plain_socket import received, wait_until_full

from pyiocp import (
    CompletionPort,
    FilePart,
    FunctionUnavailableError,
    HandleClosedError,
    HandleInvalidError,
    IocpError,
    OperationCancelledError,
    ResourceLimitError,
    Stream,
)
from pyiocp.handles.sockets.transmit import SendFileOperation
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import (
    TP_ELEMENT_FILE,
    TP_ELEMENT_MEMORY,
    WSAENOBUFS,
)

CONTENT = bytes(range(250)) * 8
"""2,000 bytes; a shift by any number of them shows."""

LINGER_0 = b"\x01\x00\x00\x00"


Pair = tuple[Stream, socket.socket]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        yield file


@pytest.fixture
def parts_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set how many bytes one call of TransmitFile may send."""

    def set_limit(limit: int) -> None:
        monkeypatch.setattr(SendFileOperation, "call_max", limit)

    return set_limit


LIMITS = [2**31 - 2, 2000, 700, 9]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    ("offset", "count"),
    [(0, None), (5, 10), (0, 2000), (1990, 100), (2000, None), (2**40, 5), (7, 0)],
)
def test_part_of_the_file_arrives_between_head_and_tail(
    port: CompletionPort,
    pair: Pair,
    file: BinaryIO,
    parts_of: Callable[[int], None],
    limit: int,
    offset: int,
    count: int | None,
) -> None:
    """C23: whatever lies past the end of the file is left out, in any number of parts.

    One completion, which counts everything; and the position of the file does not move.
    """
    parts_of(limit)
    stream, peer = pair
    content = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]
    expected = b"<head>" + content + b"<tail>"
    operation = stream.send_file(file, offset, count, head=b"<head>", tail=b"<tail>")
    completion = one(port)
    assert completion.operation is operation
    assert (completion.key, completion.error) == ("ours", None)
    assert completion.bytes == operation.transferred == len(expected)
    assert received(peer, len(expected)) == expected
    assert file.tell() == 0
    assert port.in_flight_by_kind() == {}
    assert port.wait(0.01) == []


def test_nothing_to_send_completes_all_the_same(
    port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    """C23: a count of 0 would mean the whole file to the system."""
    stream, peer = pair
    stream.send_file(file, 2000)
    assert one(port).bytes == 0
    stream.send(b"next")
    assert received(peer, 4) == b"next"


class Handle:
    """A thing with a number, as the library's own files are."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False


def test_file_may_be_an_object_a_number_or_a_handle(
    port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    stream, peer = pair
    number = msvcrt.get_osfhandle(file.fileno())
    with io.FileIO(file.name) as raw:
        for kind in (file, raw, number, Handle(number)):
            stream.send_file(kind, 10, 20)
            assert one(port).bytes == 20
            assert received(peer, 20) == CONTENT[10:30]


def test_file_on_the_port_is_sent(port: CompletionPort, pair: Pair, file: BinaryIO) -> None:
    stream, peer = pair
    opened = port.file(file.name, "r")
    stream.send_file(opened, 10, 20)
    assert one(port).bytes == 20
    assert received(peer, 20) == CONTENT[10:30]
    opened.close()
    with pytest.raises(ValueError, match="is closed: it cannot be sent"):
        stream.send_file(opened)


def test_operation_can_be_posted_again(port: CompletionPort, pair: Pair, file: BinaryIO) -> None:
    """It sends what the file has then."""
    stream, peer = pair
    operation = stream.send_file(file, 1990)
    assert one(port).bytes == 10
    with Path(file.name).open("ab") as longer:
        longer.write(b"more")
    operation.post()
    with pytest.raises(RuntimeError, match="still pending"):
        operation.post()
    assert one(port).bytes == 14
    assert received(peer, 24) == CONTENT[1990:] * 2 + b"more"


def big(tmp_path: Path, size: int) -> Path:
    """Return a file with a hole from 0 to its last bytes, which are ``the end``."""
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.seek(size - 7)
        file.write(b"the end")
    return path


def test_no_call_is_for_more_than_windows_takes(
    kernel: FaultyKernel, port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    """C23: a file of 5 GiB and 10 bytes, head and tail: three calls, none too long.

    Their counts and offsets are noted, and only the last 20 bytes of each are sent.
    """
    path = big(tmp_path, 5 * 2**30 + 10)
    calls: list[tuple[int, int]] = []

    def transmit(
        real: Callable[..., int], number: Any, handle: Any, count: Any, *arguments: Any
    ) -> int:
        overlapped = arguments[1]._obj
        offset = overlapped.OffsetHigh << 32 | overlapped.Offset
        calls.append((offset, count.value))
        there = offset + count.value - 20
        overlapped.Offset, overlapped.OffsetHigh = there & 0xFFFFFFFF, there >> 32
        return real(number, handle, type(count)(20), *arguments)

    kernel.wrap("TransmitFile", transmit)
    stream, peer = pair
    with path.open("rb") as file:
        operation = stream.send_file(file, head=b"<head>", tail=b"<tail>")
        assert one(port).bytes == 72
        assert operation.transferred == 72
    limit = 2**31 - 2
    rest = 5 * 2**30 + 10 - (limit - 6) - limit
    assert calls == [(0, limit - 6), (limit - 6, limit), (2 * limit - 6, rest)]
    assert received(peer, 72) == b"<head>" + bytes(53) + b"the end<tail>"


def test_offsets_past_four_gigabytes_are_kept(
    port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    """C23: the last bytes of a file of 5 GiB, by the real system."""
    stream, peer = pair
    with big(tmp_path, 5 * 2**30).open("rb") as file:
        stream.send_file(file, 5 * 2**30 - 7)
        assert one(port).bytes == 7
        assert received(peer, 7) == b"the end"


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_file_of_more_than_two_gigabytes_arrives(
    port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    """C23: 2 GiB and 10 bytes, by the real system, in one completion."""
    stream, peer = pair
    size, tail, count = 2**31 + 10, b"", 0
    with big(tmp_path, size).open("rb") as file:
        stream.send_file(file)
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.extend(port.wait(500)))
        thread.start()
        while count < size and (data := peer.recv(1 << 20)):
            count += len(data)
            tail = (tail + data)[-7:]
        thread.join(60)
    assert (count, tail) == (size, b"the end")
    assert [(c.bytes, c.error) for c in seen] == [(size, None)]


# Ends


def pending(pair: Pair, tmp_path: Path, megabytes: int = 16) -> tuple[Any, BinaryIO]:
    """Send a file that is too much for the sockets, until they are full."""
    path = tmp_path / "much"
    with path.open("wb") as much:
        much.truncate(megabytes << 20)
    file = path.open("rb")
    operation = pair[0].send_file(file)
    wait_until_full(pair[1])
    return operation, file


def test_pending_file_completes_once_when_the_peer_reads(
    port: CompletionPort, pair: Pair, tmp_path: Path
) -> None:
    operation, file = pending(pair, tmp_path, 2)
    with file:
        received(pair[1], 2 << 20)
        completion = one(port)
    assert (completion.operation, completion.bytes) == (operation, 2 << 20)
    assert port.wait(0.02) == []


def test_cancel_stops_the_part_under_way(port: CompletionPort, pair: Pair, tmp_path: Path) -> None:
    operation, file = pending(pair, tmp_path)
    with file:
        assert port.in_flight_by_kind() == {"send_file": 1}
        assert operation.cancel() is True
        completion = one(port)
    assert completion.operation is operation
    assert isinstance(completion.error, OperationCancelledError)
    assert operation.cancel() is False


def test_cancel_between_two_parts_starts_no_other(
    kernel: FaultyKernel,
    port: CompletionPort,
    pair: Pair,
    file: BinaryIO,
    parts_of: Callable[[int], None],
) -> None:
    """C06: the part under way has ended, which nobody has dequeued: its bytes are counted.

    CancelIoEx has nothing to cancel; cancel() says True, because the rest will not come.
    """
    parts_of(700)
    calls = Refusal(0, 0, times=0)
    kernel.wrap("TransmitFile", calls)
    stream, peer = pair
    operation = stream.send_file(file)
    assert received(peer, 700) == CONTENT[:700]
    assert operation.cancel() is True
    completion = one(port)
    assert isinstance(completion.error, OperationCancelledError)
    assert (completion.bytes, calls.calls) == (700, 1)


def test_cancel_that_comes_too_late_changes_nothing(
    port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    """C06: the last part has ended."""
    stream, peer = pair
    operation = stream.send_file(file)
    assert received(peer, 2000) == CONTENT
    cancelled = operation.cancel()
    completion = one(port)
    assert cancelled is False
    assert (completion.error, completion.bytes) == (None, 2000)


def test_cancel_by_another_thread_while_the_next_part_starts(
    kernel: FaultyKernel,
    port: CompletionPort,
    pair: Pair,
    tmp_path: Path,
    parts_of: Callable[[int], None],
) -> None:
    """It finds the part before; the new one is cancelled as soon as it is under way."""
    parts_of(1 << 20)
    calls = []

    def transmit(real: Callable[..., int], *arguments: Any) -> int:
        calls.append(real)
        if len(calls) == 2:
            operation._cancelled = True  # what cancel() says first of all
        return real(*arguments)

    cancels = Refusal(0, 1, times=0)
    kernel.wrap("TransmitFile", transmit)
    kernel.wrap("CancelIoEx", cancels)
    operation, file = pending(pair, tmp_path)
    with file:
        pair[1].settimeout(60)
        reader = threading.Thread(target=received, args=(pair[1], 1 << 20))
        reader.start()
        completion = one(port)
        reader.join(60)
    assert isinstance(completion.error, OperationCancelledError)
    assert (len(calls), cancels.calls) == (2, 1)


def test_closing_the_stream_completes_it(port: CompletionPort, pair: Pair, tmp_path: Path) -> None:
    operation, file = pending(pair, tmp_path)
    with file:
        pair[0].close()
        completion = one(port)
        assert completion.operation is operation
        assert completion.error is not None
        with pytest.raises(HandleClosedError, match="takes no send_file"):
            pair[0].send_file(file)


def test_closing_the_port_completes_it(tmp_path: Path) -> None:
    ours, peer = socket.socketpair()
    with peer:
        port = CompletionPort()
        operation, file = pending((port.stream(ours), peer), tmp_path)
        with file:
            [completion] = port.close()
        assert completion.operation is operation
        assert isinstance(completion.error, OperationCancelledError)


def test_reset_by_the_peer_fails_it(port: CompletionPort, pair: Pair, tmp_path: Path) -> None:
    _, file = pending(pair, tmp_path)
    with file:
        pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        pair[1].close()
        assert isinstance(one(port).error, ConnectionError)


def test_refused_first_part_is_raised_and_leaves_nothing(
    kernel: FaultyKernel, port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    """C14: WSAENOBUFS, 200 times; the buffers are free, and the file is sent in the end."""
    refusal = Refusal(WSAENOBUFS, 0, times=200)
    kernel.wrap("TransmitFile", refusal)
    stream, peer = pair
    head = bytearray(b"head")
    for _ in range(200):
        with pytest.raises(ResourceLimitError, match="TransmitFile failed with WSAENOBUFS"):
            stream.send_file(file, head=head)
    gc.collect()
    head.append(0)
    assert port.in_flight == {}
    operation = stream.send_file(file)
    assert one(port).bytes == 2000
    assert received(peer, 2000) == CONTENT
    refusal.refused = 199
    with pytest.raises(ResourceLimitError):
        operation.post()
    operation.post()
    assert one(port).bytes == 2000


def test_refused_later_part_is_the_error_of_the_completion(
    kernel: FaultyKernel,
    port: CompletionPort,
    pair: Pair,
    file: BinaryIO,
    parts_of: Callable[[int], None],
) -> None:
    """The first 700 bytes have gone; the completion counts them and says why no more did."""
    parts_of(700)
    calls = []

    def transmit(real: Callable[..., int], *arguments: Any) -> int:
        calls.append(real)
        if len(calls) == 2:
            ctypes.set_last_error(WSAENOBUFS)
            return 0
        return real(*arguments)

    kernel.wrap("TransmitFile", transmit)
    stream, peer = pair
    operation = stream.send_file(file)
    completion = one(port)
    assert completion.operation is operation
    assert isinstance(completion.error, ResourceLimitError)
    assert (completion.bytes, len(calls)) == (700, 2)
    assert received(peer, 700) == CONTENT[:700]
    operation.post()
    assert one(port).error is None


def test_file_that_is_closed_meanwhile_is_the_error_of_the_completion(
    port: CompletionPort, pair: Pair, file: BinaryIO, parts_of: Callable[[int], None]
) -> None:
    """Its number may be another file's by then: it is asked for again before each part."""
    parts_of(700)
    stream, peer = pair
    stream.send_file(file)
    assert received(peer, 700) == CONTENT[:700]
    file.close()
    completion = one(port)
    assert isinstance(completion.error, HandleInvalidError)
    assert completion.bytes == 700


def test_stream_that_is_closed_between_two_parts_cancels(
    kernel: FaultyKernel,
    port: CompletionPort,
    pair: Pair,
    file: BinaryIO,
    parts_of: Callable[[int], None],
) -> None:
    parts_of(700)
    stream, peer = pair
    stream.send_file(file)
    assert received(peer, 700) == CONTENT[:700]
    stream.close()
    completion = one(port)
    assert isinstance(completion.error, OperationCancelledError)
    assert completion.bytes == 700


def test_unconnected_stream_refuses(port: CompletionPort, file: BinaryIO) -> None:
    with pytest.raises(IocpError, match="TransmitFile failed"):
        port.stream().send_file(file)
    assert port.in_flight_by_kind() == {}


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (io.BytesIO(b"x"), TypeError, "a file of the system's is needed"),
        ("path", TypeError, "a file of the system's is needed"),
        (None, TypeError, "a file of the system's is needed"),
        (True, TypeError, "a file of the system's is needed"),
        (0x7FFFFFF0, HandleInvalidError, "GetFileSizeEx failed"),
    ],
)
def test_what_is_no_file_is_refused(
    port: CompletionPort, pair: Pair, bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pair[0].send_file(bad)
    assert port.in_flight_by_kind() == {}


def test_bad_arguments_are_refused_with_words(
    port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    stream, _ = pair
    with Path(file.name).open() as text, pytest.raises(ValueError, match="binary mode"):
        stream.send_file(text)
    with pytest.raises(ValueError, match="offset must be"):
        stream.send_file(file, -1)
    with pytest.raises(ValueError, match="count must be"):
        stream.send_file(file, 0, -1)
    with pytest.raises(TypeError):
        stream.send_file(file, head="text")  # type: ignore[arg-type]
    file.close()
    with pytest.raises(ValueError, match="closed"):
        stream.send_file(file)
    assert port.in_flight_by_kind() == {}


def test_head_longer_than_a_call_is_refused(
    pair: Pair, file: BinaryIO, parts_of: Callable[[int], None]
) -> None:
    parts_of(10)
    with pytest.raises(ValueError, match="tail has more than 10 bytes"):
        pair[0].send_file(file, tail=bytes(11))


def rounds(port: CompletionPort, pair: Pair, file: BinaryIO, count: int) -> None:
    """Send in three parts, and send what is refused, `count` times."""
    stream, peer = pair
    for n in range(count):
        stream.send_file(file, n % 7, 30, head=b"<", tail=b">")
        assert one(port).bytes == 32
        assert received(peer, 32) == b"<" + CONTENT[n % 7 : n % 7 + 30] + b">"
        with pytest.raises(ValueError, match="offset"):
            stream.send_file(file, -1)


def test_rounds_leave_no_handle(
    port: CompletionPort, pair: Pair, file: BinaryIO, parts_of: Callable[[int], None]
) -> None:
    parts_of(12)
    rounds(port, pair, file, 10)
    gc.collect()
    before = handle_count()
    rounds(port, pair, file, 200)
    gc.collect()
    assert handle_count() <= before


# Packets


def test_packets_arrive_in_order_where_there_are_packets(
    port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    stream, peer = pair
    pieces = (b"one", FilePart(file, 10, 20), bytearray(b"two"), FilePart(file, 1995))
    try:
        operation = stream.send_packets(*pieces)
    except FunctionUnavailableError as error:
        pytest.skip(f"{error} (Wine 8 has none)")
    completion = one(port)
    assert (completion.operation, completion.bytes, completion.error) == (operation, 31, None)
    assert received(peer, 31) == b"one" + CONTENT[10:30] + b"two" + CONTENT[1995:]


def test_system_without_packets_says_so(
    kernel: FaultyKernel, port: CompletionPort, pair: Pair
) -> None:
    """The provider does not know the function; nothing has been started."""

    def look_up(socket: int) -> Callable[..., int]:
        raise FunctionUnavailableError("there is no TransmitPackets on this socket")

    kernel.TransmitPackets = look_up  # type: ignore[method-assign]
    buffer = bytearray(b"x")
    for _ in range(2):
        with pytest.raises(NotImplementedError, match="no TransmitPackets"):
            pair[0].send_packets(buffer)
    assert port.in_flight_by_kind() == {}
    buffer.append(0)


@pytest.fixture
def packets(kernel: FaultyKernel) -> list[Element]:
    """Have TransmitPackets noted, and what is in memory sent by WSASend instead."""
    return packets_as_sends(kernel)


def test_pieces_are_the_elements_that_windows_knows(
    packets: list[Element], port: CompletionPort, pair: Pair, file: BinaryIO
) -> None:
    """Memory and parts of files, in order, cut at the end of the file; empty ones left out."""
    stream, peer = pair
    number = msvcrt.get_osfhandle(file.fileno())
    two = bytearray(b"two")
    operation = stream.send_packets(
        b"one", FilePart(file, 10, 20), b"", two, FilePart(number, 1995, 100), FilePart(file, 3000)
    )
    assert packets == [
        (TP_ELEMENT_MEMORY, 3, 0, 0),
        (TP_ELEMENT_FILE, 20, number, 10),
        (TP_ELEMENT_MEMORY, 3, 0, 0),
        (TP_ELEMENT_FILE, 5, number, 1995),
    ]
    completion = one(port)
    assert (completion.operation, completion.bytes) == (operation, 6)
    assert received(peer, 6) == b"onetwo"
    del operation, completion
    gc.collect()
    two.append(0)


def test_bad_packets_are_refused_with_words(
    packets: list[Element],
    port: CompletionPort,
    pair: Pair,
    file: BinaryIO,
    tmp_path: Path,
) -> None:
    stream, _ = pair
    with pytest.raises(ValueError, match="something to send"):
        stream.send_packets()
    with pytest.raises(ValueError, match="something to send"):
        stream.send_packets(b"", FilePart(file, 2000))
    with pytest.raises(ValueError, match="count must be"):
        stream.send_packets(FilePart(file, 0, -1))
    with pytest.raises(TypeError):
        stream.send_packets("text")  # type: ignore[arg-type]
    with (
        big(tmp_path, 2**31).open("rb") as too_big,
        pytest.raises(ValueError, match="at most 2147483646 bytes"),
    ):
        stream.send_packets(b"x", FilePart(too_big))
    assert packets == []
    assert port.in_flight_by_kind() == {}


def test_send_packets_looks_the_files_up_when_it_is_posted(tmp_path: Path) -> None:
    """A file that has been closed since is refused; its number may be another file's by now."""
    kernel = FaultyKernel()
    seen = packets_as_sends(kernel)
    path = tmp_path / "sent"
    path.write_bytes(CONTENT)
    ours, peer = socket.socketpair()
    with CompletionPort(kernel=kernel) as port, peer, path.open("rb") as file:
        operation = port.stream(ours).send_packets(b"x", FilePart(file))
        assert one(port).error is None
        assert seen[1][2] == msvcrt.get_osfhandle(file.fileno())
        file.close()
        with (tmp_path / "secret").open("wb+") as secret:
            secret.write(b"secret")
            with pytest.raises(ValueError, match="closed"):
                operation.post()
        assert len(seen) == 2


def test_close_between_two_parts_on_another_thread_loses_no_completion(
    file: BinaryIO, parts_of: Callable[[int], None]
) -> None:
    """A worker has the end of a part in hand, and has not started the next one: close() waits."""
    parts_of(500)
    between, closing = threading.Event(), threading.Event()

    class Held(SendFileOperation):
        def _go_on(self) -> int:
            between.set()
            assert closing.wait(60)
            return super()._go_on()

    ours, peer = socket.socketpair()
    port = CompletionPort()
    with peer:
        stream = port.stream(ours)
        operation = Held(stream, FilePart(file), b"", b"")
        operation.post()
        found: list[Any] = []

        def wait() -> None:
            found.extend(port.wait(60))

        thread = threading.Thread(target=wait)
        thread.start()
        assert between.wait(60)
        threading.Timer(0.2, closing.set).start()
        found += port.close()
        thread.join(60)
    assert [completion.operation for completion in found] == [operation]
    assert isinstance(found[0].error, OperationCancelledError)
    assert port.in_flight == {}
