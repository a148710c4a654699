"""Read or write blocks of a file for some time, with so many of them in flight; print JSON.

    python benchmarks/file_work.py pyiocp read 8 4.0 FILE

The contenders: `pyiocp`, whose port has the blocks in flight, and `threads`, one for each block in
flight with a file object of its own, which is what asyncio's users do: its loops have no files.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pyiocp import CompletionPort

BLOCK, BLOCKS = 65536, 1024
"""64 MB of blocks, in an order that is the same for all, and not that of the file."""

STRIDE = 611
"""How far it is from one block to the next; no factor of `BLOCKS`."""


def offsets() -> Iterator[int]:
    """Yield where to read or write, without end."""
    at = 0
    while True:
        yield at * BLOCK
        at = (at + STRIDE) % BLOCKS


def with_pyiocp(kind: str, depth: int, seconds: float, path: str) -> int:
    """Return how many blocks a port has done."""
    where, done = offsets(), 0
    with CompletionPort() as port, port.file(path, "r+b" if kind == "write" else "rb") as file:
        begin = file.read if kind == "read" else file.write
        for _ in range(depth):
            begin(bytearray(BLOCK), next(where))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for completion in port.wait():
                if completion.error is not None:
                    raise completion.error
                done += 1
                completion.operation.offset = next(where)
                completion.operation.post()
    return done


def with_threads(kind: str, depth: int, seconds: float, path: str) -> int:
    """Return how many blocks threads have done, each with its own file object."""
    where, lock, done = offsets(), threading.Lock(), [0] * depth
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        buffer = bytearray(BLOCK)
        with io.FileIO(path, "r+" if kind == "write" else "r") as file:
            while time.perf_counter() < end:
                with lock:
                    at = next(where)
                file.seek(at)
                if kind == "read":
                    file.readinto(buffer)
                else:
                    file.write(buffer)
                done[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(depth)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)


CONTENDERS = {"pyiocp": with_pyiocp, "threads": with_threads}


def main() -> None:
    """Do the work that the command line names."""
    name, kind, depth, seconds, path = sys.argv[1:]
    Path(path).write_bytes(bytes(BLOCK * BLOCKS))
    before, begun = os.times(), time.perf_counter()
    done = CONTENDERS[name](kind, int(depth), float(seconds), path)
    taken_s, after = time.perf_counter() - begun, os.times()
    figures = {
        "mb_per_s": done * BLOCK / 1e6 / taken_s,
        "user_us": (after.user - before.user) * 1e6 / done,
        "system_us": (after.system - before.system) * 1e6 / done,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
