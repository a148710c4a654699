"""Sampling: asking a monitor, and what happened between two samples. It runs on any system."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Self

from .monitor_links import ANSWER_MAX_S, MonitorError, connect, where

if TYPE_CHECKING:
    from .monitor_links import Target

FORMAT = 1
"""The version of the samples that is understood here."""

_BYTES_MAX = 1 << 20

_SILENT_MAX_S = 20.0
"""After so many seconds without a question the server may have ended the connection."""


class MonitorClient:
    """A connection to a monitor. Leaving the ``with`` block closes it.

    target: the number of a process, the path of a pipe, or ``(host, port)``.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._where = where(target)
        self._link = connect(target)
        self._received = b""
        self._asked_at = time.monotonic()

    def sample(self, slowest: int) -> dict[str, Any]:
        """Return a sample; `MonitorError` if none comes, or something else does."""
        try:
            if time.monotonic() - self._asked_at > _SILENT_MAX_S:
                self._link.close()
                self._link = connect(self._target)
            self._asked_at = time.monotonic()
            self._link.send(json.dumps({"slowest": slowest}).encode() + b"\n")
            line = self._line()
        except ConnectionError:
            raise MonitorError(f"the server at {self._where} has gone") from None
        try:
            answer = json.loads(line)
            if "error" in answer:
                raise MonitorError(f"the monitor at {self._where} says: {answer['error']}")
            form = answer["pyiocp_monitor"]
        except (ValueError, TypeError, KeyError):
            raise MonitorError(f"what listens at {self._where} is no monitor") from None
        if form != FORMAT:
            raise MonitorError(
                f"the monitor at {self._where} speaks form {form}, this program form {FORMAT}:"
                " use the same version of pyiocp on both sides"
            )
        found: dict[str, Any] = answer
        return found

    def _line(self) -> bytes:
        deadline = time.monotonic() + ANSWER_MAX_S
        while b"\n" not in self._received:
            if time.monotonic() > deadline:
                raise MonitorError(
                    f"what listens at {self._where} does not answer: it is no monitor, or its"
                    f" hooks have taken more than {ANSWER_MAX_S:g} s"
                )
            data = self._link.receive()
            if data is None:
                continue
            if not data:
                raise ConnectionResetError
            self._received += data
            if len(self._received) > _BYTES_MAX:
                raise MonitorError(f"what listens at {self._where} is no monitor")
        line, _, self._received = self._received.partition(b"\n")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()


def rates_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what was done between two samples, per second, and what there is now."""
    seconds = max(after["time_s"] - before["time_s"], 1e-6)

    def per_second(name: str) -> float:
        difference: float = (after[name] - before[name]) / seconds
        return round(difference, 1)

    calls = after["batches"]["calls"] - before["batches"]["calls"]
    packets = after["batches"]["packets"] - before["batches"]["packets"]
    accepted = [sum(listener["accepted"] for listener in s["listeners"]) for s in (before, after)]
    completed = [sum(s["completions"].values()) for s in (before, after)]
    return {
        "process": after["process"],
        "listening_at": [listener["address"] for listener in after["listeners"]],
        "seconds": round(seconds, 3),
        "connections": after["sessions"]["open"],
        "sessions": after["sessions"],
        "accepted_per_s": round((accepted[1] - accepted[0]) / seconds, 1),
        **{
            f"{name}_per_s": per_second(name)
            for name in ("messages_received", "messages_sent", "bytes_received", "bytes_sent")
        },
        "completions_per_s": round((completed[1] - completed[0]) / seconds, 1),
        "waits_per_s": round(calls / seconds, 1),
        "packets_per_wait": round(packets / calls, 2) if calls else 0.0,
        "in_flight": after["in_flight"],
        "in_flight_by_kind": after["in_flight_by_kind"],
        "slowest": after["slowest"],
    }
