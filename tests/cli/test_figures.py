"""Latencies, durations and addresses as they are printed."""

from __future__ import annotations

import os

import pytest

from pyiocp.cli.address import parse_address
from pyiocp.cli.latencies import Latencies
from pyiocp.cli.terminal import is_terminal
from pyiocp.cli.wording import counted, show_duration
from pyiocp.handles.sockets.address_text import show_address


def test_quantiles_are_within_a_percent() -> None:
    """1 ms to 1,000 ms, once each, in two halves that are merged."""
    latencies = Latencies(n / 1000 for n in range(1, 501))
    latencies.merge(Latencies(n / 1000 for n in range(501, 1001)))
    assert len(latencies) == 1000
    assert latencies.longest_s == 1.0
    for share in (0.01, 0.5, 0.99, 1.0):
        assert latencies.quantile_s(share) == pytest.approx(share, rel=0.01)
    assert latencies.quantile_s(1.0) <= latencies.longest_s


def test_quantiles_of_nothing_and_of_no_time_at_all() -> None:
    assert Latencies().quantile_s(0.5) == 0.0
    assert Latencies([0.0]).quantile_s(0.5) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 us"),
        (0.000_012_34, "12.3 us"),
        (0.003_214, "3.21 ms"),
        (0.099_96, "100 ms"),
        (0.321, "321 ms"),
        (1.5, "1.50 s"),
        (61.0, "61.0 s"),
    ],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


def test_nouns_follow_their_numbers() -> None:
    assert [counted(n, "client") for n in (0, 1, 1000)] == [
        "0 clients",
        "1 client",
        "1,000 clients",
    ]


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:9000", "localhost:65535", ":80"])
def test_addresses_are_read_as_they_are_shown(text: str) -> None:
    assert show_address(parse_address(text)) == text


def test_a_pipe_is_no_terminal_unless_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
        assert is_terminal(pipe) is False
        monkeypatch.setenv("TTY_INTERACTIVE", "1")
        assert is_terminal(pipe) is True


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 9), "127.0.0.1:9"),
        (("::1", 9, 0, 0), "[::1]:9"),
        ([("::1", 9), ("127.0.0.1", 8)], "[::1]:9, 127.0.0.1:8"),
        ("C:/temp/socket", "C:/temp/socket"),
        (None, "None"),
    ],
)
def test_an_address_is_shown_as_people_write_it(address: object, text: str) -> None:
    """Several, and those of other families than the Internet's, too."""
    assert show_address(address) == text
