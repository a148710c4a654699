"""python -m pyiocp pages: what it prints was measured, and adds up."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import CompletionPort, OperationCancelledError, Stream
from pyiocp.cli import pages, quota
from pyiocp.cli.command_line import main
from pyiocp.cli.pages import measure
from pyiocp.cli.table import show_table
from pyiocp.memory.pages import PAGE_SIZE
from pyiocp.winapi import errorcodes as codes

Pair = tuple[Stream, socket.socket]


def table(output: str, first: str) -> list[list[str]]:
    """Return the rows of the Markdown table whose header begins with `first`."""
    lines = [line.strip("| ").split("|") for line in output.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines]
    start = next(at for at, row in enumerate(rows) if row[0] == first)
    found = []
    for row in rows[start + 2 :]:
        if not row[0][:1].isalnum() or row[0] in ("round", "messages"):
            break
        found.append(row)
    return found


@pytest.fixture(scope="module")
def output() -> str:
    """What the command prints for 200 receives, having found nothing wrong."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["pages", "--receives", "200", "--markdown"]) == 0
    return printed.getvalue()


def test_it_shows_what_receives_lock(output: str) -> None:
    """200 receives of 1,000 bytes: 50 pages from a pool, no fewer from bytearrays, none without."""
    arrays, scattered, slices, nothing = table(output, "received into")
    assert slices[1:] == ["200,000", "50", "204,800", "0"]
    assert nothing[1:] == ["0", "0", "0", "0"]
    assert arrays[1] == "200,000"
    for row in (arrays, scattered):
        assert int(row[2]) >= 50 - 1
        assert int(row[3].replace(",", "")) == int(row[2]) * PAGE_SIZE
        # Where they lie is the allocator's business: that of free-threaded builds packs them well.
        assert 0 <= int(row[4]) <= 200


def test_pool_that_is_locked_once_does_not_grow(output: str) -> None:
    """Every round: all received, one slab, no slice left out, the same pages locked."""
    rounds = table(output, "round")
    assert [row[1:] for row in rounds] == [["200", "1", "200", "0", "50"]] * 5


def test_locked_pages_are_what_the_system_reports(output: str) -> None:
    """On Windows all of the pool's; Wine reports none, and the output says so."""
    found = re.search(r"reports (\d+) of the pool's (\d+) pages as locked", output)
    assert found is not None
    assert found[2] == "50"
    assert found[1] == "50" or "(Wine never reports any.)" in output


def test_sessions_live_through_refusals(output: str) -> None:
    """C37: every other receive and send is refused with WSAENOBUFS; every message comes back."""
    [[messages, refusals, came_back, lost]] = table(output, "messages")
    assert (messages, came_back, lost) == ("50", "50", "0")
    assert int(refusals) >= 50


def test_table_is_readable_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns under their headings, numbers to the right."""
    show_table(("a", "number"), [("x", 1234567), ("longer", 1)])
    assert (
        capsys.readouterr().out == "  a          number\n  x       1,234,567\n  longer          1\n"
    )


def test_system_that_refuses_is_said_to() -> None:
    """C37: a kernel that refuses the 13th large receive stands for one that has a quota."""
    kernel = FaultyKernel()
    posted = []

    def receive(real: Callable[..., int], number: Any, buffers: Any, *rest: Any) -> int:
        if buffers._obj[0].len == 1 << 20:
            if len(posted) == 12:
                ctypes.set_last_error(codes.ERROR_WORKING_SET_QUOTA)
                return -1
            posted.append(number)
        return real(number, buffers, *rest)

    kernel.wrap("WSARecv", receive)
    found, refusal = quota.receive_until_refused(kernel)
    assert 12 * 256 <= found <= 12 * 257
    assert refusal is not None
    assert "ERROR_WORKING_SET_QUOTA (1453)" in refusal


def test_receives_that_do_not_stay_pending_are_no_measurement(
    port: CompletionPort, pair: Pair
) -> None:
    stream, peer = pair
    peer.sendall(b"it ends at once")
    with pytest.raises(OSError, match="2 receives were posted, and 1 are pending"):
        measure(port, stream, "two", [bytearray(100), bytearray(100)])


def test_cancelled_receives_have_to_come_back(
    kernel: FaultyKernel,
    open_port: Callable[[], CompletionPort],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancel = Refusal(codes.ERROR_NOT_FOUND, 0, times=1)
    kernel.wrap("CancelIoEx", cancel)
    monkeypatch.setattr(pages, "_WAIT_S", 0.1)
    port = open_port()
    ours, peer = socket.socketpair()
    with peer, pytest.raises(TimeoutError, match="1 cancelled receives did not come back"):
        measure(port, port.stream(ours), "one", [bytearray(100)])
    assert cancel.refused == 1


class TwoAtATime:
    """A peer that sends two messages with every other call."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._calls = 0

    def settimeout(self, seconds: float) -> None:
        self._peer.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self._calls += 1
        if self._calls % 2:
            self._peer.sendall(data * 2)


def test_receives_that_nothing_is_left_for_are_cancelled(pair: Pair) -> None:
    """Each takes two messages: then half of them bring all the bytes."""
    stream, peer = pair
    two: Any = TwoAtATime(peer)
    assert pages.receive_all(stream, two, lambda: bytearray(200), 10, 100)
    assert stream.port.in_flight_by_kind() == {}


def test_bytes_that_do_not_come_are_said_to(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_WAIT_S", 0.1)
    elsewhere, other = socket.socketpair()
    with elsewhere, other:
        assert not pages.receive_all(pair[0], elsewhere, lambda: bytearray(100), 3, 100)


def test_a_receive_that_fails_is_raised(pair: Pair) -> None:
    stream, _ = pair
    stream.receive(bytearray(1)).cancel()
    elsewhere, other = socket.socketpair()
    with elsewhere, other, pytest.raises(OperationCancelledError):
        pages.receive_all(stream, elsewhere, lambda: bytearray(100), 3, 100)


def test_pages_of_which_the_system_says_nothing_count_as_not_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "QueryWorkingSetEx", lambda *_: 0)
    assert pages.locked_pages([bytearray(PAGE_SIZE * 3)])[0] == 0


def test_page_shows_what_was_measured(port: CompletionPort, pair: Pair) -> None:
    """The rows of docs/page-locking.md that do not depend on where bytearrays happen to lie."""
    page = (Path(__file__).parents[2] / "docs" / "page-locking.md").read_text(encoding="utf-8")
    with port.buffer_pool(1000, slices=1000, locked=True) as pool:
        slices = [pool.take() for _ in range(1000)]
        pooled = measure(port, pair[0], "a slice of a pool each", slices)
        slices.clear()
    nothing = measure(port, pair[0], "no buffer (zero-byte receives)", [bytearray()] * 1000)
    for row in (pooled, nothing):
        cells = (row.bytes, row.pages, row.pages * PAGE_SIZE, row.straddling)
        assert f"| {row.name} | {' | '.join(f'{cell:,}' for cell in cells)} |" in page
