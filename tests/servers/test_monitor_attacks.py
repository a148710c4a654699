"""C73: whatever is done to a port's monitor, the port serves, and the monitor costs little.

The attacker is a process of its own, with sixteen threads. An honest client of the server counts
its round trips alone and beside the attacker; on a busy machine both are few, so they are compared
with each other. Three times at most: another test may take the machine just then.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from footprint import private_bytes
from honest import HonestClient
from journal import eventually
from serving import Echo, running

from pyiocp import CompletionPort, Monitor
from pyiocp.cli.monitor_links import MonitorError
from pyiocp.cli.sampling import MonitorClient
from pyiocp.servers.monitor_clients import CLIENTS_MAX, ClientConnection

ATTACKER = Path(__file__).parents[1] / "helpers" / "monitor_attacker.py"

SESSIONS = 200
"""How many sessions there are to be shown: a sample takes longer the more there are."""

ENDPOINTS = {"pipe": None, "loopback": ("127.0.0.1", 0)}


@contextmanager
def attacked(monitor: Monitor, kind: str) -> Iterator[None]:
    """Have a process attack the monitor, once it has begun."""
    address = monitor.address
    where = address if isinstance(address, str) else "{}:{}".format(*address)
    with subprocess.Popen(
        [sys.executable, str(ATTACKER), kind, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "under way\n"
            assert eventually(lambda: monitor._clients.accepted > 0)
            yield
        finally:
            process.kill()


class SampleClock:
    """Adds up the seconds that a monitor's samples take."""

    def __init__(self, monitor: Monitor) -> None:
        self._sample = monitor._clients._sample
        self.seconds = 0.0
        monitor._clients._sample = self._timed

    def _timed(self, slowest: int) -> dict[str, Any]:
        begun = time.perf_counter()
        try:
            return self._sample(slowest)
        finally:
            self.seconds += time.perf_counter() - begun


@pytest.mark.parametrize(
    ("seconds", "factor"),
    [
        pytest.param(1.0, 5.0, id="short"),
        pytest.param(20.0, 2.5, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
@pytest.mark.parametrize("kind", ["flood", "malformed", "eager", "silent", "hasty"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_server_serves_beside_an_attack_on_its_monitor(
    port: CompletionPort,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, Any], None],
    endpoint: str,
    kind: str,
    seconds: float,
    factor: float,
) -> None:
    """The honest client keeps a good part of its round trips; memory and the log stay small.

    Samples take a twentieth of the time, and the end of a measurement may cut into a pause.
    There are never more connections than may be, and when it is over none is left.
    """
    # The attacker is killed, and Wine does not always tell the end of its connections: the deadline
    # finds them.
    monkeypatch.setattr(ClientConnection, "idle_s", 5.0)
    monitor = port.monitor(ENDPOINTS[endpoint])
    listener = port.listen(("127.0.0.1", 0), Echo)
    clock = SampleClock(monitor)
    with ExitStack() as stack:
        stack.enter_context(running(port))
        for _ in range(SESSIONS):
            stack.enter_context(socket.create_connection(listener.address, 10))
        honest = stack.enter_context(HonestClient(listener.address, bytes(100)))
        for last in (False, False, True):
            alone = honest.rounds_in(seconds)
            before = private_bytes()
            with attacked(monitor, kind):
                begun, sampled_s = time.perf_counter(), clock.seconds
                beside = honest.rounds_in(seconds)
                share = (clock.seconds - sampled_s) / (time.perf_counter() - begun)
                assert len(monitor._clients._clients) <= CLIENTS_MAX
            grown = private_bytes() - before
            record_property("round trips alone", alone)
            record_property("round trips beside it", beside)
            record_property("grown by bytes", grown)
            record_property("share of samples", round(share, 3))
            if (beside * factor >= alone and share < 0.1) or last:
                break
        assert share < 0.1
        assert beside * factor >= alone > 0
        assert grown < 8_000_000
        assert eventually(lambda: not monitor._clients._clients, 30)
        assert eventually(lambda: can_be_asked(monitor), 30)
    assert caplog.records == []


def can_be_asked(monitor: Monitor) -> bool:
    """Tell whether an honest client gets its answer."""
    try:
        with MonitorClient(monitor.address) as client:
            return client.sample(5)["sessions"]["open"] == SESSIONS + 1
    except MonitorError:
        return False
