"""A server that counts what becomes of its sessions, for the runs that last.

    python benchmarks/observed.py [--threads N]

It prints its port, echoes frames of 64 bytes, and answers each line on its standard input with
its figures: "figures", or "handles", which takes longer. "polite" makes it broadcast ten times a
second to those who are not behind, "insist" to everybody whatever `Session.send` says, and
"quiet" to nobody. While it broadcasts, who connects is sent a world of 4 MiB first.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from servers.control import private_bytes

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyiocp import CompletionPort, FixedSize, FramedSession, Listener
from pyiocp.observing.handle_count import handle_count

FRAME = 64
"""Bytes a frame. Its first byte tells what it is: an echo is the client's own."""

WORLD = b"W" * (4 << 20)
"""More than the sockets of both ends take in: who does not read it is behind."""

SEND_LIMIT = 8 << 20

PERIOD_S = 0.1
"""Seconds between two broadcasts."""

UPDATE_BYTES = {"polite": 1 << 10, "insist": 1 << 18}
"""What a broadcast brings: little, or so much that the limit is reached within seconds."""


class _Member(FramedSession):
    """Echoes frames; its house knows of it until it has ended."""

    framing = FixedSize(FRAME)
    send_limit = SEND_LIMIT
    behind = False

    def __init__(self, house: House) -> None:
        self.house = house
        house.made(self)

    def on_connect(self) -> None:
        if self.house.mode != "quiet" and not self.send(WORLD):
            self.behind = True

    def on_frame(self, frame: memoryview) -> None:
        self.send_frame(frame)

    def on_writable(self) -> None:
        self.behind = False

    def on_close(self, error: OSError | None) -> None:
        self.house.ended(self, error)


class House:
    """All sessions, and what is known of them. Any thread may call any method."""

    def __init__(self, port: CompletionPort) -> None:
        self.port = port
        self.mode = "quiet"
        self._lock = threading.Lock()
        self._members: set[_Member] = set()
        self._count = self._ended = self._ended_again = 0
        self._ends: Counter[str] = Counter()
        self._queued_most = self._private_most = 0
        self._due = time.monotonic()
        self._ticks = 0

    def made(self, member: _Member) -> None:
        """A session has been made."""
        with self._lock:
            self._count += 1
            self._members.add(member)

    def ended(self, member: _Member, error: OSError | None) -> None:
        """A session has had its on_close."""
        with self._lock:
            if member not in self._members:
                self._ended_again += 1
                return
            self._members.remove(member)
            self._ended += 1
            self._ends["in order" if error is None else type(error).__name__] += 1

    def tick(self) -> None:
        """Broadcast, and come again."""
        self._due += PERIOD_S
        self._ticks += 1
        self.port.call_later(max(0.0, self._due - time.monotonic()), self.tick)
        if self.mode == "quiet":
            return
        with self._lock:
            members = list(self._members)
        insist = self.mode == "insist"
        # A new one each time: what waits for those behind is as much memory as it can be.
        update = b"B%063d" % self._ticks * (UPDATE_BYTES[self.mode] // FRAME)
        readers = [member for member in members if insist or not member.behind]
        for member in self.port.broadcast(readers, update).behind:
            member.behind = True
        queued = max((member.send_queue_bytes for member in members), default=0)
        self._queued_most = max(self._queued_most, queued)
        self._private_most = max(self._private_most, private_bytes())

    def figures(self, listener: Listener) -> dict[str, Any]:
        """Return what is known."""
        with self._lock:
            members = list(self._members)
            return {
                "accepted": listener.accepted,
                "failed": listener.failed,
                "made": self._count,
                "ended": self._ended,
                "ended again": self._ended_again,
                "ends": dict(self._ends),
                "open": len(members),
                "of the port": len(self.port.sessions),
                "behind": sum(member.behind for member in members),
                "queued": sum(member.send_queue_bytes for member in members),
                "queued most": self._queued_most,
                "private": private_bytes(),
                "private most": self._private_most,
                "in flight": self.port.in_flight_by_kind(),
            }


def serve(threads: int) -> None:
    """Serve until standard input ends."""
    with CompletionPort() as port:
        house = House(port)
        listener = port.listen(("127.0.0.1", 0), lambda: _Member(house))

        def answer() -> None:
            try:
                for line in sys.stdin:
                    word = line.strip()
                    if word in ("polite", "insist", "quiet"):
                        house.mode = word
                    figures = house.figures(listener)
                    if word == "handles":
                        gc.collect()
                        port._queue.spare_locks.clear()  # kept for the next connections: no leak
                        figures["handles"] = handle_count()
                    print(json.dumps(figures), flush=True)
            finally:
                port.stop()

        answers = port.submit(answer)
        port.call_soon(house.tick)
        print(json.dumps({"port": listener.address[1]}), flush=True)
        port.run(threads=threads)
        answers.result()  # which raises what went wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    serve(parser.parse_args().threads)
