"""Many connections at once: nothing is lost, and idle ones take little memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from held import measure as measure_held
from idle import REQUIRED_BYTES, measure

SOAK = [pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("connections", "seconds", "warm_up_s"),
    [
        pytest.param(300, 3.0, 1.0, id="short"),
        pytest.param(5000, 60.0, 10.0, id="5000", marks=SOAK),
    ],
)
def test_held_connections_lose_nothing(
    load_generator: None,
    figures: Callable[..., None],
    python: str | None,
    connections: int,
    seconds: float,
    warm_up_s: float,
) -> None:
    """Each sends 64 bytes a second, on one port: every one comes back, unchanged, in order.

    The load generator compares each byte, and has the messages go out whether or not those
    before are back: the server has to keep up. How late they are is printed.
    """
    once = measure_held("pyiocp", connections, 1.0, warm_up_s, seconds, python)
    figures(
        connections=connections,
        seconds=seconds,
        messages=int(once["sent"]),
        lost=int(once["lost"]),
        p50_ms=once["p50_ms"],
        p99_ms=once["p99_ms"],
        p999_ms=once["p999_ms"],
        longest_ms=once["longest_ms"],
        cpu_us_a_message=once["user_us"] + once["system_us"],
    )
    assert once["lost"] == 0
    assert once["sent"] >= connections * (seconds + warm_up_s)
    assert once["per_s"] >= 0.95 * connections, "the server did not keep up"


@pytest.mark.parametrize(
    "connections",
    [
        pytest.param(1000, id="short"),
        pytest.param(5000, id="5000", marks=SOAK),
    ],
)
def test_idle_connection_takes_less_than_4_kilobytes(
    figures: Callable[..., None], python: str | None, connections: int
) -> None:
    """In zero-byte mode; private bytes of the server, above the session that the user made."""
    idle = measure("zero-byte", connections, python)
    figures(
        connections=connections,
        private_bytes_each=round(idle.private_bytes),
        of_them_the_users=idle.users_bytes,
    )
    assert idle.private_bytes - idle.users_bytes <= REQUIRED_BYTES
