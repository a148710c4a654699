"""Show how many pages pending receives lock: from bytearrays, from a pool, and without a buffer.

examples:
  python -m pyiocp pages
  python -m pyiocp pages --receives 10000 --size 512
  python -m pyiocp pages --markdown > pages.md
  python -m pyiocp pages --json > pages.json

Every figure is of receives that are pending when it is taken.
"""

from __future__ import annotations

import argparse
import ctypes
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from ..memory.pages import PAGE_SIZE, extent_of, pages_of
from ..port import CompletionPort
from ..winapi import (
    PSAPI_WORKING_SET_EX_INFORMATION,
    GetCurrentProcess,
    QueryWorkingSetEx,
)
from .arguments import add_number
from .json_output import add_json_option, print_json
from .quota import measure_quota, show_quota
from .table import show_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from typing_extensions import Buffer

    from ..handles.sockets.stream import Stream

HELP = "how many pages pending receives lock"

_WAIT_S = 20.0
_ROUNDS = 5

_OTHER_BYTES = 5000
"""Bytes between two scattered bytearrays: more than a page."""


class Row(NamedTuple):
    """What receives of one kind lock while they are pending."""

    name: str
    bytes: int
    pages: int
    straddling: int
    """How many of the buffers lie on more pages than they need."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_number(parser, "--receives N", 1, 100_000, "how many are pending at a time", 1000)
    add_number(parser, "--size BYTES", 1, 1 << 20, "the size of each buffer", 1000)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    add_json_option(form, "the figures")


def run(options: argparse.Namespace) -> int:
    """Measure and print; 0, or 1 if a receive did not come back or the pool grew."""
    result = measure_all(options.receives, options.size)
    if options.json:
        print_json(result)
    else:
        show_result(result, options.markdown)
    return 0 if result["passed"] else 1


def measure_all(count: int, size: int) -> dict[str, Any]:
    """Measure what receives lock, and what happens at the quota."""
    fine = True
    with ExitStack() as stack:
        port = stack.enter_context(CompletionPort())
        ours, peer = socket.socketpair()
        stack.enter_context(peer)
        stream = port.stream(ours)
        pool = stack.enter_context(port.buffer_pool(size, slices=count, locked=True))
        rows = [
            measure(port, stream, "a bytearray each", [bytearray(size) for _ in range(count)]),
            measure(port, stream, "a bytearray each, among other data", scattered(count, size)),
            measure(port, stream, "a slice of a pool each", [pool.take() for _ in range(count)]),
            measure(port, stream, "no buffer (zero-byte receives)", [bytearray()] * count),
        ]
        rounds = []
        for _ in range(_ROUNDS):
            fine &= receive_all(stream, peer, pool.take, count, size)
            now = pool.statistics()
            fine &= (now.slabs, now.in_use) == (1, 0)
            rounds.append(
                {
                    "received": count,
                    "slabs": now.slabs,
                    "slices_at_most": now.in_use_peak,
                    "slices_after": now.in_use,
                    "pages_locked": now.bytes_locked // PAGE_SIZE,
                }
            )
        views = [pool.take() for _ in range(count)]
        reported, total = locked_pages(views)
        views.clear()
    quota = measure_quota()
    return {
        "passed": fine and quota["sessions_lost"] == 0,
        "receives": count,
        "size": size,
        "page_size": PAGE_SIZE,
        "locked": [row._asdict() for row in rows],
        "rounds": rounds,
        "reported": {"pages_locked": reported, "pages": total},
        "quota": quota,
    }


def show_result(result: dict[str, Any], markdown: bool) -> None:
    """Print the tables."""
    print(
        f"{result['receives']:,} receives of {result['size']:,} bytes pending;"
        f" a page has {PAGE_SIZE:,} bytes.\n"
    )
    show_table(
        ("received into", "bytes", "pages locked", "bytes locked", "straddle a boundary"),
        [
            (row["name"], row["bytes"], row["pages"], row["pages"] * PAGE_SIZE, row["straddling"])
            for row in result["locked"]
        ],
        markdown=markdown,
    )
    print(
        "\nPages are those under the buffers of what is in flight, by their addresses, each"
        "\ncounted once: no system tells which pages I/O has locked."
    )
    print(f"\n{_ROUNDS} rounds of it with the same pool, locked once:\n")
    show_table(
        ("round", "received", "slabs", "slices at most", "slices after", "pages locked"),
        [(str(at), *row.values()) for at, row in enumerate(result["rounds"], 1)],
        markdown=markdown,
    )
    reported = result["reported"]
    print(
        f"\nQueryWorkingSetEx reports {reported['pages_locked']:,} of the pool's"
        f" {reported['pages']:,} pages as locked."
        + ("" if reported["pages_locked"] else " (Wine never reports any.)")
    )
    show_quota(result["quota"], markdown)


def scattered(count: int, size: int) -> list[bytearray]:
    """Return bytearrays scattered as in a process that has other data as well."""
    found, others = [], []
    for _ in range(count):
        found.append(bytearray(size))
        others.append(bytearray(_OTHER_BYTES))
    return found


def measure(port: CompletionPort, stream: Stream, name: str, buffers: Iterable[Buffer]) -> Row:
    """Return what receives into `buffers` lock; they are cancelled afterwards."""
    count = straddling = 0
    for buffer in buffers:
        [(address, size)] = stream.receive(buffer).extents
        straddling += len(pages_of([(address, size)])) > -(-size // PAGE_SIZE)
        count += 1
    locked = port.statistics().in_flight
    if locked.operations != count:
        raise OSError(f"{count} receives were posted, and {locked.operations} are pending")
    stream.cancel()
    while count:
        ended = len(port.wait(_WAIT_S))
        if not ended:
            raise TimeoutError(f"{count} cancelled receives did not come back")
        count -= ended
    return Row(name, locked.bytes, locked.pages, straddling)


def receive_all(
    stream: Stream, peer: socket.socket, take: Callable[[], Buffer], count: int, size: int
) -> bool:
    """Have `count` receives filled; tell whether every byte has come."""
    for _ in range(count):
        stream.receive(take())
    peer.settimeout(_WAIT_S)
    data = bytes(size)
    received = ended = sent = 0
    while ended < count:
        while sent < count and sent - ended < 64:
            peer.sendall(data)
            sent += 1
        completions = stream.port.wait(_WAIT_S)
        if not completions:
            return False
        for completion in completions:
            if completion.error is not None:
                raise completion.error
            received += completion.bytes
            ended += 1
        # A receive takes what is there, which may be less than its buffer: then the last ones
        # get less, or nothing.
        if sent == count and received == count * size and ended < count:
            stream.cancel()
            ended += len(drain(stream, count - ended))
    return received == count * size


def drain(stream: Stream, count: int) -> list[object]:
    """Return the completions of what has been cancelled."""
    ended: list[object] = []
    while len(ended) < count:
        ended += stream.port.wait(_WAIT_S)
    return ended


def locked_pages(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """Return how many pages of some buffers the system reports as locked, and how many there are.

    Source: https://learn.microsoft.com/windows/win32/api/psapi/nf-psapi-queryworkingsetex
    """
    pages = sorted(pages_of(map(extent_of, buffers)))
    array = (PSAPI_WORKING_SET_EX_INFORMATION * len(pages))()
    for entry, page in zip(array, pages, strict=True):
        entry.VirtualAddress = page * PAGE_SIZE
    if not QueryWorkingSetEx(GetCurrentProcess(), ctypes.byref(array), ctypes.sizeof(array)):
        return 0, len(pages)
    locked = sum(
        entry.VirtualAttributes.Valid and entry.VirtualAttributes.Locked for entry in array
    )
    return locked, len(pages)
